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
/// That is slow: half an e-fold an epoch of ImageNet at lr 0.1. An early extra decay multiplies both tensors by
/// 1 - <see cref="EarlyDecay"/> in each of the first <see cref="EarlySteps"/> steps. Where a batch norm follows, the net
/// does not see the common scale, and alignment is there within the first epoch; so it applies to those layers alone.
/// </remarks>
/// <param name="Decay">Weight decay of W and B; null for the run's own.</param>
/// <param name="EarlyDecay">Extra decay of W and B a step, 0 to below 1, in layers that a batch norm follows.</param>
/// <param name="EarlySteps">Steps that have it.</param>
/// <param name="Form">How B is kept.</param>
/// <param name="Init">Distribution of the initial B; null for that of the layer's W.</param>
/// <param name="Scale">Factor on the initial B.</param>
public sealed record KolenPollack(
    float? Decay = null,
    float EarlyDecay = 0.02f,
    int EarlySteps = 100,
    KolenPollackForm Form = KolenPollackForm.TwoWeight,
    WeightInit? Init = null,
    float Scale = 1) : FeedbackRule
{
    /// <summary>Name on the command line.</summary>
    public const string RuleName = "kolen-pollack";

    /// <inheritdoc/>
    public override string Name => RuleName;

    /// <inheritdoc/>
    public override Feedback? Attach(ConvLayer layer, in LayerPlace place)
    {
        if (Decay is not null) RequireUnitInterval(Decay.Value, nameof(Decay));
        RequireUnitInterval(EarlyDecay, nameof(EarlyDecay));
        ArgumentOutOfRangeException.ThrowIfNegative(EarlySteps);
        RequirePositive(Scale, nameof(Scale));
        if (place.IsFirst) return null;
        return Form == KolenPollackForm.TwoWeight ? new TwoWeight(layer, this, place.Seed) : new ClosedForm(layer, this, place.Seed);
    }

    private static void RequireUnitInterval(float value, string name)
    {
        if (!(value >= 0 && value < 1)) throw new ArgumentOutOfRangeException(name, value, "wanted 0 to below 1");
    }

    private abstract class Common(ConvLayer layer, KolenPollack rule, ulong seed) : Feedback(layer)
    {
        public override string RuleName => KolenPollack.RuleName;

        public override Parameter OwnWeights { get; } = AllocateFeedbackWeights(layer);

        public override (BufferView Weights, FeedbackLayout Layout) Weights => (OwnWeights.Value, FeedbackLayout.Feedback);

        public override void Initialise() => Draw(OwnWeights, Layer, seed, rule.Init, rule.Scale);

        public override SgdStep Adjust(SgdStep update, int step) => update with
        {
            WeightDecay = rule.Decay ?? update.WeightDecay,
            Shrink = Layer.IsNormed && step < rule.EarlySteps ? update.Shrink * (1 - rule.EarlyDecay) : update.Shrink,
        };
    }

    private sealed class TwoWeight : Common
    {
        public TwoWeight(ConvLayer layer, KolenPollack rule, ulong seed) : base(layer, rule, seed) => OwnWeights.EnableTraining();

        public override IEnumerable<(string Name, IReadOnlyList<int> Sizes, DeviceBuffer Buffer)> State =>
            [.. base.State, ($"{OwnWeights.Name}.velocity", OwnWeights.Sizes, OwnWeights.Velocity!)];

        public override void AfterUpdate(in SgdStep update, int step) => Layer.Backend.SgdUpdateTransposed(
            Layer.Shape(), OwnWeights.Value, Layer.Weight.Gradient, OwnWeights.Velocity, update);
    }

    private sealed class ClosedForm(ConvLayer layer, KolenPollack rule, ulong seed) : Common(layer, rule, seed)
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
