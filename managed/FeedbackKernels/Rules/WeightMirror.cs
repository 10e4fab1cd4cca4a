using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Settings;
using FeedbackKernels.State;

namespace FeedbackKernels.Rules;

/// <summary>
/// Weight mirror (Akrout et al. 2019, section 2): between updates, noise ξ goes through each layer alone, and B moves towards
/// the correlation of the response η with the noise, which is proportional to Wᵀ:
/// <c>B = (1 - λ) B + λ / (gain σ² n) ηᵀξ</c>. B converges to Wᵀ, scale included. Batch norm and bias take no part.
/// </summary>
/// <remarks>
/// With gaussian noise, rate λ and n samples per step, B averages n_eff = n(2-λ)/λ samples of a W that does not move, and
/// stays at an angle of tan² = (d+1)/n_eff for fan-in d. When W moves, B also lags by 1/λ steps: a smaller rate averages more
/// and lags more. With balanced noise, the second moment of a cycle of samples (the next power of two from d) is exactly
/// white, so a whole cycle measures W without error. Each training step takes n samples of it, and B moves when the cycle is
/// complete; cycles need no averaging, so the rate is 1 and B lags by about one cycle.
/// The first moves of B use the rates 1, 1/2, 1/3, ... down to λ. This is the plain average, in which the initial B has no
/// weight.
/// </remarks>
/// <param name="Samples">Noise samples n in a mirror step; null for the number that <see cref="SamplesFor"/> returns, about 1 %
/// of the work of a training step in any net.</param>
/// <param name="Noise">Distribution of the noise.</param>
/// <param name="NoiseDeviation">Its standard deviation σ. It cancels where the response is linear.</param>
/// <param name="Rate">λ; null for 1 where a cycle measures W exactly (balanced noise, patches, linear response) and
/// 0.02 elsewhere.</param>
/// <param name="Every">Number of training steps between mirror steps.</param>
/// <param name="WarmUpSteps">Mirror steps before training; null for 100, or more if B has not moved by then.</param>
/// <param name="Form">Single patches of noise, or whole images of noise as in the paper.</param>
/// <param name="ReluResponse">Whether the response goes through a ReLU, as in the paper.</param>
public sealed record WeightMirror(
    int? Samples = null,
    NoiseKind Noise = NoiseKind.Balanced,
    float NoiseDeviation = 1,
    float? Rate = null,
    int Every = 1,
    int? WarmUpSteps = null,
    MirrorForm Form = MirrorForm.Patch,
    bool ReluResponse = false) : FeedbackRule(RuleName)
{
    /// <summary>Name on the command line, in config.json and in reports.</summary>
    public const string RuleName = "weight-mirror";

    /// <summary>The rule in the catalogue.</summary>
    public static RuleEntry Entry { get; } = new RuleEntry<WeightMirror>(RuleName, "wm", "weight mirror", () => new())
        .Setting(
            nameof(Samples),
            new OptionalNumberOption<int>(
                "--mirror-samples", new Bounds(1, 1_000_000), "noise samples in a mirror step. More give a better angle and take longer.",
                whenOmitted: "--batch; for patches at least 64 or twice --batch, whichever is less, and a whole cycle of balanced noise for small layers"),
            rule => rule.Samples, (rule, value) => rule with { Samples = value })
        .Setting(
            nameof(Noise), new ChoiceOption<NoiseKind>("--mirror-noise", "distribution of the noise."),
            rule => rule.Noise, (rule, value) => rule with { Noise = value })
        .Setting(
            nameof(NoiseDeviation), new NumberOption<float>("--mirror-std", Bounds.Positive, "standard deviation of the noise."),
            rule => rule.NoiseDeviation, (rule, value) => rule with { NoiseDeviation = value })
        .Setting(
            nameof(Rate),
            new OptionalNumberOption<float>(
                "--mirror-rate", Bounds.PositiveShare, "B is a running average of estimates of the forward weights; this is the weight of the newest.",
                whenOmitted: "1 for balanced patches with linear response, else 0.02"),
            rule => rule.Rate, (rule, value) => rule with { Rate = value })
        .Setting(
            nameof(Every), new NumberOption<int>("--mirror-every", Bounds.AtLeast(1), "one mirror step every N training steps."),
            rule => rule.Every, (rule, value) => rule with { Every = value })
        .Setting(
            nameof(WarmUpSteps),
            new OptionalNumberOption<int>(
                "--mirror-warm-up", new Bounds(0, 10_000_000), "mirror steps before training.", whenOmitted: "100, or until each B has been updated"),
            rule => rule.WarmUpSteps, (rule, value) => rule with { WarmUpSteps = value })
        .Setting(
            nameof(Form),
            new ChoiceOption<MirrorForm>("--mirror-form", "send single patches of noise through a layer, or whole images of noise as in the paper."),
            rule => rule.Form, (rule, value) => rule with { Form = value })
        .Setting(
            nameof(ReluResponse),
            new SwitchOption(
                "--mirror-response", "linear", "relu", "correlate the noise with the layer's linear response, or with its ReLU as in the paper."),
            rule => rule.ReluResponse, (rule, value) => rule with { ReluResponse = value });

    /// <summary>Mirror steps before training where <see cref="WarmUpSteps"/> is null, or more until B has moved.</summary>
    internal const int UsualWarmUpSteps = 100;

    private const float AveragingRate = 0.02f;

    /// <summary>Whether B moves once for each cycle of noise instead of once for each mirror step.</summary>
    internal bool ReadsInCycles => Noise == NoiseKind.Balanced && Form == MirrorForm.Patch;

    /// <summary><see cref="Rate"/>, or what it is when it is null.</summary>
    internal float UsedRate => Rate ?? (ReadsInCycles && !ReluResponse ? 1 : AveragingRate);

    /// <summary>
    /// Noise samples of a mirror step: <see cref="Samples"/> if it is set, otherwise one per image, and of patches at least 64 or
    /// two per image, whichever is less. (With 32 samples at batch 32, B of ResNet-18 lagged W by 20 degrees at the peak of the
    /// learning rate, with 64 by 8.) A small layer, where it costs next to nothing, takes a whole cycle in each step: the W of a
    /// classifier turns fast.
    /// </summary>
    /// <param name="shape">The layer, at the batch of a training step.</param>
    public int SamplesFor(in ConvShape shape)
    {
        // For comparison: a mirror step of 128 samples takes 35 million in all layers of a ResNet-20 together.
        const long smallProducts = 4_000_000;
        const int usuallyEnough = 64;
        if (Samples is { } given) return given;
        if (Form != MirrorForm.Patch) return shape.N;
        int samples = Math.Max(shape.N, Math.Min(2 * shape.N, usuallyEnough));
        if (!ReadsInCycles) return samples;
        int cycle = MirrorNoise.CycleLengthOf(Noise, shape.FanIn);
        return cycle * shape.WeightLength <= smallProducts ? Math.Max(samples, cycle) : samples;
    }

    /// <inheritdoc/>
    public override Feedback? Attach(ConvLayer layer, in LayerPlace place) => place.IsFirst ? null : new Mirror(layer, this, place);

    private sealed class Mirror : Feedback
    {
        private readonly WeightMirror _rule;
        private readonly MirrorNoise _noise;
        private readonly DeviceBuffer _correlation;
        private readonly float _rate;
        private readonly int _samplesPerStep, _samplesPerMove;
        private long _sample, _moves, _collected;

        public Mirror(ConvLayer layer, WeightMirror rule, in LayerPlace place) : base(layer)
        {
            _rule = rule;
            _noise = new MirrorNoise(rule.Noise, MirrorStep.SampleLength(layer.Shape(), rule.Form), rule.NoiseDeviation, place.Seed, layer.Index);
            _samplesPerStep = rule.SamplesFor(layer.Shape(place.Batch));
            _samplesPerMove = rule.ReadsInCycles ? _noise.CycleLength : _samplesPerStep;
            _rate = rule.UsedRate;
            _correlation = layer.Backend.Allocate(layer.Weight.Length, $"{layer.Name} mirror correlation");
            OwnWeights = NewFeedbackWeights(layer);
        }

        public override string RuleName => WeightMirror.RuleName;

        public override Parameter OwnWeights { get; }

        public override string? NeedsOneSize => _rule.Form == MirrorForm.FullMap ? "the mirror sends noise images of one size through it" : null;

        public override (BufferView Weights, FeedbackLayout Layout) Weights => (OwnWeights.Operand, FeedbackLayout.Feedback);

        public override void Initialise() => Draw(OwnWeights, Layer, _noise.Seed, init: null, scale: 1);

        public override void BeforeTraining(CancellationToken cancel = default)
        {
            int steps = _rule.WarmUpSteps ?? UsualWarmUpSteps;
            for (int i = 0; i < steps || (_rule.WarmUpSteps is null && _moves == 0); i++)
            {
                cancel.ThrowIfCancellationRequested();
                Step();
            }
        }

        public override void AfterUpdate(WeightUpdate update, int step)
        {
            if ((step + 1) % _rule.Every == 0) Step();
        }

        public override void Walk(IStateWalker walker)
        {
            base.Walk(walker);
            walker.Tensor($"{OwnWeights.Name}.mirror_correlation", Layer.Weight.Sizes, _correlation);
            walker.Scalar($"{OwnWeights.Name}.mirror_sample", ref _sample);
            walker.Scalar($"{OwnWeights.Name}.mirror_collected", ref _collected);
            walker.Scalar($"{OwnWeights.Name}.mirror_moves", ref _moves);
        }

        protected override void Dispose(bool disposing)
        {
            _correlation.Dispose();
            base.Dispose(disposing);
        }

        private void Step()
        {
            int samples = (int)Math.Min(_samplesPerStep, _samplesPerMove - _collected);
            var step = new MirrorStep(Layer.Shape(), _noise, _sample, samples, _rule.Form, _rule.ReluResponse);
            Layer.Backend.MirrorCorrelate(step, Layer.Weight.Operand, _correlation, accumulate: _collected > 0);
            _sample += samples;
            _collected += samples;
            if (_collected == _samplesPerMove) Move(step with { Samples = (int)_collected });
        }

        private void Move(in MirrorStep collected)
        {
            float rate = Math.Max(_rate, 1f / (_moves + 1));
            Layer.Backend.TransposedCombine(
                Layer.Shape(), (float)(rate / collected.CorrelationGain), _correlation, 1 - rate, OwnWeights.Value, OwnWeights.Value,
                OwnWeights.Copy);
            _moves++;
            _collected = 0;
        }
    }
}
