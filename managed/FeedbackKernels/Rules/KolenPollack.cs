using FeedbackKernels.Interop;
using FeedbackKernels.Layers;

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

/// <summary>
/// Kolen-Pollack (Kolen and Pollack 1994; Akrout et al. 2019, eqs. 16-17): W and B get the same adjustment and the same
/// decay, so whatever they differed by at the start dies out: by a factor 1 - lr * decay a step, or about
/// 1 - lr * decay / (1 - momentum) with momentum.
/// </summary>
/// <remarks>
/// That is slow: half an e-fold an epoch of ImageNet at lr 0.1. What aligns sooner is to forget the start: an early extra
/// decay multiplies both tensors by <see cref="EarlyShrink"/> in all, spread evenly over the first
/// <see cref="EarlySteps"/> steps. Where a batch norm follows, the net does not see the common scale, but the gradient
/// grows as the weights shrink, and the next updates, which W and B share, outweigh what was left of the two. The shared
/// updates are noisier at first. It applies to layers that a batch norm follows and to the classifier, whose scale is
/// learned within a few steps anyway; elsewhere a common scale would change the net.
/// </remarks>
/// <param name="Decay">Weight decay of W and B; null for the run's own.</param>
/// <param name="EarlyShrink">What the early extra decay leaves of W and B, above 0 to 1 (none).</param>
/// <param name="EarlySteps">Steps that it is spread over.</param>
/// <param name="Form">How B is kept.</param>
/// <param name="Init">Distribution of the initial B; null for that of the layer's W.</param>
/// <param name="Scale">Factor on the initial B.</param>
public sealed record KolenPollack(
    float? Decay = null,
    float EarlyShrink = 0.01f,
    int EarlySteps = 1,
    KolenPollackForm Form = KolenPollackForm.TwoWeight,
    WeightInit? Init = null,
    float Scale = 1) : FeedbackRule(RuleName)
{
    /// <summary>Name on the command line.</summary>
    public const string RuleName = "kolen-pollack";

    /// <inheritdoc/>
    public override Feedback? Attach(ConvLayer layer, in LayerPlace place)
    {
        if (Decay is not null) RequireUnitInterval(Decay.Value, nameof(Decay));
        RequirePositive(EarlyShrink, nameof(EarlyShrink));
        ArgumentOutOfRangeException.ThrowIfGreaterThan(EarlyShrink, 1, nameof(EarlyShrink));
        ArgumentOutOfRangeException.ThrowIfNegative(EarlySteps);
        RequirePositive(Scale, nameof(Scale));
        if (place.IsFirst) return null;
        return Form == KolenPollackForm.TwoWeight ? new TwoWeight(layer, this, place) : new ClosedForm(layer, this, place);
    }

    private static void RequireUnitInterval(float value, string name)
    {
        if (!(value >= 0 && value < 1)) throw new ArgumentOutOfRangeException(name, value, "wanted 0 to below 1");
    }

    private abstract class Common(ConvLayer layer, KolenPollack rule, LayerPlace place) : Feedback(layer)
    {
        private readonly int _earlySteps = layer.IsNormed || place.IsOutput ? rule.EarlySteps : 0;
        private readonly float _shrinkPerStep = MathF.Pow(rule.EarlyShrink, 1f / Math.Max(rule.EarlySteps, 1));

        public override string RuleName => KolenPollack.RuleName;

        public override Parameter OwnWeights { get; } = AllocateFeedbackWeights(layer);

        public override (BufferView Weights, FeedbackLayout Layout) Weights => (OwnWeights.Value, FeedbackLayout.Feedback);

        public override void Initialise() => Draw(OwnWeights, Layer, place.Seed, rule.Init, rule.Scale);

        public override SgdStep Adjust(SgdStep update, int step) => update with
        {
            WeightDecay = rule.Decay ?? update.WeightDecay,
            Shrink = step < _earlySteps ? update.Shrink * _shrinkPerStep : update.Shrink,
        };
    }

    private sealed class TwoWeight : Common
    {
        public TwoWeight(ConvLayer layer, KolenPollack rule, LayerPlace place) : base(layer, rule, place) => OwnWeights.EnableTraining();

        public override IEnumerable<(string Name, IReadOnlyList<int> Sizes, DeviceBuffer Buffer)> State =>
            [.. base.State, ($"{OwnWeights.Name}.velocity", OwnWeights.Sizes, OwnWeights.Velocity!)];

        public override void AfterUpdate(in SgdStep update, int step) => Layer.Backend.SgdUpdateTransposed(
            Layer.Shape(), OwnWeights.Value, Layer.Weight.Gradient, OwnWeights.Velocity, update);
    }

    private sealed class ClosedForm(ConvLayer layer, KolenPollack rule, LayerPlace place) : Common(layer, rule, place)
    {
        private readonly DeviceBuffer _difference = layer.Backend.Allocate(layer.Weight.Length, $"{layer.Name} initial mismatch");
        private double _share = 1, _velocity;

        public override void BeforeTraining()
        {
            // R = B_0 - W_0^T.
            Layer.Backend.TransposedCombine(Layer.Shape(), -1, Layer.Weight.Value, 1, OwnWeights.Value, _difference);
            (_share, _velocity) = (1, 0);
        }

        public override void AfterUpdate(in SgdStep update, int step)
        {
            // SGD on the difference, whose gradient is the decay alone.
            double gradient = update.WeightDecay * _share;
            _velocity = update.Momentum * _velocity + gradient;
            double move = update.Nesterov ? gradient + update.Momentum * _velocity : _velocity;
            _share = update.Shrink * (_share - update.LearningRate * move);
            Layer.Backend.TransposedCombine(Layer.Shape(), 1, Layer.Weight.Value, (float)_share, _difference, OwnWeights.Value);
        }

        protected override void Dispose(bool disposing)
        {
            _difference.Dispose();
            base.Dispose(disposing);
        }
    }
}
