using System.CommandLine;
using System.Globalization;
using FeedbackKernels.Interop;
using FeedbackKernels.Models;

namespace FeedbackKernels.Bench.Estimates;

/// <summary>
/// <c>reduce</c>: predicts what the sums of gradients between GPUs take beside the backward pass. Lines are
/// <c>reduce,card,model,gpus,batch,MB,buckets,largest MB,last MB,ms of sums,ms of backward,ms exposed,% of step,hides from</c>, where the last
/// is the smallest batch of a GPU from which all sums but the last hide behind the backward pass.
/// </summary>
internal static class ReduceCommand
{
    private const int MostImages = 1024;

    public static Command Create()
    {
        var models = new Option<string[]>("--model") { Description = "Models.", AllowMultipleArgumentsPerToken = true, DefaultValueFactory = _ => ["resnet50", "resnet18"] };
        var gpus = new Option<int[]>("--gpus") { Description = "Numbers of GPUs, in nodes of 8.", AllowMultipleArgumentsPerToken = true, DefaultValueFactory = _ => [8, 64, 256] };
        var batch = new Option<int>("--batch") { Description = "Images of a GPU in a training step.", DefaultValueFactory = _ => 256 };
        var command = new Command("reduce", "Predicts how long H200s sum gradients beside the backward pass; measures nothing.") { models, gpus, batch };
        command.SetAction(parsed =>
        {
            int images = parsed.GetValue(batch);
            ArgumentOutOfRangeException.ThrowIfNegativeOrZero(images, "--batch");
            foreach (string name in parsed.GetValue(models)!)
            {
                int size = ModelCatalog.UsualImageSize(name);
                ModelSpec spec = ModelCatalog.Create(name, new MapShape(size, size, 3), ModelCatalog.UsualClasses(name));
                var known = new Dictionary<int, Reduction>();
                foreach (int count in parsed.GetValue(gpus)!)
                {
                    ArgumentOutOfRangeException.ThrowIfNegativeOrZero(count, "--gpus");
                    var network = new Network(count);
                    Reduction at = For(images);
                    parsed.InvocationConfiguration.Output.WriteLine(string.Create(
                        CultureInfo.InvariantCulture,
                        $"reduce,{Card.All[0].Name},{name},{count},{images},{at.Buckets.Sum(b => b.Bytes) / 1e6:F1},{at.Buckets.Count},{at.Buckets.Max(b => b.Bytes) / 1e6:F1},{at.Buckets[^1].Bytes / 1e6:F1},{1e3 * at.Sums(network):F2},{1e3 * at.Backward:F2},{1e3 * at.Exposed(network):F2},{100 * at.Exposed(network) / at.Step:F1},{HidesFrom(network, For)}"));
                }

                Reduction For(int n) => known.TryGetValue(n, out Reduction? found) ? found : known[n] = Reduction.Of(Card.All[0], spec, n);
            }
        });
        return command;
    }

    /// <summary>The smallest batch from which sums hide: more images take longer backward, and as long to sum.</summary>
    internal static string HidesFrom(Network network, Func<int, Reduction> of)
    {
        int low = 1, high = MostImages;
        if (!of(high).Hides(network)) return $"above {MostImages}";
        while (low < high)
        {
            int middle = (low + high) / 2;
            if (of(middle).Hides(network)) high = middle;
            else low = middle + 1;
        }

        return low.ToString(CultureInfo.InvariantCulture);
    }
}
