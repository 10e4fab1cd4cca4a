using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;
using FeedbackKernels.Rules;
using FeedbackKernels.Tests.Models;
using FeedbackKernels.Training;

namespace FeedbackKernels.Tests.Rules;

public class KolenPollackTests
{
    private const int Images = 8, Steps = 12;

    private static readonly TrainingOptions Options = new() { Batch = Images, WeightDecay = 0.02f, Momentum = 0.8f };

    [Theory]
    [InlineData(KolenPollackForm.TwoWeight, true, "residual")]
    [InlineData(KolenPollackForm.TwoWeight, false, "residual")]
    [InlineData(KolenPollackForm.TwoWeight, true, "plain")]
    [InlineData(KolenPollackForm.ClosedForm, true, "residual")]
    [InlineData(KolenPollackForm.ClosedForm, false, "plain")]
    public void The_mismatch_shrinks_by_its_exact_factor(KolenPollackForm form, bool nesterov, string net)
    {
        const float rate = 0.3f, early = 0.8f;
        const int earlySteps = 4;
        using var backend = new CpuBackend();
        using Model model = NewModel(backend, new KolenPollack(EarlyShrink: early, Early: EarlyDecay.InTraining, EarlySteps: earlySteps, Form: form), net);
        foreach (ConvLayer layer in model.Layers) layer.Feedback?.BeforeTraining(TestContext.Current.CancellationToken);
        double[] initial = [.. model.Layers.Select(l => Mismatch(backend, l))];
        var sgd = new Sgd(model, Options with { Nesterov = nesterov });
        double normed = 1, plain = 1, normedVelocity = 0, plainVelocity = 0;
        for (int step = 0; step < Steps; step++)
        {
            TestNets.Step(model, Images);
            sgd.Update(step, rate);
            // Data gradients cancel in W - B^T: it is SGD on the decay alone.
            Advance(ref normed, ref normedVelocity, step < earlySteps ? Math.Pow(early, 1.0 / earlySteps) : 1);
            Advance(ref plain, ref plainVelocity, 1);
            foreach ((ConvLayer layer, double start) in model.Layers.Zip(initial))
            {
                if (layer.Feedback is null) continue;
                double factor = layer.IsNormed || layer == model.Layers[^1] ? normed : plain;
                Assert.Equal(factor, Mismatch(backend, layer) / start, 1e-4);
            }
        }

        Assert.True(normed < 0.75 && plain < 0.95);
        // The hidden layer of a net without norms has no early decay.
        Assert.Equal(net == "residual", model.Layers[1].IsNormed);

        void Advance(ref double share, ref double velocity, double shrink)
        {
            double gradient = Options.WeightDecay * share;
            velocity = Options.Momentum * velocity + gradient;
            share = shrink * (share - rate * (nesterov ? gradient + Options.Momentum * velocity : velocity));
        }
    }

    [Theory]
    [InlineData(KolenPollackForm.TwoWeight, 0.1f, 20)]
    [InlineData(KolenPollackForm.ClosedForm, 0.1f, 20)]
    [InlineData(KolenPollackForm.TwoWeight, 0.02f, 7)]
    public void Noise_before_training_shrinks_the_mismatch_and_keeps_the_variance_of_W(KolenPollackForm form, float shrink, int steps)
    {
        using var backend = new CpuBackend();
        using Model model = NewModel(backend, new KolenPollack(EarlyShrink: shrink, EarlySteps: steps, Form: form));
        foreach (ConvLayer layer in model.Layers)
        {
            if (layer.Feedback is null) continue;
            double mismatch = Mismatch(backend, layer);
            float[] start = backend.Download(layer.Weight.Value);
            layer.Feedback.BeforeTraining(TestContext.Current.CancellationToken);
            float[] w = backend.Download(layer.Weight.Value);
            Assert.Equal(shrink, Mismatch(backend, layer) / mismatch, 1e-5);
            double square = w.Sum(v => (double)v * v), startSquare = start.Sum(v => (double)v * v);
            double correlation = w.Zip(start, (a, b) => (double)a * b).Sum() / Math.Sqrt(square * startSquare);
            // Chance moves both by about 1 / sqrt(elements).
            Assert.InRange(square / startSquare, 1 - 6 / Math.Sqrt(w.Length), 1 + 6 / Math.Sqrt(w.Length));
            Assert.Equal(shrink, correlation, 5 / Math.Sqrt(w.Length));
            Assert.All(backend.Download(layer.Weight.Gradient), g => Assert.Equal(0, g));
        }
    }

    [Theory]
    [InlineData(EarlyDecay.BeforeTraining, 0.01f)]
    [InlineData(EarlyDecay.InTraining, 0.8f)]
    public void The_closed_form_is_the_two_weight_form(EarlyDecay early, float shrink)
    {
        using var backend = new CpuBackend();
        var rule = new KolenPollack(EarlyShrink: shrink, Early: early, EarlySteps: 4);
        using Model two = NewModel(backend, rule), closed = NewModel(backend, rule with { Form = KolenPollackForm.ClosedForm });
        foreach (Model model in (Model[])[two, closed])
        {
            var sgd = new Sgd(model, Options);
            foreach (ConvLayer layer in model.Layers) layer.Feedback?.BeforeTraining(TestContext.Current.CancellationToken);
            for (int step = 0; step < Steps; step++)
            {
                TestNets.Step(model, Images);
                sgd.Update(step, 0.05f);
            }
        }

        foreach ((ConvLayer a, ConvLayer b) in two.Layers.Zip(closed.Layers))
        {
            if (a.Feedback is null) continue;
            WeightAlignment feedback = backend.Compare(a.Weight.Length, a.Feedback.OwnWeights!.Value, b.Feedback!.OwnWeights!.Value);
            Assert.Equal(0, feedback.AngleDegrees, 0.5);
            Assert.Equal(1, feedback.NormRatio, 1e-2);
        }
    }

    [Fact]
    public void Its_own_decay_replaces_that_of_the_run()
    {
        using var backend = new CpuBackend();
        using Model model = NewModel(backend, new KolenPollack(Decay: 0.5f, EarlyShrink: 1));
        Feedback feedback = model.Layers[1].Feedback!;
        UpdateTerms adjusted = feedback.Adjust(new UpdateTerms(0.1f), 0);
        Assert.Equal(0.5f, adjusted.WeightDecay);
        Assert.Equal(1, adjusted.Shrink);
    }

    private static Model NewModel(Backend backend, KolenPollack rule, string net = "residual")
    {
        var model = new Model(backend, TestNets.ByName(net), RuleSet.Of(rule), Images, seed: 5);
        TestNets.LoadBatch(model, Images);
        return model;
    }

    private static double Mismatch(Backend backend, ConvLayer layer)
    {
        if (layer.Feedback is null) return 1;
        using DeviceBuffer difference = backend.Allocate(layer.Weight.Length, "W^T - B");
        backend.TransposedCombine(layer.Shape(), 1, layer.Weight.Value, -1, layer.Feedback.OwnWeights!.Value, difference);
        return Math.Sqrt(backend.Compare(layer.Weight.Length, difference, difference).SquaredNorm);
    }
}
