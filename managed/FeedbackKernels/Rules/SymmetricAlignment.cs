using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Settings;

namespace FeedbackKernels.Rules;

/// <summary>
/// Symmetric alignment (Kunin et al. 2020, "Two routes to scalable credit assignment without weight symmetry"): the optimiser
/// moves B along the gradient <c>2 a B - b Wᵀ</c> of <c>a |B|² - b tr(B W)</c>.
/// </summary>
/// <remarks>
/// For a fixed W, B converges to b / (2 a) Wᵀ: the distance shrinks by a factor 1 - 2 a lr per step, or about
/// 1 - 2 a lr / (1 - momentum) with momentum. So B is a running average of W, over 500 steps at lr 0.1 and momentum 0.9 with the
/// default constants, which are those of the authors' code (github.com/neuroailab/Neural-Alignment). The rule reads W directly: it
/// is a reference for rules that estimate W.
/// </remarks>
/// <param name="Alpha">a: decay of B.</param>
/// <param name="Beta">b: pull towards Wᵀ.</param>
/// <param name="Init">Distribution of the initial B; null for that of the layer's W.</param>
/// <param name="Scale">Factor on the initial B.</param>
public sealed record SymmetricAlignment(float Alpha = 1e-3f, float Beta = 2e-3f, WeightInit? Init = null, float Scale = 1) : FeedbackRule(RuleName)
{
    /// <summary>Name on the command line, in config.json and in reports.</summary>
    public const string RuleName = "symmetric-alignment";

    /// <summary>The rule in the catalogue.</summary>
    public static RuleEntry Entry { get; } = new RuleEntry<SymmetricAlignment>(RuleName, "sa", "symmetric alignment", () => new())
        .Setting(
            nameof(Alpha),
            new NumberOption<float>("--sa-alpha", Bounds.Positive, "decay of B, whose gradient is 2 alpha B - beta W transposed. A larger one averages W over fewer steps."),
            rule => rule.Alpha, (rule, value) => rule with { Alpha = value })
        .Setting(
            nameof(Beta),
            new NumberOption<float>("--sa-beta", Bounds.Positive, "pull of B towards the forward weights. B converges to beta / (2 alpha) times W transposed."),
            rule => rule.Beta, (rule, value) => rule with { Beta = value })
        .Setting(nameof(Init), RuleOption.FeedbackInit, rule => rule.Init, (rule, value) => rule with { Init = value })
        .Setting(nameof(Scale), RuleOption.FeedbackScale, rule => rule.Scale, (rule, value) => rule with { Scale = value });

    /// <inheritdoc/>
    public override bool OptimiserMovesFeedback => true;

    /// <inheritdoc/>
    public override Feedback? Attach(ConvLayer layer, in LayerPlace place) => place.IsFirst ? null : new Average(layer, this, place.Seed);

    private sealed class Average(ConvLayer layer, SymmetricAlignment rule, ulong seed) : Feedback(layer)
    {
        public override string RuleName => SymmetricAlignment.RuleName;

        public override Parameter OwnWeights { get; } = NewFeedbackWeights(layer);

        public override (BufferView Weights, FeedbackLayout Layout) Weights => (OwnWeights.Operand, FeedbackLayout.Feedback);

        public override FeedbackUpdate Update => FeedbackUpdate.ByGradient;

        public override void Initialise() => Draw(OwnWeights, Layer, seed, rule.Init, rule.Scale);

        public override void ComputeGradient(int step) => Layer.Backend.TransposedCombine(
            Layer.Shape(), -rule.Beta, Layer.Weight.Value, 2 * rule.Alpha, OwnWeights.Value, OwnWeights.Gradient);
    }
}
