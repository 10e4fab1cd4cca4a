using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Settings;
using FeedbackKernels.State;

namespace FeedbackKernels.Rules;

/// <summary>How Kolen-Pollack computes B.</summary>
public enum KolenPollackForm
{
    /// <summary>B has its own velocity and gets the transposed gradient of W: the rule as published (Akrout et al. 2019, eqs. 16-17).</summary>
    TwoWeight,

    /// <summary>
    /// B = Wᵀ + r_t * R, with fixed R = B_0 - W_0ᵀ and one scalar r_t per layer. W and B get the same gradient, so only the decay
    /// changes their difference, by the same factor for every weight (this follows from Akrout et al. 2019, eqs. 16-17). Equal to
    /// the two-weight form but for rounding, without a gradient and a velocity of B.
    /// </summary>
    ClosedForm,
}

/// <summary>When the early extra decay of Kolen-Pollack takes place. The decay is this library's; the papers have none.</summary>
public enum EarlyDecay
{
    /// <summary>
    /// Before training, with noise as the only activity: W and B decay and get the same adjustment, a matrix of normal numbers
    /// (the limit of a sum of products of independent pre- and postsynaptic noise), scaled so that W keeps its initial variance.
    /// W is then as random as before, and B is nearly the same random tensor.
    /// </summary>
    BeforeTraining,

    /// <summary>
    /// In the first training steps, in layers followed by a batch norm and in the classifier; in other layers a smaller W would
    /// change the net. Batch norm hides the scale of W, but the gradient grows as W shrinks, and the next updates outweigh what
    /// is left: a few gradients replace a random W, which costs accuracy in a short run.
    /// </summary>
    InTraining,
}

/// <summary>
/// Kolen-Pollack (Kolen and Pollack 1994; Akrout et al. 2019, eqs. 16-17): W and B get the same adjustment and the same
/// decay, so their initial difference dies out: by a factor 1 - lr * decay per step, or about
/// 1 - lr * decay / (1 - momentum) with momentum.
/// </summary>
/// <remarks>
/// This is slow: half an e-fold per epoch of ImageNet at lr 0.1. An early extra decay, which multiplies both tensors by
/// <see cref="EarlyShrink"/> in all, aligns them sooner; <see cref="Early"/> sets its time.
/// </remarks>
/// <param name="Decay">Weight decay of W and B; null for the run's own.</param>
/// <param name="EarlyShrink">Factor that the early extra decay leaves of the initial W and B, above 0 to 1. 1 turns it off.</param>
/// <param name="Early">When it takes place.</param>
/// <param name="EarlySteps">Number of steps over which it is spread evenly; null for 20 before training or 1 in training.</param>
/// <param name="Form">How B is computed.</param>
/// <param name="Init">Distribution of the initial B; null for that of the layer's W.</param>
/// <param name="Scale">Factor on the initial B.</param>
public sealed record KolenPollack(
    float? Decay = null,
    float EarlyShrink = 0.01f,
    EarlyDecay Early = EarlyDecay.BeforeTraining,
    int? EarlySteps = null,
    KolenPollackForm Form = KolenPollackForm.TwoWeight,
    WeightInit? Init = null,
    float Scale = 1) : FeedbackRule(RuleName)
{
    /// <summary>Name on the command line, in config.json and in reports.</summary>
    public const string RuleName = "kolen-pollack";

    /// <summary>The rule in the catalogue.</summary>
    public static RuleEntry Entry { get; } = new RuleEntry<KolenPollack>(RuleName, "kp", "Kolen-Pollack", () => new())
        .Setting(
            nameof(Decay),
            new OptionalNumberOption<float>(
                "--kp-decay", Bounds.Share, "weight decay of W and B. A larger one aligns them sooner.", whenOmitted: "--weight-decay"),
            rule => rule.Decay, (rule, value) => rule with { Decay = value })
        .Setting(
            nameof(EarlyShrink),
            new NumberOption<float>(
                "--kp-early-shrink", Bounds.PositiveShare, "factor by which an extra decay early in the run shrinks the initial W and B. 1 turns it off."),
            rule => rule.EarlyShrink, (rule, value) => rule with { EarlyShrink = value })
        .Setting(
            nameof(Early), new ChoiceOption<EarlyDecay>("--kp-early", "when the early decay happens."),
            rule => rule.Early, (rule, value) => rule with { Early = value }, NeedsEarlyDecay, rule => rule.EarlyShrink != 1)
        .Setting(
            nameof(EarlySteps),
            new OptionalNumberOption<int>(
                "--kp-early-steps", new Bounds(1, 1_000_000), "steps over which the early decay is spread.", whenOmitted: "20 before training, 1 in training"),
            rule => rule.EarlySteps, (rule, value) => rule with { EarlySteps = value }, NeedsEarlyDecay, rule => rule.EarlyShrink != 1)
        .Setting(
            nameof(Form),
            new ChoiceOption<KolenPollackForm>(
                "--kp-form", "update B like W, or compute it from W and the initial difference. Both give the same B but for rounding."),
            rule => rule.Form, (rule, value) => rule with { Form = value })
        .Setting(nameof(Init), RuleOption.FeedbackInit, rule => rule.Init, (rule, value) => rule with { Init = value })
        .Setting(nameof(Scale), RuleOption.FeedbackScale, rule => rule.Scale, (rule, value) => rule with { Scale = value });

    private const string NeedsEarlyDecay = "--kp-early-shrink below 1";

    /// <inheritdoc/>
    public override bool OptimiserMovesFeedback => Form == KolenPollackForm.TwoWeight;

    /// <inheritdoc/>
    public override Feedback? Attach(ConvLayer layer, in LayerPlace place)
    {
        if (place.IsFirst) return null;
        return Form == KolenPollackForm.TwoWeight ? new TwoWeight(layer, this, place) : new ClosedForm(layer, this, place);
    }

    /// <summary>Steps of the early decay.</summary>
    internal int StepsOfDecay => EarlySteps ?? (Early == EarlyDecay.BeforeTraining ? 20 : 1);

    /// <summary>What a step of the early decay leaves of W and B.</summary>
    internal float ShrinkPerStep => MathF.Pow(EarlyShrink, 1f / StepsOfDecay);

    /// <summary>Standard deviation of the noise that a step of the early decay before training subtracts from W and B: W keeps its variance
    /// where shrink² + (noise / deviation)² = 1.</summary>
    /// <param name="deviation">Standard deviation of the initial W.</param>
    internal float NoisePerStep(float deviation) => MathF.Sqrt(1 - ShrinkPerStep * ShrinkPerStep) * deviation;

    private abstract class Common(ConvLayer layer, KolenPollack rule, LayerPlace place) : Feedback(layer)
    {
        public override string RuleName => KolenPollack.RuleName;

        public override Parameter OwnWeights { get; } = NewFeedbackWeights(layer);

        public override (BufferView Weights, FeedbackLayout Layout) Weights => (OwnWeights.Operand, FeedbackLayout.Feedback);

        public override void Initialise() => Draw(OwnWeights, Layer, place.Seed, rule.Init, rule.Scale);

        public override UpdateTerms Adjust(UpdateTerms terms, int step) =>
            new(rule.Decay ?? terms.WeightDecay, ShrinksAt(step) ? terms.Shrink * rule.ShrinkPerStep : terms.Shrink);

        public override void BeforeTraining(CancellationToken cancel = default)
        {
            if (rule.Early != EarlyDecay.BeforeTraining || rule.EarlyShrink == 1) return;
            Backend backend = Layer.Backend;
            Parameter w = Layer.Weight;
            float shrink = rule.ShrinkPerStep, size = rule.NoisePerStep(Layer.Init.StandardDeviation(Layer.Shape()));
            using DeviceBuffer noise = backend.Allocate(w.Length, $"{Layer.Name} noise"), velocity = backend.Allocate(w.Length, $"{Layer.Name} velocity of the noise");
            for (int i = 0; i < rule.StepsOfDecay; i++)
            {
                cancel.ThrowIfCancellationRequested();
                backend.FillGaussian(noise, new RandomKey(place.Seed, RandomPurpose.KolenPollackNoise, Layer.Index, (uint)i), 1);
                backend.SgdUpdate(w.Length, w.Value, noise, velocity, new SgdStep(size / shrink, Shrink: shrink), w.Copy);
                backend.TransposedCombine(Layer.Shape(), -size, noise, shrink, OwnWeights.Value, OwnWeights.Value, OwnWeights.Copy);
            }
        }

        private bool ShrinksAt(int step) =>
            rule.Early == EarlyDecay.InTraining && step < rule.StepsOfDecay && (Layer.IsNormed || place.IsOutput);
    }

    private sealed class TwoWeight(ConvLayer layer, KolenPollack rule, LayerPlace place) : Common(layer, rule, place)
    {
        public override FeedbackUpdate Update => FeedbackUpdate.LikeWeights;
    }

    private sealed class ClosedForm : Common
    {
        private readonly InitialMismatch _mismatch;

        public ClosedForm(ConvLayer layer, KolenPollack rule, LayerPlace place) : base(layer, rule, place) =>
            _mismatch = new InitialMismatch(layer, OwnWeights);

        public override bool SupposesEqualUpdates => true;

        public override void BeforeTraining(CancellationToken cancel = default)
        {
            base.BeforeTraining(cancel);
            _mismatch.Start(Layer.Weight.Value);
        }

        public override void AfterUpdate(WeightUpdate update, int step) => _mismatch.Follow(update, Layer.Weight.Value);

        public override void Walk(IStateWalker walker)
        {
            base.Walk(walker);
            _mismatch.Walk(walker);
        }

        protected override void Dispose(bool disposing)
        {
            _mismatch.Dispose();
            base.Dispose(disposing);
        }
    }
}
