using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.State;

namespace FeedbackKernels.Rules;

/// <summary>
/// Weight mirror (Akrout et al. 2019, section 2): between updates noise goes through each layer alone, and B moves towards
/// the correlation of the response with the noise, which is proportional to Wᵀ:
/// <c>B = (1 - λ) B + λ / (gain σ² n) ηᵀξ</c>. The decay bounds B's norm: B tends to Wᵀ itself. Neither batch norm nor bias
/// takes part.
/// </summary>
/// <remarks>
/// With gaussian noise, rate λ and n samples a step, B averages n_eff = n(2-λ)/λ samples of a W that stands still, and is
/// left at an angle of tan² = (d+1)/n_eff for fan-in d. While W moves, B also trails it by 1/λ steps: a smaller rate
/// averages more and trails more. With balanced noise a cycle of samples (the next power of two from d) has an exactly
/// white second moment, so a whole cycle reads W without error. It is taken in instalments, n samples a training step, and
/// B moves when it is complete; no averaging over cycles is needed, so the rate is 1 and B trails W by about a cycle.
/// The first moves of B use rate 1, 1/2, 1/3, ... down to λ, which is the plain average: the initial B leaves no trace.
/// </remarks>
/// <param name="Samples">Noise samples n in a mirror step; null for what <see cref="SamplesFor"/> says: about 1 % of a training
/// step's work, whatever the net.</param>
/// <param name="Noise">Distribution of the noise.</param>
/// <param name="NoiseDeviation">Its standard deviation σ. It cancels where the response is linear.</param>
/// <param name="Rate">λ; null for 1 where a cycle reads W exactly (balanced noise, patches, linear response) and
/// 0.02 elsewhere.</param>
/// <param name="Every">Training steps from one mirror step to the next.</param>
/// <param name="WarmUpSteps">Mirror steps before training; null for 100, or more where B has not moved by then.</param>
/// <param name="Form">Patches, or whole noise images as in the paper.</param>
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
    /// <summary>Name on the command line.</summary>
    public const string RuleName = "weight-mirror";

    private const float AveragingRate = 0.02f;
    private const int UsualWarmUpSteps = 100;

    private bool ReadsInCycles => Noise == NoiseKind.Balanced && Form == MirrorForm.Patch;

    /// <summary>
    /// Noise samples of a mirror step: <see cref="Samples"/>, or as many as images, and of patches at least 64, or twice the
    /// images where that is fewer. (With 32 at batch 32, B of ResNet-18 trailed W by 20 degrees while the learning rate was at
    /// its peak, with 64 by 8.) A layer so small that it costs next to nothing takes a whole cycle each step: W of a
    /// classifier turns fast.
    /// </summary>
    /// <param name="shape">The layer, at the batch of a training step.</param>
    public int SamplesFor(in ConvShape shape)
    {
        // Of all layers of a ResNet-20 together a mirror step of 128 samples takes 35 million.
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
    public override void Validate()
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(Samples ?? 1, nameof(Samples));
        RequireDefined(Noise, nameof(Noise));
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(Every);
        ArgumentOutOfRangeException.ThrowIfNegative(WarmUpSteps ?? 0, nameof(WarmUpSteps));
        RequirePositive(NoiseDeviation, nameof(NoiseDeviation));
        RequireDefined(Form, nameof(Form));
        if (Rate is { } rate)
        {
            RequirePositive(rate, nameof(Rate));
            ArgumentOutOfRangeException.ThrowIfGreaterThan(rate, 1, nameof(Rate));
        }
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
            _rate = rule.Rate ?? (rule.ReadsInCycles && !rule.ReluResponse ? 1 : AveragingRate);
            _correlation = layer.Backend.Allocate(layer.Weight.Length, $"{layer.Name} mirror correlation");
            OwnWeights = NewFeedbackWeights(layer);
        }

        public override string RuleName => WeightMirror.RuleName;

        public override Parameter OwnWeights { get; }

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
