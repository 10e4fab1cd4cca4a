using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;
using FeedbackKernels.Rules;
using FeedbackKernels.Tests.Models;

namespace FeedbackKernels.Tests.Rules;

public sealed class RuleSetTests : IDisposable
{
    private readonly CpuBackend _backend = new(2);

    public void Dispose() => _backend.Dispose();

    [Fact]
    public void Rules_may_differ_by_layer_and_the_last_exception_counts()
    {
        var rules = new RuleSet(new WeightMirror(), [new RuleFor("b.*", new FeedbackAlignment()), new RuleFor("*.conv2", new SignSymmetry()), new RuleFor("fc", new Backprop())]);
        using var model = new Model(_backend, TestNets.Residual(), rules, 4, seed: 1);
        var names = model.Layers.ToDictionary(l => l.Name, l => l.Feedback?.RuleName);
        Assert.Null(names["conv1"]);
        Assert.Equal(WeightMirror.RuleName, names["a.conv1"]);
        Assert.Equal(FeedbackAlignment.RuleName, names["b.conv1"]);
        Assert.Equal(SignSymmetry.RuleName, names["b.conv2"]);
        Assert.Equal(Backprop.RuleName, names["fc"]);
        TestNets.LoadBatch(model, 4);
        TestNets.Step(model, 4);
    }

    [Fact]
    public void A_pattern_without_a_layer_is_refused()
    {
        var rules = new RuleSet(new Backprop(), [new RuleFor("layer9.*", new FeedbackAlignment())]);
        string message = Assert.Throws<ArgumentException>(() => new Model(_backend, TestNets.Residual(), rules, 4, seed: 1)).Message;
        Assert.Contains("layer9.*", message);
        Assert.Contains("a.conv1", message);
    }

    [Fact]
    public void A_layer_cannot_learn_from_an_error_that_direct_feedback_does_not_send()
    {
        // Direct feedback at the top, backprop below it: nothing comes down.
        var rules = new RuleSet(new Backprop(), [new RuleFor("c.*", new DirectFeedbackAlignment())]);
        string message = Assert.Throws<ArgumentException>(() => new Model(_backend, TestNets.Residual(), rules, 4, seed: 1)).Message;
        Assert.Contains(DirectFeedbackAlignment.RuleName, message);
        Assert.Contains("c.conv", message);

        // The other way round is fine: what lies below hears from the loss.
        var allowed = new RuleSet(
            new FeedbackAlignment(),
            [new RuleFor("conv1", new DirectFeedbackAlignment()), new RuleFor("a.*", new DirectFeedbackAlignment())]);
        using var model = new Model(_backend, TestNets.Residual(), allowed, 4, seed: 1);
        TestNets.LoadBatch(model, 4);
        TestNets.Step(model, 4);
        foreach (ConvLayer layer in model.Layers) Assert.Contains(_backend.Download(layer.Weight.Gradient), g => g != 0);
    }

    [Theory]
    [InlineData(DirectTarget.Elements)]
    [InlineData(DirectTarget.Channels)]
    public void Direct_feedback_gives_every_layer_a_gradient_from_the_loss_alone(DirectTarget target)
    {
        using var model = new Model(_backend, TestNets.Residual(), RuleSet.Of(new DirectFeedbackAlignment(target)), 4, seed: 1);
        TestNets.LoadBatch(model, 4);
        TestNets.Step(model, 4);
        foreach (ConvLayer layer in model.Layers) Assert.Contains(_backend.Download(layer.Weight.Gradient), g => g != 0);

        // What a lower layer learns does not depend on the weights above it, given the logits' gradient.
        float[] before = _backend.Download(model.Layers[1].Weight.Gradient);
        var observer = new OutputErrorKeeper();
        model.Forward(Pass.Measure(4));
        model.Loss(4, 0.1f, true, new float[4]);
        model.Backward(4, observer);
        Assert.Equal(before, _backend.Download(model.Layers[1].Weight.Gradient));
        Assert.Equal(model.Layers.Count, observer.Layers.Distinct().Count());
    }

    [Fact]
    public void Sign_symmetry_follows_the_signs_of_W()
    {
        foreach (SignMagnitude magnitude in Enum.GetValues<SignMagnitude>())
        {
            using var model = new Model(_backend, TestNets.Residual(), RuleSet.Of(new SignSymmetry(magnitude)), 4, seed: 1);
            ConvLayer layer = model.Layers[2];
            float[] first = _backend.Download(layer.Feedback!.OwnWeights!.Value);
            float[] w = [.. _backend.Download(layer.Weight.Value).Select(v => -v)];
            _backend.Upload<float>(w, layer.Weight.Value);
            layer.Feedback.AfterUpdate(new NoUpdate(), 0);
            float[] second = _backend.Download(layer.Feedback.OwnWeights.Value);
            Assert.Equal(first.Select(v => -Math.Sign(v)), second.Select(v => Math.Sign(v)));
            bool redrawn = !first.Select(Math.Abs).SequenceEqual(second.Select(Math.Abs));
            Assert.Equal(magnitude == SignMagnitude.BatchRandom, redrawn);
            double deviation = layer.Init.StandardDeviation(layer.Shape());
            Assert.Equal(deviation, Math.Sqrt(second.Average(v => (double)v * v)), 0.1 * deviation);
        }
    }

    [Fact]
    public void Settings_out_of_range_are_refused()
    {
        FeedbackRule[] wrong =
        [
            new FeedbackAlignment(Scale: 0), new SignSymmetry(Scale: float.NaN), new WeightMirror(Samples: 0), new WeightMirror(Rate: 1.5f),
            new WeightMirror(NoiseDeviation: -1), new WeightMirror(Every: 0), new KolenPollack(EarlyShrink: 0), new KolenPollack(EarlyShrink: 1.5f), new KolenPollack(Decay: -1),
            new WeightMirror(Update: (MirrorUpdate)7), new WeightMirror(Noise: NoiseKind.Gaussian, Update: MirrorUpdate.Correct),
            new DirectFeedbackAlignment(Scale: float.PositiveInfinity),
        ];
        foreach (FeedbackRule rule in wrong)
            Assert.ThrowsAny<ArgumentException>(() => new Model(_backend, TestNets.Residual(), RuleSet.Of(rule), 4, seed: 1));
    }

    private sealed class OutputErrorKeeper : IErrorObserver
    {
        public List<string> Layers { get; } = [];

        public void Observe(ConvLayer layer, BufferView error, long length) => Layers.Add(layer.Name);
    }
}
