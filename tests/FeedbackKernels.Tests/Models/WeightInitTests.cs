using FeedbackKernels.Interop;
using FeedbackKernels.Layers;

namespace FeedbackKernels.Tests.Models;

/// <summary>The distributions of initial weights: deviations computed by hand, compared with drawn weights.</summary>
public class WeightInitTests
{
    // 3x3 filters, 50 channels to 80: fan-in 450, fan-out 720.
    private static readonly ConvShape Shape = new(1, 8, 8, 50, 80, 3, 3, 1, 1);

    [Theory]
    [InlineData(WeightInit.He, 2 / 720.0)]
    [InlineData(WeightInit.Xavier, 2 / 1170.0)]
    [InlineData(WeightInit.Uniform, 1 / 1350.0)]
    [InlineData(WeightInit.Paper, 1 / 1170.0)]
    public void Weights_have_the_variance_of_their_distribution(WeightInit init, double variance)
    {
        Assert.Equal(Math.Sqrt(variance), init.StandardDeviation(Shape), 1e-8);
        using var backend = new CpuBackend(1);
        using var layer = new ConvLayer(backend, "layer", 3, Shape, bias: true, init);
        layer.Initialise(17);
        float[] weights = backend.Download(layer.Weight.Value);
        Assert.Equal(36_000, weights.Length);
        double found = weights.Average(w => (double)w * w), fourth = weights.Average(w => Math.Pow(w, 4)) / (found * found);
        Assert.Equal(0, weights.Average() / Math.Sqrt(variance), 0.03);
        Assert.Equal(1, found / variance, 0.04);
        Assert.Equal(init == WeightInit.Uniform ? 1.8 : 3, fourth, 0.15);
        if (init == WeightInit.Uniform) Assert.InRange(weights.Max(Math.Abs), 0.999 / Math.Sqrt(450), 1.00001 / Math.Sqrt(450));
        Assert.All(backend.Download(layer.Bias!.Value), b => Assert.Equal(0, b));
    }

    [Fact]
    public void Layers_and_seeds_draw_different_weights()
    {
        using var backend = new CpuBackend(1);
        float[] Draw(uint index, ulong seed)
        {
            using var layer = new ConvLayer(backend, "layer", index, Shape, bias: false, WeightInit.He);
            layer.Initialise(seed);
            return backend.Download(layer.Weight.Value);
        }

        Assert.Equal(Draw(1, 1), Draw(1, 1));
        Assert.NotEqual(Draw(1, 1), Draw(2, 1));
        Assert.NotEqual(Draw(1, 1), Draw(1, 2));
    }
}
