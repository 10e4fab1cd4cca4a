using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.State;

namespace FeedbackKernels.Rules;

/// <summary>How Kolen-Pollack keeps B.</summary>
public enum KolenPollackForm
{
    /// <summary>B with a velocity of its own gets the transposed gradient of W: the rule as it stands.</summary>
    TwoWeight,

    /// <summary>
    /// B = Wᵀ + r_t * R with R = B_0 - W_0ᵀ fixed and one scalar r_t a layer. Both tensors see the same gradient, so their
    /// difference obeys the decay alone, and it is the same number for every weight. Equal to the two-weight form up to
    /// rounding, without B's gradient and velocity.
    /// </summary>
    ClosedForm,
}

/// <summary>When Kolen-Pollack's early extra decay takes place.</summary>
public enum EarlyDecay
{
    /// <summary>
    /// Before training, while noise is all the activity there is: W and B decay and get the same adjustment, a matrix of
    /// normal numbers (what many products of independent pre- and postsynaptic noise add up to), as large as keeps W's
    /// initial variance. W is then as random as it was, and B shares it.
    /// </summary>
    BeforeTraining,

    /// <summary>
    /// In the first training steps, in layers that a batch norm follows and in the classifier; elsewhere a common scale
    /// would change the net. Normed layers do not see the scale, but their gradient grows as the weights shrink, and the
    /// next updates outweigh what was left. They replace a random W by a few gradients, which costs accuracy in a short run.
    /// </summary>
    InTraining,
}

/// <summary>
/// Kolen-Pollack (Kolen and Pollack 1994; Akrout et al. 2019, eqs. 16-17): W and B get the same adjustment and the same
/// decay, so whatever they differed by at the start dies out: by a factor 1 - lr * decay a step, or about
/// 1 - lr * decay / (1 - momentum) with momentum.
/// </summary>
/// <remarks>
/// That is slow: half an e-fold an epoch of ImageNet at lr 0.1. What aligns sooner is to forget the start, by an early
/// extra decay that multiplies both tensors by <see cref="EarlyShrink"/> in all; <see cref="Early"/> says when.
/// </remarks>
/// <param name="Decay">Weight decay of W and B; null for the run's own.</param>
/// <param name="EarlyShrink">What the early extra decay leaves of the initial W and B, above 0 to 1 (none).</param>
/// <param name="Early">When it takes place.</param>
/// <param name="EarlySteps">Steps that it is spread over evenly; null for 20 before training or 1 in training.</param>
/// <param name="Form">How B is kept.</param>
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
    /// <summary>Name on the command line.</summary>
    public const string RuleName = "kolen-pollack";

    /// <inheritdoc/>
    public override void Validate()
    {
        if (Decay is not null) RequireUnitInterval(Decay.Value, nameof(Decay));
        RequirePositive(EarlyShrink, nameof(EarlyShrink));
        ArgumentOutOfRangeException.ThrowIfGreaterThan(EarlyShrink, 1, nameof(EarlyShrink));
        RequireDefined(Early, nameof(Early));
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(EarlySteps ?? 1, nameof(EarlySteps));
        RequireDefined(Form, nameof(Form));
        if (Init is { } init) RequireDefined(init, nameof(Init));
        RequirePositive(Scale, nameof(Scale));
    }

    /// <inheritdoc/>
    public override Feedback? Attach(ConvLayer layer, in LayerPlace place)
    {
        if (place.IsFirst) return null;
        return Form == KolenPollackForm.TwoWeight ? new TwoWeight(layer, this, place) : new ClosedForm(layer, this, place);
    }

    private static void RequireUnitInterval(float value, string name)
    {
        if (!(value >= 0 && value < 1)) throw new ArgumentOutOfRangeException(name, value, "wanted 0 to below 1");
    }

    private abstract class Common(ConvLayer layer, KolenPollack rule, LayerPlace place) : Feedback(layer)
    {
        private readonly int _steps = rule.EarlySteps ?? (rule.Early == EarlyDecay.BeforeTraining ? 20 : 1);

        private float ShrinkPerStep => MathF.Pow(rule.EarlyShrink, 1f / _steps);

        public override string RuleName => KolenPollack.RuleName;

        public override Parameter OwnWeights { get; } = NewFeedbackWeights(layer);

        public override (BufferView Weights, FeedbackLayout Layout) Weights => (OwnWeights.Operand, FeedbackLayout.Feedback);

        public override void Initialise() => Draw(OwnWeights, Layer, place.Seed, rule.Init, rule.Scale);

        public override UpdateTerms Adjust(UpdateTerms terms, int step) =>
            new(rule.Decay ?? terms.WeightDecay, ShrinksAt(step) ? terms.Shrink * ShrinkPerStep : terms.Shrink);

        public override void BeforeTraining(CancellationToken cancel = default)
        {
            if (rule.Early != EarlyDecay.BeforeTraining || rule.EarlyShrink == 1) return;
            Backend backend = Layer.Backend;
            Parameter w = Layer.Weight;
            // W = shrink * W - size * noise keeps its variance where shrink² + (size / deviation)² = 1.
            float shrink = ShrinkPerStep, size = MathF.Sqrt(1 - shrink * shrink) * Layer.Init.StandardDeviation(Layer.Shape());
            using DeviceBuffer noise = backend.Allocate(w.Length, $"{Layer.Name} noise"), velocity = backend.Allocate(w.Length, $"{Layer.Name} velocity of the noise");
            for (int i = 0; i < _steps; i++)
            {
                cancel.ThrowIfCancellationRequested();
                backend.FillGaussian(noise, new RandomKey(place.Seed, RandomPurpose.KolenPollackNoise, Layer.Index, (uint)i), 1);
                backend.SgdUpdate(w.Length, w.Value, noise, velocity, new SgdStep(size / shrink, Shrink: shrink), w.Copy);
                backend.TransposedCombine(Layer.Shape(), -size, noise, shrink, OwnWeights.Value, OwnWeights.Value, OwnWeights.Copy);
            }
        }

        private bool ShrinksAt(int step) =>
            rule.Early == EarlyDecay.InTraining && step < _steps && (Layer.IsNormed || place.IsOutput);
    }

    private sealed class TwoWeight(ConvLayer layer, KolenPollack rule, LayerPlace place) : Common(layer, rule, place)
    {
        public override FeedbackUpdate Update => FeedbackUpdate.LikeWeights;
    }

    private sealed class ClosedForm(ConvLayer layer, KolenPollack rule, LayerPlace place) : Common(layer, rule, place)
    {
        private readonly DeviceBuffer _difference = layer.Backend.Allocate(layer.Weight.Length, $"{layer.Name} initial mismatch");
        private double _factor = 1, _velocity;

        public override void BeforeTraining(CancellationToken cancel = default)
        {
            base.BeforeTraining(cancel);
            // R = B_0 - W_0^T.
            Layer.Backend.TransposedCombine(Layer.Shape(), -1, Layer.Weight.Value, 1, OwnWeights.Value, _difference);
            (_factor, _velocity) = (1, 0);
        }

        public override void AfterUpdate(WeightUpdate update, int step)
        {
            _factor = update.ApplyTo(_factor, ref _velocity);
            Layer.Backend.TransposedCombine(
                Layer.Shape(), 1, Layer.Weight.Value, (float)_factor, _difference, OwnWeights.Value, OwnWeights.Copy);
        }

        public override void Walk(IStateWalker walker)
        {
            base.Walk(walker);
            walker.Tensor($"{OwnWeights.Name}.initial_mismatch", OwnWeights.Sizes, _difference);
            walker.Scalar($"{OwnWeights.Name}.mismatch_factor", ref _factor);
            walker.Scalar($"{OwnWeights.Name}.mismatch_velocity", ref _velocity);
        }

        protected override void Dispose(bool disposing)
        {
            _difference.Dispose();
            base.Dispose(disposing);
        }
    }
}
