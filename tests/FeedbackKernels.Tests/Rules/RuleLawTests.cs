using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;
using FeedbackKernels.Rules;
using FeedbackKernels.Tests.Models;
using FeedbackKernels.Training;

namespace FeedbackKernels.Tests.Rules;

/// <summary>What each rule says of B, element by element, while a net is trained.</summary>
public sealed class RuleLawTests : IDisposable
{
    private const int Images = 4;

    private readonly CpuBackend _backend = new(2);

    public void Dispose() => _backend.Dispose();

    [Fact]
    public void Feedback_alignment_never_moves_B()
    {
        using Model model = NewModel(new FeedbackAlignment());
        float[][] initial = Feedbacks(model);
        var sgd = new Sgd(model, new TrainingOptions { Batch = Images });
        Prepare(model);
        for (int step = 0; step < 5; step++)
        {
            Train(model, sgd, step);
            Assert.Equal(initial, Feedbacks(model));
        }
    }

    [Fact]
    public void Feedback_alignment_draws_B_by_seed_layer_and_init_and_not_as_W()
    {
        using Model one = NewModel(new FeedbackAlignment()), same = NewModel(new FeedbackAlignment());
        using Model scaled = NewModel(new FeedbackAlignment(Scale: 3)), other = NewModel(new FeedbackAlignment(), seed: 2);
        Assert.Equal(Feedbacks(one), Feedbacks(same));
        Assert.NotEqual(Feedbacks(one), Feedbacks(other));
        Assert.Equal(Feedbacks(one).Select(b => b.Select(v => v * 3)), Feedbacks(scaled));
        foreach ((ConvLayer layer, float[] b) in Fed(one).Zip(Feedbacks(one)))
        {
            WeightAlignment alignment = _backend.Align(layer.Shape(), layer.Weight.Value, layer.Feedback!.OwnWeights!.Value);
            // Independent of W: the angle is 90 degrees up to chance, and the norm that of W's own distribution.
            Assert.Equal(0, Math.Cos(double.DegreesToRadians(alignment.AngleDegrees)), 5 / Math.Sqrt(b.Length));
            Assert.Equal(1, alignment.NormRatio, 5 / Math.Sqrt(b.Length));
            // Nor are they W's numbers in another layout.
            Assert.Empty(b.Intersect(_backend.Download(layer.Weight.Value)));
        }

        // 1 / sqrt(3 fan-in) of a uniform distribution, whatever W is drawn from.
        using Model uniform = NewModel(new FeedbackAlignment(WeightInit.Uniform));
        foreach ((ConvLayer layer, float[] b) in Fed(uniform).Zip(Feedbacks(uniform)))
            Assert.Equal(1, Math.Sqrt(b.Average(v => (double)v * v) * 3 * layer.Shape().FanIn), 5 / Math.Sqrt(b.Length));
    }

    [Theory]
    [InlineData(1f, null)]
    [InlineData(2f, null)]
    [InlineData(2f, WeightInit.Uniform)]
    public void Uniform_sign_symmetry_is_scale_times_deviation_times_sign(float scale, WeightInit? init)
    {
        using Model model = NewModel(new SignSymmetry(Init: init, Scale: scale));
        var sgd = new Sgd(model, new TrainingOptions { Batch = Images });
        Prepare(model);
        for (int step = 0; step < 3; step++)
        {
            Train(model, sgd, step);
            foreach (ConvLayer layer in Fed(model))
            {
                ConvShape s = layer.Shape();
                double deviation = init == WeightInit.Uniform || layer.Name == "fc" ? Math.Sqrt(1.0 / (3 * s.R * s.S * s.C)) : Math.Sqrt(2.0 / (s.R * s.S * s.K));
                float size = scale * (float)deviation;
                Assert.Equal(Transposed(layer, w => Math.Sign(w) * size), _backend.Download(layer.Feedback!.OwnWeights!.Value));
            }
        }
    }

    [Theory]
    [InlineData(SignMagnitude.BatchRandom, true)]
    [InlineData(SignMagnitude.FixedRandom, false)]
    public void Random_magnitudes_are_scaled_and_drawn_as_often_as_they_say(SignMagnitude magnitude, bool redrawn)
    {
        using Model one = NewModel(new SignSymmetry(magnitude)), two = NewModel(new SignSymmetry(magnitude, Scale: 2));
        Assert.Equal(Feedbacks(one).Select(b => b.Select(v => 2 * v)), Feedbacks(two));
        ConvLayer layer = Fed(one).First();
        float[] first = [.. Feedbacks(one)[0].Select(Math.Abs)];
        layer.Feedback!.AfterUpdate(new NoUpdate(), 0);
        Assert.Equal(redrawn, !first.SequenceEqual(Feedbacks(one)[0].Select(Math.Abs)));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public void The_mirror_moves_B_in_every_nth_step_alone(int every)
    {
        // A rate of its own and gaussian noise: each mirror step moves B.
        using Model model = NewModel(new WeightMirror(Samples: 8, Noise: NoiseKind.Gaussian, Every: every, WarmUpSteps: 0));
        var sgd = new Sgd(model, new TrainingOptions { Batch = Images });
        Prepare(model);
        for (int step = 0; step < 9; step++)
        {
            float[][] before = Feedbacks(model);
            Train(model, sgd, step);
            bool moves = (step + 1) % every == 0;
            foreach ((float[] b, float[] now) in before.Zip(Feedbacks(model))) Assert.Equal(moves, !b.SequenceEqual(now));
        }
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(5)]
    public void The_mirror_warms_up_for_as_many_steps_as_it_says(int steps)
    {
        var rule = new WeightMirror(Samples: 8, Noise: NoiseKind.Gaussian, Rate: 0.25f, WarmUpSteps: steps);
        using Model model = NewModel(rule), counted = NewModel(rule with { WarmUpSteps = 0 });
        Prepare(model);
        Prepare(counted);
        for (int i = 0; i < steps; i++)
        {
            foreach (ConvLayer layer in Fed(counted)) layer.Feedback!.AfterUpdate(new NoUpdate(), i);
        }

        Assert.Equal(Feedbacks(counted), Feedbacks(model));
        // One step more is another B.
        foreach (ConvLayer layer in Fed(counted)) layer.Feedback!.AfterUpdate(new NoUpdate(), steps);
        Assert.NotEqual(Feedbacks(counted), Feedbacks(model));
    }

    [Fact]
    public void A_move_of_the_mirror_is_the_average_of_correlation_over_gain_and_B()
    {
        const float rate = 0.25f, deviation = 0.5f;
        const int samples = 8;
        using Model model = NewModel(new WeightMirror(samples, NoiseKind.Gaussian, deviation, rate, WarmUpSteps: 0));
        ConvLayer layer = Fed(model).First();
        ConvShape shape = layer.Shape();
        double[] expected = [.. Feedbacks(model)[0].Select(v => (double)v)];
        var noise = new MirrorNoise(NoiseKind.Gaussian, shape.FanIn, deviation, 1, layer.Index);
        var sample = new float[shape.FanIn];
        float[] w = _backend.Download(layer.Weight.Value);
        for (int move = 0; move < 6; move++)
        {
            var correlation = new double[w.Length];
            for (int i = 0; i < samples; i++)
            {
                noise.Fill(sample, move * samples + i);
                for (int k = 0; k < shape.K; k++)
                {
                    double response = 0;
                    for (int j = 0; j < shape.FanIn; j++) response += sample[j] * (double)w[j * shape.K + k];
                    for (int j = 0; j < shape.FanIn; j++) correlation[j * shape.K + k] += sample[j] * response;
                }
            }

            // The first moves are the plain average: rates 1, 1/2, 1/3, then the rate itself.
            double share = Math.Max(rate, 1.0 / (move + 1));
            for (int i = 0; i < w.Length; i++)
            {
                int k = i % shape.K, c = i / shape.K % shape.C, tap = i / (shape.K * shape.C), place = (tap * shape.K + k) * shape.C + c;
                expected[place] = (1 - share) * expected[place] + share * correlation[i] / (samples * deviation * deviation);
            }

            layer.Feedback!.AfterUpdate(new NoUpdate(), move);
            float[] found = Feedbacks(model)[0];
            for (int i = 0; i < found.Length; i++) Assert.Equal(expected[i], found[i], 2e-5);
        }
    }

    [Fact]
    public void A_correction_of_the_mirror_is_the_noise_times_the_response_less_that_of_B()
    {
        const float rate = 0.75f, deviation = 0.5f;
        const int samples = 3;
        using Model model = NewModel(new WeightMirror(samples, NoiseDeviation: deviation, Rate: rate, WarmUpSteps: 0));
        ConvLayer layer = Fed(model).First();
        ConvShape shape = layer.Shape();
        int d = shape.FanIn, cycle = MirrorNoise.CycleLengthOf(NoiseKind.Balanced, d);
        Assert.True(cycle > 4 * samples && cycle > d, $"{shape} has cycles of {cycle}");
        double[] expected = [.. Feedbacks(model)[0].Select(v => (double)v)];
        var noise = new MirrorNoise(NoiseKind.Balanced, d, deviation, 1, layer.Index);
        var sample = new float[d];
        float[] w = _backend.Download(layer.Weight.Value);
        int next = 0;
        for (int move = 0; next < cycle + samples; move++)
        {
            // The rows of the first cycle again and again, as many as are left of it.
            int first = next % cycle, taken = Math.Min(samples, cycle - first);
            next += taken;
            var change = new double[w.Length];
            for (int i = 0; i < taken; i++)
            {
                noise.Fill(sample, first + i);
                for (int k = 0; k < shape.K; k++)
                {
                    double difference = 0;
                    for (int j = 0; j < d; j++) difference += sample[j] * (w[j * shape.K + k] - expected[Place(j, k)]);
                    for (int j = 0; j < d; j++) change[Place(j, k)] += sample[j] * difference;
                }
            }

            double factor = rate / (deviation * deviation * (d + (taken - 1.0) * (cycle - d) / (cycle - 1.0)));
            for (int i = 0; i < change.Length; i++) expected[i] += factor * change[i];
            layer.Feedback!.AfterUpdate(new NoUpdate(), move);
            float[] found = Feedbacks(model)[0];
            for (int i = 0; i < found.Length; i++) Assert.Equal(expected[i], found[i], 2e-5);
        }

        int Place(int j, int k) => (j / shape.C * shape.K + k) * shape.C + j % shape.C;
    }

    [Fact]
    public void Direct_feedback_gives_a_projection_to_what_hears_from_the_loss_and_to_nothing_else()
    {
        using Model model = NewModel(new DirectFeedbackAlignment());
        foreach (ConvLayer layer in model.Layers)
        {
            bool projected = layer.Name != "fc" && !layer.Name.Contains("downsample", StringComparison.Ordinal);
            Assert.Equal(projected, layer.Feedback!.ReceivesDirectError);
            Assert.Equal(projected ? 1 : 0, layer.Feedback.Parameters.Count);
            Assert.False(layer.Feedback.SendsError);
        }
    }

    [Fact]
    public void Under_direct_feedback_a_shortcut_learns_from_its_blocks_error()
    {
        // The last unit of a block and its projection are joined before the ReLU: with batch norms that are the same, their
        // errors at the join are one tensor, so beta's gradients are equal.
        using Model model = NewModel(new DirectFeedbackAlignment());
        TestNets.LoadBatch(model, Images);
        TestNets.Step(model, Images);
        foreach ((string last, string shortcut) in ((string, string)[])[("b.bn2", "b.downsample.1"), ("c.bn3", "c.downsample.1")])
        {
            float[] main = _backend.Download(model.Norms.Single(n => n.Name == last).Beta.Gradient!);
            float[] side = _backend.Download(model.Norms.Single(n => n.Name == shortcut).Beta.Gradient!);
            for (int i = 0; i < main.Length; i++) Assert.Equal(main[i], side[i], 1e-4 * Math.Max(1, Math.Abs(main[i])));
        }
    }

    [Theory]
    [InlineData(DirectTarget.Elements, 1f)]
    [InlineData(DirectTarget.Elements, 3f)]
    [InlineData(DirectTarget.Channels, 2f)]
    public void A_projection_is_the_output_error_times_fixed_random_weights(DirectTarget target, float scale)
    {
        var shape = new ConvShape(1, 6, 6, 3, 32, 3, 3, 1, 1);
        using var layer = new ConvLayer(_backend, "layer", 2, shape, bias: false, WeightInit.He);
        using Feedback feedback = new DirectFeedbackAlignment(target, scale).Attach(layer, new LayerPlace(3, Classes: 4, Batch: 2))!;
        feedback.Initialise();
        Parameter weights = feedback.Parameters.Single();
        IReadOnlyList<int> sizes = weights.Sizes;
        DeviceBuffer buffer = weights.Value;
        int pixels = 36, channels = 32, reached = target == DirectTarget.Channels ? channels : pixels * channels;
        Assert.Equal([4, reached], sizes);
        float[] b = _backend.Download(buffer), outputError = [1, -2, 0.5f, 0, 0, 0, 3, 1];
        double deviation = scale * Math.Sqrt(2.0 / (4 + reached));
        // Chance moves a root mean square by 1 / sqrt(2 elements).
        Assert.Equal(1, Math.Sqrt(b.Average(v => (double)v * v)) / deviation, 5 / Math.Sqrt(2 * b.Length));
        using DeviceBuffer from = _backend.Allocate(8, "output error"), error = _backend.Allocate(2L * pixels * channels, "error");
        _backend.Upload<float>(outputError, from);
        for (int repeat = 0; repeat < 2; repeat++)
        {
            feedback.ProjectOutputError(2, from, error);
            float[] found = _backend.Download(error);
            for (int i = 0; i < found.Length; i++)
            {
                int n = i / (pixels * channels), element = target == DirectTarget.Channels ? i % channels : i % (pixels * channels);
                double sum = Enumerable.Range(0, 4).Sum(k => outputError[n * 4 + k] * (double)b[k * reached + element]);
                Assert.Equal(target == DirectTarget.Channels ? sum / pixels : sum, found[i], 1e-5 * scale);
            }

            feedback.AfterUpdate(new NoUpdate(), repeat);
        }
    }

    [Theory]
    [InlineData(KolenPollackForm.TwoWeight, false)]
    [InlineData(KolenPollackForm.TwoWeight, true)]
    [InlineData(KolenPollackForm.ClosedForm, false)]
    [InlineData(KolenPollackForm.ClosedForm, true)]
    public void Under_Kolen_Pollack_each_element_of_the_difference_decays_by_the_same_factor(KolenPollackForm form, bool nesterov)
    {
        const float rate = 0.25f, decay = 0.125f, momentum = 0.5f;
        using Model model = NewModel(new KolenPollack(Decay: decay, EarlyShrink: 1, Form: form));
        var sgd = new Sgd(model, new TrainingOptions { Batch = Images, Momentum = momentum, Nesterov = nesterov, WeightDecay = 0.5f });
        Prepare(model);
        float[][] initial = Differences(model);
        double share = 1, velocity = 0;
        for (int step = 0; step < 6; step++)
        {
            Train(model, sgd, step, rate);
            velocity = momentum * velocity + decay * share;
            share -= rate * (nesterov ? decay * share + momentum * velocity : velocity);
            foreach ((float[] start, float[] now) in initial.Zip(Differences(model)))
            {
                for (int i = 0; i < start.Length; i++) Assert.Equal(share * start[i], now[i], 1e-4 * Math.Max(1, Math.Abs(start[i])));
            }
        }

        Assert.InRange(share, 0.3, 0.8);
    }

    [Fact]
    public void Backprop_reads_W_itself()
    {
        using Model model = NewModel(new Backprop());
        foreach (ConvLayer layer in Fed(model))
        {
            (BufferView weights, FeedbackLayout layout) = layer.Feedback!.Weights;
            Assert.Equal((layer.Weight.Value.Address, FeedbackLayout.Forward), (weights.Address, layout));
            Assert.Null(layer.Feedback.OwnWeights);
            Assert.Empty(layer.Feedback.Parameters);
        }
    }

    private Model NewModel(FeedbackRule rule, ulong seed = 1)
    {
        var model = new Model(_backend, TestNets.Residual(), RuleSet.Of(rule), Images, seed);
        TestNets.LoadBatch(model, Images);
        return model;
    }

    private static void Prepare(Model model)
    {
        foreach (ConvLayer layer in model.Layers) layer.Feedback?.BeforeTraining();
    }

    private static void Train(Model model, Sgd sgd, int step, float rate = 0.05f)
    {
        TestNets.Step(model, Images);
        sgd.Update(step, rate);
    }

    private static IEnumerable<ConvLayer> Fed(Model model) => model.Layers.Where(l => l.Feedback is not null);

    private float[][] Feedbacks(Model model) => [.. Fed(model).Select(l => _backend.Download(l.Feedback!.OwnWeights!.Value))];

    /// <summary>B - W^T of each layer.</summary>
    private float[][] Differences(Model model) =>
        [.. Fed(model).Zip(Feedbacks(model), (layer, b) => Transposed(layer, w => w).Zip(b, (w, own) => own - w).ToArray())];

    /// <summary>W in feedback layout, each element through a function.</summary>
    private float[] Transposed(ConvLayer layer, Func<float, float> map)
    {
        ConvShape s = layer.Shape();
        float[] w = _backend.Download(layer.Weight.Value), b = new float[w.Length];
        for (int i = 0; i < w.Length; i++)
        {
            int k = i % s.K, c = i / s.K % s.C, tap = i / (s.K * s.C);
            b[(tap * s.K + k) * s.C + c] = map(w[i]);
        }

        return b;
    }
}

/// <summary>An update that changes nothing, for rules that do not look at it.</summary>
internal sealed class NoUpdate : WeightUpdate
{
    public override double ApplyTo(double value, ref double velocity) => value;
}
