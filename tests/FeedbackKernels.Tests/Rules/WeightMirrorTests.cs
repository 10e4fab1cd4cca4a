using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;
using FeedbackKernels.Rules;

namespace FeedbackKernels.Tests.Rules;

/// <summary>The mirror's convergence law on the layers of a ResNet-20 whose W stands still.</summary>
public class WeightMirrorTests
{
    private const int Samples = 64, Steps = 160;
    private const float Rate = 0.05f;

    [Theory]
    [InlineData(MirrorForm.Patch, false)]
    [InlineData(MirrorForm.Patch, true)]
    public void Gaussian_noise_obeys_the_law(MirrorForm form, bool relu)
    {
        double effective = Samples * (2 - Rate) / Rate;
        foreach ((ConvShape shape, double angle, double ratio) in Angles(NoiseKind.Gaussian, form, relu))
        {
            // tan² = (d+1)/n for the linear response, (2d+3)/n for the ReLU's.
            double squared = relu ? (2.0 * shape.FanIn + 3) / effective : (shape.FanIn + 1) / effective;
            double law = double.RadiansToDegrees(Math.Atan(Math.Sqrt(squared)));
            Assert.True(Math.Abs(angle - law) < 2, $"{shape}: {angle:F2} degrees, law {law:F2}");
            // The projection on W is W itself, so the norm is longer by the noise alone.
            Assert.Equal(Math.Sqrt(1 + squared), ratio, 0.05 * Math.Sqrt(1 + squared));
        }
    }

    [Fact]
    public void Balanced_noise_halves_the_angle_at_least()
    {
        var gaussian = Angles(NoiseKind.Gaussian, MirrorForm.Patch, relu: false);
        var balanced = Angles(NoiseKind.Balanced, MirrorForm.Patch, relu: false);
        foreach ((var g, var b) in gaussian.Zip(balanced))
            Assert.True(b.Angle <= g.Angle / 2, $"{g.Shape}: gaussian {g.Angle:F2}, balanced {b.Angle:F2} degrees");
    }

    [Fact]
    public void Whole_maps_tend_to_W_with_damped_border_taps()
    {
        // Many samples: what is left is the bias of zero padding, which a 1x1 convolution does not have.
        using var backend = new CpuBackend();
        foreach ((int size, int filter, double least, double most) in ((int, int, double, double)[])[(7, 3, 4, 8), (28, 3, 0.7, 3), (7, 1, 0, 1.5)])
        {
            var shape = new ConvShape(1, size, size, 8, 16, filter, filter, 1, filter / 2);
            using var layer = new ConvLayer(backend, "layer", 1, shape, bias: false, WeightInit.He);
            layer.Initialise(1);
            var rule = new WeightMirror(Samples: 200, Noise: NoiseKind.Gaussian, WarmUpSteps: 80, Rate: 0.001f, Form: MirrorForm.FullMap);
            using Feedback feedback = rule.Attach(layer, new LayerPlace(1, 10, 8))!;
            feedback.Initialise();
            feedback.BeforeTraining(TestContext.Current.CancellationToken);
            double angle = backend.Align(shape, layer.Weight.Value, feedback.OwnWeights!.Value).AngleDegrees;
            Assert.InRange(angle, least, most);
        }
    }

    [Fact]
    public void By_default_B_equals_W_before_training_however_long_a_cycle_is()
    {
        // A fan-in of 4608 has cycles of 8192 samples: more than 100 steps of 64.
        var shape = new ConvShape(1, 7, 7, 512, 8, 3, 3, 1, 1);
        using var backend = new CpuBackend();
        using var layer = new ConvLayer(backend, "layer", 1, shape, bias: false, WeightInit.He);
        layer.Initialise(1);
        using Feedback feedback = new WeightMirror().Attach(layer, new LayerPlace(1, 10, Batch: 32))!;
        feedback.Initialise();
        feedback.BeforeTraining(TestContext.Current.CancellationToken);
        Assert.InRange(backend.Align(shape, layer.Weight.Value, feedback.OwnWeights!.Value).AngleDegrees, 0, 0.01);
    }

    [Theory]
    [InlineData(8, 16)]
    [InlineData(32, 64)]
    [InlineData(48, 64)]
    [InlineData(128, 128)]
    public void Samples_follow_the_batch(int batch, int samples) =>
        Assert.Equal(samples, new WeightMirror().SamplesFor(new ConvShape(batch, 56, 56, 64, 64, 3, 3, 1, 1)));

    [Fact]
    public void A_small_layer_takes_a_cycle_each_step_unless_told_otherwise()
    {
        ConvShape classifier = ConvShape.Linear(32, 500, 10);
        Assert.Equal(512, new WeightMirror().SamplesFor(classifier));
        Assert.Equal(64, new WeightMirror(Noise: NoiseKind.Gaussian).SamplesFor(classifier));
        Assert.Equal(32, new WeightMirror(Form: MirrorForm.FullMap).SamplesFor(classifier));
        Assert.Equal(7, new WeightMirror(Samples: 7).SamplesFor(classifier));
    }

    [Fact]
    public void A_mirror_step_touches_nothing_but_B()
    {
        using var backend = new CpuBackend();
        using var model = new Model(
            backend, ModelCatalog.Create("resnet8", new MapShape(32, 32, 3), 10), RuleSet.Of(new WeightMirror(WarmUpSteps: 3)), 4, seed: 1);
        float[] before = Models.TestNets.Weights(model);
        foreach (ConvLayer layer in model.Layers) layer.Feedback?.BeforeTraining(TestContext.Current.CancellationToken);
        Assert.Equal(before, Models.TestNets.Weights(model));
    }

    private static List<(ConvShape Shape, double Angle, double Ratio)> Angles(NoiseKind noise, MirrorForm form, bool relu)
    {
        using var backend = new CpuBackend();
        var rule = new WeightMirror(Samples, noise, NoiseDeviation: 0.7f, Rate, WarmUpSteps: Steps, Form: form, ReluResponse: relu);
        using var model = new Model(
            backend, ModelCatalog.Create("resnet20", new MapShape(32, 32, 3), 10), RuleSet.Of(rule), 1, seed: 1);
        var result = new List<(ConvShape, double, double)>();
        foreach (ConvLayer layer in model.Layers)
        {
            if (layer.Feedback is null) continue;
            layer.Feedback.BeforeTraining(TestContext.Current.CancellationToken);
            WeightAlignment alignment = backend.Align(layer.Shape(), layer.Weight.Value, layer.Feedback.OwnWeights!.Value);
            result.Add((layer.Shape(), alignment.AngleDegrees, alignment.NormRatio));
        }

        Assert.Equal(21, result.Count);
        return result;
    }
}
