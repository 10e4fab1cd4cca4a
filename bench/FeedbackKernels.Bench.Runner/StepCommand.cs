using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using FeedbackKernels.Interop;
using FeedbackKernels.Models;
using FeedbackKernels.Rules;

namespace FeedbackKernels.Bench;

/// <summary><c>step</c>: measures whole training steps: forward, backward, update and mirror. Lines are
/// <c>model,feedback-kernels,rule,model,batch,images_per_s_median,images_per_s_best</c>. The rules run in turn. For a single rule
/// there is also a line <c>memory,feedback-kernels,rule,model,batch,mib</c>: the peak resident set of the process, or the GPU memory
/// in use.</summary>
internal static class StepCommand
{
    // Enough to keep the queue full; the PyTorch peer uses the same number.
    private const int QueuedSteps = 10;

    public static Command Create()
    {
        var model = new Option<string>("--model") { Description = "Model to train.", DefaultValueFactory = _ => "resnet20" };
        var batch = new Option<int>("--batch") { Description = "Images in a training step.", DefaultValueFactory = _ => 128 };
        var size = new Option<int>("--size") { Description = "Rows and columns of an image; 0 for the model's usual size." };
        Option<FeedbackRule[]> rule = BenchRules.SeveralOption();
        var rounds = new Option<int>("--rounds") { Description = "Samples to measure for each rule, after two for warm-up.", DefaultValueFactory = _ => 15 };
        var inner = new Option<int>("--inner") { Description = "Steps in a sample; 0 for one, or ten if the backend queues its work (CUDA)." };
        var choice = new BackendOptions();
        var command = new Command("step", "Measures images per second of whole training steps.") { model, batch, size, rule, rounds, inner };
        choice.AddTo(command);
        choice.AddStepsTo(command);
        command.SetAction(parsed =>
        {
            ArgumentOutOfRangeException.ThrowIfNegativeOrZero(parsed.GetValue(batch), "--batch");
            ArgumentOutOfRangeException.ThrowIfNegativeOrZero(parsed.GetValue(rounds), "--rounds");
            ArgumentOutOfRangeException.ThrowIfNegative(parsed.GetValue(inner), "--inner");
            using Backend backend = choice.Create(parsed);
            string name = parsed.GetValue(model)!;
            int images = parsed.GetValue(batch), rows = parsed.GetValue(size) is > 0 and var given ? given : ModelCatalog.UsualImageSize(name);
            ModelSpec spec = ModelCatalog.Create(name, new MapShape(rows, rows, 3), ModelCatalog.UsualClasses(name));
            FeedbackRule[] rules = parsed.GetValue(rule) is { Length: > 0 } some ? some : [new Backprop()];
            int steps = parsed.GetValue(inner) is > 0 and var wanted ? wanted : backend.QueuesWork ? QueuedSteps : 1;
            TextWriter output = parsed.InvocationConfiguration.Output;
            (List<(string Rule, Timing Time)> results, long bytes) =
                Measure(backend, spec, images, rules, parsed.GetValue(rounds), steps);
            foreach ((string ruleName, Timing time) in results)
            {
                output.WriteLine(string.Create(
                    CultureInfo.InvariantCulture, $"model,feedback-kernels,{ruleName},{name},{images},{images / time.Median:F2},{images / time.Best:F2}"));
            }

            if (results is not [(string only, _)]) return;
            output.WriteLine(string.Create(
                CultureInfo.InvariantCulture, $"memory,feedback-kernels,{only},{name},{images},{bytes / 1048576.0:F0}"));
        });
        return command;
    }

    private static (List<(string Rule, Timing Time)> Results, long Bytes) Measure(
        Backend backend, ModelSpec spec, int images, FeedbackRule[] chosen, int rounds, int steps)
    {
        Stepper[] steppers = [.. chosen.Select(r => new Stepper(backend, spec, r, images))];
        var seconds = chosen.Select(_ => new List<double>()).ToArray();
        const int warmUp = 2;
        for (int round = -warmUp; round < rounds; round++)
        {
            for (int i = 0; i < steppers.Length; i++)
            {
                double time = Timing.Sample(backend, steppers[i].Step, steps);
                if (round >= 0) seconds[i].Add(time);
            }
        }

        long bytes = BytesInUse(backend);
        foreach (Stepper stepper in steppers) stepper.Dispose();
        return ([.. chosen.Zip(seconds, (r, times) => (r.Name, Timing.OfSamples(times)))], bytes);
    }

    private static long BytesInUse(Backend backend)
    {
        if (backend is CudaBackend cuda) return cuda.DeviceBytesInUse;
        using Process self = Process.GetCurrentProcess();
        return self.PeakWorkingSet64;
    }
}
