using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;
using FeedbackKernels.Rules;
using FeedbackKernels.Training;

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
        // A fan-in of 9216: more than 100 steps of 64 in a cycle.
        var shape = new ConvShape(1, 7, 7, 1024, 8, 3, 3, 1, 1);
        using var backend = new CpuBackend();
        using var layer = new ConvLayer(backend, "layer", 1, shape, bias: false, WeightInit.He);
        layer.Initialise(1);
        using Feedback feedback = new WeightMirror().Attach(layer, new LayerPlace(1, 10, Batch: 32))!;
        feedback.Initialise();
        Assert.InRange(backend.Align(shape, layer.Weight.Value, feedback.OwnWeights!.Value).AngleDegrees, 80, 100);
        feedback.BeforeTraining(TestContext.Current.CancellationToken);
        Assert.InRange(backend.Align(shape, layer.Weight.Value, feedback.OwnWeights!.Value).AngleDegrees, 0, 0.01);
    }

    [Theory]
    [InlineData(4, 16)]
    [InlineData(16, 64)]
    [InlineData(32, 64)]
    [InlineData(48, 64)]
    [InlineData(128, 128)]
    public void Samples_follow_the_batch(int batch, int samples) =>
        Assert.Equal(samples, new WeightMirror().SamplesFor(new ConvShape(batch, 56, 56, 128, 128, 3, 3, 1, 1)));

    [Fact]
    public void A_small_layer_takes_a_cycle_each_step_unless_told_otherwise()
    {
        ConvShape classifier = ConvShape.Linear(32, 500, 10);
        Assert.Equal(512, new WeightMirror().SamplesFor(classifier));
        Assert.Equal(64, new WeightMirror(Noise: NoiseKind.Gaussian).SamplesFor(classifier));
        Assert.Equal(32, new WeightMirror(Form: MirrorForm.FullMap).SamplesFor(classifier));
        Assert.Equal(7, new WeightMirror(Samples: 7).SamplesFor(classifier));
    }

    [Theory]
    [InlineData(14, 16, 32, 56)]
    [InlineData(15, 16, 32, 288)]
    [InlineData(119, 8, 64, 119)]
    [InlineData(120, 8, 64, 576)]
    public void A_layer_takes_a_cycle_each_step_where_that_is_little_beside_its_positions(int batch, int side, int channels, int samples) =>
        Assert.Equal(samples, new WeightMirror().SamplesFor(new ConvShape(batch, side, side, channels, channels, 3, 3, 1, 1)));

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

    [Theory]
    [InlineData(300, 2)]
    [InlineData(288, 1)]
    [InlineData(256, 1)]
    public void Corrections_bring_any_B_to_W_cycle_by_cycle(int fanIn, int cycles)
    {
        using var mirror = new MovingLayer(fanIn, new WeightMirror(Samples: 16, WarmUpSteps: 0));
        double least = mirror.Angle;
        Assert.InRange(least, 70, 110);
        int steps = MirrorNoise.CycleLengthOf(NoiseKind.Balanced, fanIn) / 16;
        for (int cycle = 0; cycle < cycles; cycle++)
        {
            for (int step = 0; step < steps; step++)
            {
                mirror.Step();
                Assert.NotEqual(least, mirror.Angle);
                least = Math.Min(least, mirror.Angle);
            }
        }

        // After one cycle where the fan-in is as long, otherwise a few percent of the error are left after two.
        Assert.InRange(mirror.Angle, 0, cycles == 1 ? 0.01 : 8);
    }

    [Fact]
    public void Rounding_does_not_add_up()
    {
        // Ten thousand cycles of a W that moves, then two that it does not.
        using var mirror = new MovingLayer(8, new WeightMirror(Samples: 4), outputs: 3);
        for (int step = 0; step < 20_000; step++)
        {
            mirror.MoveW(step, 0.1f);
            mirror.Step();
        }

        Assert.True(mirror.Angle > 0.1, "W has not moved");
        for (int step = 0; step < 4; step++) mirror.Step();
        Assert.InRange(mirror.Angle, 0, 0.001);
        Assert.Equal(1, mirror.NormRatio, 1e-5);
    }

    [Fact]
    public void Corrections_lag_less_than_averages_over_a_cycle()
    {
        // W moves as SGD with momentum moves it where gradients are noise. A simulation in NumPy gives 10.2 and 17.0 degrees.
        double corrected = MeanAngle(new WeightMirror(Samples: 32)), averaged = MeanAngle(new WeightMirror(Samples: 32, Update: MirrorUpdate.Average));
        Assert.Equal(10.2, corrected, 1.0);
        Assert.Equal(17.0, averaged, 1.7);

        static double MeanAngle(WeightMirror rule)
        {
            const int cycles = 12, steps = 288 / 32;
            using var mirror = new MovingLayer(288, rule);
            double sum = 0;
            for (int step = 0; step < cycles * steps; step++)
            {
                mirror.MoveW(step, 0.02f);
                mirror.Step();
                if (step >= 4 * steps) sum += mirror.Angle;
            }

            return sum / ((cycles - 4) * steps);
        }
    }

    [Fact]
    public void The_rate_is_the_share_of_the_difference_that_a_step_corrects()
    {
        // One sample: a step at rate 1/2 goes half the way of one at rate 1.
        float[] start, half, whole;
        using (var mirror = new MovingLayer(20, new WeightMirror(Samples: 1, WarmUpSteps: 0)))
        {
            start = mirror.Feedback;
            mirror.Step();
            whole = mirror.Feedback;
        }

        using (var mirror = new MovingLayer(20, new WeightMirror(Samples: 1, WarmUpSteps: 0, Rate: 0.5f)))
        {
            Assert.Equal(start, mirror.Feedback);
            mirror.Step();
            half = mirror.Feedback;
        }

        Assert.NotEqual(start, whole);
        for (int i = 0; i < start.Length; i++) Assert.Equal((start[i] + whole[i]) / 2, half[i], 1e-5);
    }

    [Fact]
    public void Samples_that_do_not_divide_a_cycle_are_fewer_at_its_end()
    {
        // Fan-in 16, 6 samples a step: 6, 6, 4 of the same rows in each cycle. W is known after each.
        using var mirror = new MovingLayer(16, new WeightMirror(Samples: 6, WarmUpSteps: 0));
        for (int cycle = 0; cycle < 3; cycle++)
        {
            mirror.MoveW(cycle, 1);
            for (int step = 0; step < 3; step++)
            {
                Assert.InRange(mirror.Angle, 1, 180);
                mirror.Step();
            }

            Assert.InRange(mirror.Angle, 0, 0.01);
        }
    }

    [Fact]
    public void A_step_that_takes_a_whole_cycle_replaces_B()
    {
        foreach (MirrorUpdate update in Enum.GetValues<MirrorUpdate>())
        {
            using var mirror = new MovingLayer(40, new WeightMirror(WarmUpSteps: 0, Update: update));
            for (int step = 0; step < 3; step++)
            {
                mirror.MoveW(step, 1);
                Assert.InRange(mirror.Angle, 1, 180);
                mirror.Step();
                Assert.InRange(mirror.Angle, 0, 0.01);
            }
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void With_follow_B_gets_the_updates_of_W(bool follow)
    {
        using var backend = new CpuBackend();
        using var model = new Model(
            backend, Models.TestNets.Residual(), RuleSet.Of(new WeightMirror(Samples: 4, Follow: follow)), 4, seed: 1);
        Models.TestNets.LoadBatch(model, 4);
        foreach (ConvLayer layer in model.Layers) layer.Feedback?.BeforeTraining(TestContext.Current.CancellationToken);
        using var sgd = new Sgd(model, new TrainingOptions { Batch = 4, WeightDecay = 0.01f });
        double largest = 0;
        for (int step = 0; step < 8; step++)
        {
            Models.TestNets.Step(model, 4);
            sgd.Update(step, 0.1f);
            largest = model.Layers.Where(layer => layer.Feedback is not null)
                .Max(layer => backend.Align(layer.Shape(), layer.Weight.Value, layer.Feedback!.OwnWeights!.Value).AngleDegrees);
        }

        if (follow) Assert.InRange(largest, 0, 0.01);
        else Assert.InRange(largest, 0.5, 90);
    }

    [Fact]
    public void With_follow_the_mirror_corrects_a_B_that_is_not_W()
    {
        // Without a warm-up B is random, and updates that both get do not change the difference.
        using var mirror = new MovingLayer(16, new WeightMirror(Samples: 4, WarmUpSteps: 0, Follow: true));
        Assert.InRange(mirror.Angle, 70, 110);
        for (int step = 0; step < 4; step++) mirror.Step();
        Assert.InRange(mirror.Angle, 0, 0.01);
    }

    [Fact]
    public void Settings_that_contradict_each_other_are_refused()
    {
        foreach (WeightMirror rule in (WeightMirror[])
        [
            new(Noise: NoiseKind.Gaussian, Update: MirrorUpdate.Correct), new(Form: MirrorForm.FullMap, Update: MirrorUpdate.Correct),
            new(ReluResponse: true, Update: MirrorUpdate.Correct),
        ])
        {
            ArgumentOutOfRangeException error = Assert.Throws<ArgumentOutOfRangeException>(rule.Validate);
            Assert.Equal("Update", error.ParamName);
            Assert.Contains("balanced", error.Message, StringComparison.Ordinal);
        }

        foreach (WeightMirror rule in (WeightMirror[])[new(Update: MirrorUpdate.Average, Follow: true), new(Noise: NoiseKind.Sign, Follow: true)])
            Assert.Equal("Follow", Assert.Throws<ArgumentOutOfRangeException>(rule.Validate).ParamName);
        new WeightMirror(Follow: true).Validate();
        new WeightMirror(Noise: NoiseKind.Gaussian, Update: MirrorUpdate.Average).Validate();
    }

    /// <summary>A linear layer under the mirror whose W the test moves.</summary>
    private sealed class MovingLayer : IDisposable
    {
        private readonly CpuBackend _backend = new();
        private readonly ConvLayer _layer;
        private readonly Feedback _feedback;
        private readonly DeviceBuffer _velocity;
        private readonly ConvShape _shape;
        private int _steps;

        public MovingLayer(int fanIn, WeightMirror rule, int outputs = 64)
        {
            _shape = ConvShape.Linear(1, fanIn, outputs);
            _layer = new ConvLayer(_backend, "layer", 1, _shape, bias: false, WeightInit.He);
            _layer.Initialise(1);
            _velocity = _backend.Allocate(_shape.WeightLength, "velocity");
            _backend.Fill(_velocity, 0);
            _feedback = rule.Attach(_layer, new LayerPlace(1, 10, 1))!;
            _feedback.Initialise();
            _feedback.BeforeTraining(TestContext.Current.CancellationToken);
        }

        public double Angle => _backend.Align(_shape, _layer.Weight.Value, _feedback.OwnWeights!.Value).AngleDegrees;

        public double NormRatio => _backend.Align(_shape, _layer.Weight.Value, _feedback.OwnWeights!.Value).NormRatio;

        public float[] Feedback => _backend.Download(_feedback.OwnWeights!.Value);

        public void Step() => _feedback.AfterUpdate(new NoUpdate(), _steps++);

        /// <summary>A step of SGD with momentum 0.9 on a gradient that is noise of the size of W, which then keeps its norm.</summary>
        public void MoveW(int step, float rate)
        {
            using DeviceBuffer gradient = _backend.Allocate(_shape.WeightLength, "gradient");
            _backend.FillGaussian(gradient, new RandomKey(2, RandomPurpose.User, 1, (uint)step), _layer.Init.StandardDeviation(_shape));
            double before = _backend.Download(_layer.Weight.Value).Sum(v => (double)v * v);
            _backend.SgdUpdate(_shape.WeightLength, _layer.Weight.Value, gradient, _velocity, new SgdStep(rate, 0.9f));
            float[] w = _backend.Download(_layer.Weight.Value);
            double scale = Math.Sqrt(before / w.Sum(v => (double)v * v));
            _backend.Upload<float>([.. w.Select(v => (float)(scale * v))], _layer.Weight.Value);
        }

        public void Dispose()
        {
            _velocity.Dispose();
            _feedback.Dispose();
            _layer.Feedback = null;
            _layer.Dispose();
            _backend.Dispose();
        }
    }

    private static List<(ConvShape Shape, double Angle, double Ratio)> Angles(NoiseKind noise, MirrorForm form, bool relu)
    {
        using var backend = new CpuBackend();
        // The law is that of averages.
        MirrorUpdate? update = noise == NoiseKind.Balanced ? MirrorUpdate.Average : null;
        var rule = new WeightMirror(Samples, noise, NoiseDeviation: 0.7f, Rate, WarmUpSteps: Steps, Form: form, ReluResponse: relu, Update: update);
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
