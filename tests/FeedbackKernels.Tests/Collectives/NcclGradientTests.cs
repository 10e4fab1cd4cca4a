using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;
using FeedbackKernels.Tests.Conformance;
using FeedbackKernels.Tests.Cuda;
using FeedbackKernels.Tests.Training;
using FeedbackKernels.Training;

namespace FeedbackKernels.Tests.Collectives;

/// <summary>The gradient of the mean over all images, from ranks with unequal numbers of them.</summary>
public class NcclGradientTests
{
    // Of a rank each; all are powers of two, so that the weights of the images, such as 1/4 in a rank times 4/8 of the rank, are exactly 1/8.
    private static readonly int[] Shares = [4, 2, 1, 1];

    private static readonly int Images = Shares.Sum();

    [Theory]
    [InlineData("mlp")]
    [InlineData("lenet")]
    [EmulatedOnly("sums by the emulated NCCL, which takes buffers of the emulated driver")]
    public void It_is_that_of_one_process_but_for_the_order_of_its_sums(string name)
    {
        ModelSpec spec = ModelCatalog.Create(name, new MapShape(28, 28, 1), 10, new ModelOptions(Hidden: 24));
        float[] pixels = Values.Normal(Images * spec.Input.Length, 1);
        int[] labels = [.. Enumerable.Range(0, Images).Select(i => i * 3 % 10)];

        using var backend = new CudaBackend(driver: EmulatedDriver.Path);
        using Model one = NewModel(backend, Images);
        var seen = new Operands(one);
        Compute(one, pixels, labels, null, seen);
        var found = new float[Shares.Length][][];
        Ranks.RunOnDevices(Shares.Length, (group, own) =>
        {
            int first = Shares[..group.Rank].Sum(), images = Shares[group.Rank];
            using Model model = NewModel(own, images);
            var shared = new SharedStep(model, group, overlaps: true);
            Compute(
                model, pixels.AsSpan((int)(first * spec.Input.Length), (int)(images * spec.Input.Length)).ToArray(), labels[first..(first + images)],
                () => shared.Begin(images, Images), null);
            shared.Finish();
            found[group.Rank] = [.. model.Layers.SelectMany(GradientsOf)];
        });

        float[][] expected = [.. one.Layers.SelectMany(GradientsOf)];
        double[][] bounds = [.. one.Layers.SelectMany(seen.BoundsOf)];
        double worst = 0;
        foreach (float[][] rank in found)
        {
            for (int t = 0; t < expected.Length; t++)
            {
                Assert.Contains(expected[t], v => v != 0);
                Values.AssertSameBits(found[0][t], rank[t]);
                for (int i = 0; i < expected[t].Length; i++)
                {
                    double apart = Math.Abs((double)rank[t][i] - expected[t][i]);
                    Assert.True(apart <= bounds[t][i], $"tensor {t}, element {i}: {rank[t][i]} and {expected[t][i]}, bound {bounds[t][i]}");
                    if (bounds[t][i] > 0) worst = Math.Max(worst, apart / bounds[t][i]);
                }
            }
        }

        Values.NoteMargin($"gradients of {name}", worst);
        // The sums are others, so some of them round otherwise.
        Assert.True(worst > 0);

        Model NewModel(CudaBackend of, int images) => new(of, spec, TrainerTests.RulesOf("bp"), images, seed: 3);
    }

    private static void Compute(Model model, float[] pixels, int[] labels, Func<IGradientWatcher?>? begin, IErrorObserver? observer)
    {
        model.Load(pixels, labels);
        using StepScope scope = observer is null ? model.Backend.BeginStep() : default;
        model.Forward(Pass.Train(labels.Length));
        model.Loss(labels.Length, 0, gradient: true);
        model.Backward(labels.Length, observer, begin?.Invoke());
        scope.Complete();
    }

    private static IEnumerable<float[]> GradientsOf(ConvLayer layer) =>
        new[] { layer.Weight, layer.Bias }.Where(p => p is not null).Select(p => layer.Backend.Download(p!.Gradient));

    /// <summary>
    /// What the gradients of one process are sums of. An element of dW is a sum of n = N*P*Q products x * dy. Each image has the same
    /// products in both cases, because their weights are equal and exact, and the passes before compute image by image. Added in any order, the
    /// sum is off by at most g * sum of |x * dy| with g = n*u / (1 - n*u), u = 2^-24 (Higham, "Accuracy and stability of numerical algorithms",
    /// section 4.2; the rounding of a product makes it n, not n - 1), and by Cauchy and Schwarz the sum is at most |x_c| * |dy_k|, the norms over
    /// all images and positions. Two such sums are apart by twice that. For a bias x is 1.
    /// </summary>
    private sealed class Operands(Model model) : IErrorObserver
    {
        private readonly Dictionary<string, double[]> _errors = [];

        public void Observe(ConvLayer layer, BufferView error, long length)
        {
            var values = new float[length];
            model.Backend.DownloadFloats(error, values);
            _errors[layer.Name] = Norms(values, layer.Shape(Images).K);
        }

        public IEnumerable<double[]> BoundsOf(ConvLayer layer)
        {
            ConvShape shape = layer.Shape(Images);
            Block[] blocks = [.. model.Blocks];
            int at = Array.FindIndex(blocks, block => block.Units.Any(unit => unit.Layer == layer));
            var values = new float[shape.InputLength];
            model.Backend.DownloadFloats(at == 0 ? model.Input : blocks[at - 1].Result, values);
            double[] x = Norms(values, shape.C), dy = _errors[layer.Name];
            double n = (double)shape.N * shape.P * shape.Q, u = Math.Pow(2, -24), g = n * u / (1 - n * u);
            yield return [.. Enumerable.Range(0, (int)shape.WeightLength).Select(i => 2 * g * x[i / shape.K % shape.C] * dy[i % shape.K])];
            if (layer.Bias is not null) yield return [.. dy.Select(norm => 2 * g * Math.Sqrt(n) * norm)];
        }

        private static double[] Norms(float[] values, int channels)
        {
            var squares = new double[channels];
            for (int i = 0; i < values.Length; i++) squares[i % channels] += (double)values[i] * values[i];
            return [.. squares.Select(Math.Sqrt)];
        }
    }
}
