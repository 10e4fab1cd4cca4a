using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Rules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace FeedbackKernels.TorchSharp.Tests;

/// <summary>The laws of the rules.</summary>
public sealed class RuleTests
{
    [Fact]
    public void Feedback_alignment_keeps_B()
    {
        manual_seed(1);
        using var layer = new FeedbackConv2d(3, 5, 3, new FeedbackAlignment());
        Tensor before = layer.feedback!.weight.clone(), w = layer.weight.detach().clone();
        using var optimiser = optim.SGD(layer.parameters(), 0.1);
        for (int i = 0; i < 3; i++) Train(layer, optimiser);
        Check.Same(before, layer.feedback.weight);
        Assert.False(Check.IsSame(w, layer.weight));
        Assert.InRange(layer.Align().AngleDegrees, 60, 120);
    }

    [Fact]
    public void The_distribution_of_B_is_that_of_W_or_of_the_setting()
    {
        manual_seed(2);
        using var layer = new FeedbackConv2d(32, 64, 3, new FeedbackAlignment());
        Assert.InRange(layer.feedback!.weight.std().item<float>() / layer.weight.std().item<float>(), 0.97, 1.03);
        using var he = new FeedbackConv2d(32, 64, 3, new FeedbackAlignment(WeightInit.He, Scale: 3));
        Assert.InRange(he.feedback!.weight.std().item<float>(), 0.97 * 3 * Math.Sqrt(2.0 / (9 * 64)), 1.03 * 3 * Math.Sqrt(2.0 / (9 * 64)));
    }

    [Theory]
    [InlineData(SignMagnitude.Uniform)]
    [InlineData(SignMagnitude.FixedRandom)]
    [InlineData(SignMagnitude.BatchRandom)]
    public void Sign_symmetry_follows_the_signs_of_W(SignMagnitude magnitude)
    {
        manual_seed(3);
        using var layer = new FeedbackConv2d(8, 16, 3, new SignSymmetry(magnitude));
        Check.Same(layer.weight.sign(), layer.feedback!.weight.sign());
        Tensor first = layer.feedback.weight.abs();
        float deviation = layer.weight.std(unbiased: false).item<float>();
        if (magnitude == SignMagnitude.Uniform) Check.Close(full(first.shape, deviation), first);
        else Assert.InRange(first.pow(2).mean().sqrt().item<float>() / deviation, 0.95, 1.05);

        using (no_grad()) layer.weight.copy_(randn(layer.weight.shape));
        // Without a backward pass B is not needed.
        using (no_grad()) layer.call(randn(2, 8, 6, 6));
        Assert.False(Check.IsSame(layer.weight.sign(), layer.feedback.weight.sign()));
        layer.call(randn([2, 8, 6, 6], requires_grad: true));
        Check.Same(layer.weight.sign(), layer.feedback.weight.sign());
        Assert.Equal(magnitude != SignMagnitude.BatchRandom, Check.IsSame(first, layer.feedback.weight.abs()));
    }

    [Fact]
    public void A_cycle_of_balanced_noise_measures_W()
    {
        manual_seed(4);
        foreach (FeedbackLayer layer in (FeedbackLayer[])[new FeedbackConv2d(8, 16, 3, new WeightMirror()), new FeedbackLinear(100, 30, new WeightMirror())])
        {
            Assert.InRange(layer.Align().AngleDegrees, 60, 120);
            layer.MirrorStep();
            Assert.InRange(layer.Align().AngleDegrees, 0, 0.1);
            Check.Close(layer.weight.detach(), layer.feedback!.weight, 1e-4);
            Assert.Null(layer.weight.grad);
        }
    }

    [Fact]
    public void A_cycle_may_take_several_steps()
    {
        manual_seed(5);
        using var layer = new FeedbackConv2d(15, 8, 3, new WeightMirror(Samples: 60, Update: MirrorUpdate.Average));
        Tensor before = layer.feedback!.weight.clone();
        // Fan-in 135, so a cycle has 144 samples.
        layer.MirrorStep();
        layer.MirrorStep();
        Check.Same(before, layer.feedback.weight);
        layer.MirrorStep();
        Check.Close(layer.weight.detach(), layer.feedback.weight, 1e-4);
    }

    [Fact]
    public void Corrections_follow_a_W_that_moves()
    {
        manual_seed(5);
        using var layer = new FeedbackConv2d(15, 8, 3, new WeightMirror(Samples: 32));
        layer.BeforeTraining();
        Check.Close(layer.weight.detach(), layer.feedback!.weight, 1e-4);
        using (no_grad()) layer.weight.add_(randn(layer.weight.shape) * 0.1);
        double last = layer.Align().AngleDegrees;
        Assert.InRange(last, 20, 80);
        // Fan-in 135: cycles of 144 samples, 5 steps. Each step corrects, and each cycle leaves a part.
        for (int cycle = 0; cycle < 2; cycle++)
        {
            for (int step = 0; step < 5; step++)
            {
                Tensor before = layer.feedback.weight.clone();
                layer.MirrorStep();
                Assert.False(Check.IsSame(before, layer.feedback.weight));
            }

            Assert.InRange(layer.Align().AngleDegrees, 0, 0.5 * last);
            last = layer.Align().AngleDegrees;
        }

        Assert.Null(layer.weight.grad);
    }

    [Fact]
    public void A_cycle_of_as_many_samples_as_the_fan_in_corrects_any_B()
    {
        manual_seed(5);
        using var layer = new FeedbackLinear(64, 30, new WeightMirror(Samples: 24));
        for (int step = 0; step < 3; step++)
        {
            Assert.False(layer.Align().AngleDegrees < 1);
            layer.MirrorStep();
        }

        Check.Close(layer.weight.detach(), layer.feedback!.weight, 1e-4);
    }

    [Fact]
    public void Gaussian_noise_has_the_angle_that_theory_gives()
    {
        manual_seed(6);
        using var layer = new FeedbackConv2d(16, 64, 3, new WeightMirror(Samples: 576, Noise: NoiseKind.Gaussian, Rate: 1));
        layer.MirrorStep();
        // tan² = (d + 1) / n for fan-in d and n samples.
        Assert.InRange(layer.Align().AngleDegrees, 0.95 * double.RadiansToDegrees(Math.Atan(Math.Sqrt(145.0 / 576))), 1.05 * double.RadiansToDegrees(Math.Atan(Math.Sqrt(145.0 / 576))));
    }

    [Fact]
    public void Settings_of_the_mirror_have_an_effect()
    {
        manual_seed(7);
        using var every = new FeedbackLinear(20, 10, new WeightMirror(Every: 2));
        Tensor before = every.feedback!.weight.clone();
        every.MirrorStep();
        Check.Same(before, every.feedback.weight);
        every.MirrorStep();
        Check.Close(every.weight.detach(), every.feedback.weight, 1e-4);

        using var warm = new FeedbackLinear(20, 10, new WeightMirror(WarmUpSteps: 1));
        warm.BeforeTraining();
        Check.Close(warm.weight.detach(), warm.feedback!.weight, 1e-4);
    }

    [Fact]
    public void Mirror_steps_depend_on_seed_layer_and_step_alone()
    {
        Tensor Measure(ulong seed, uint layer, int steps, long junk)
        {
            manual_seed(junk);
            using var made = new FeedbackConv2d(4, 6, 3, new WeightMirror(Samples: 20, Noise: NoiseKind.Gaussian), seed: seed, layer: layer);
            using (no_grad()) made.weight.copy_(linspace(-1, 1, made.weight.numel()).view(made.weight.shape));
            for (int i = 0; i < steps; i++) made.MirrorStep();
            return made.feedback!.weight.clone();
        }

        Tensor first = Measure(5, 2, 3, junk: 1);
        Check.Same(first, Measure(5, 2, 3, junk: 2));
        Assert.False(Check.IsSame(first, Measure(6, 2, 3, junk: 1)));
        Assert.False(Check.IsSame(first, Measure(5, 3, 3, junk: 1)));
        Assert.False(Check.IsSame(first, Measure(5, 2, 4, junk: 1)));
    }

    [Fact]
    public void The_seed_of_torch_fixes_B()
    {
        Tensor Draw(long seed)
        {
            manual_seed(seed);
            using var layer = new FeedbackLinear(20, 10, new FeedbackAlignment());
            return layer.feedback!.weight.clone();
        }

        Check.Same(Draw(1), Draw(1));
        Assert.False(Check.IsSame(Draw(1), Draw(2)));
    }

    [Fact]
    public void Rules_that_do_not_fit_are_refused_with_the_reason()
    {
        Assert.Contains("loss", Refusal(new DirectFeedbackAlignment()), StringComparison.Ordinal);
        Assert.Contains("kolen-pollack", Refusal(new SymmetricAlignment()), StringComparison.Ordinal);
        Assert.Contains("FullMap", Refusal(new WeightMirror(Form: MirrorForm.FullMap)), StringComparison.Ordinal);
        Assert.Contains("optimiser", Refusal(new WeightMirror(Follow: true)), StringComparison.Ordinal);
        Assert.Contains("TwoWeight", Refusal(new KolenPollack(Form: KolenPollackForm.ClosedForm)), StringComparison.Ordinal);
        Assert.Contains("before training", Refusal(new KolenPollack(Early: EarlyDecay.InTraining)), StringComparison.Ordinal);
        Assert.Throws<ArgumentOutOfRangeException>(() => new FeedbackLinear(3, 2, new WeightMirror(Rate: 2)));
        using var layer = new FeedbackLinear(3, 2, new FeedbackAlignment());
        Assert.Contains("feedback-alignment", Assert.Throws<InvalidOperationException>(layer.MirrorStep).Message, StringComparison.Ordinal);
        Assert.Contains("weight-mirror", Assert.Throws<InvalidOperationException>(() => Sequential(layer).MirrorStep()).Message, StringComparison.Ordinal);
        Assert.Throws<InvalidOperationException>(() => new FeedbackLinear(3, 2, new Backprop()).Align());

        static string Refusal(FeedbackRule rule) => Assert.Throws<NotSupportedException>(() => new FeedbackLinear(3, 2, rule)).Message;
    }

    internal static void Train(Module<Tensor, Tensor> layer, optim.Optimizer optimiser)
    {
        optimiser.zero_grad();
        layer.call(randn([2, 3, 6, 6], requires_grad: true)).pow(2).mean().backward();
        optimiser.step();
    }
}
