using FeedbackKernels.Interop;
using FeedbackKernels.Layers;

namespace FeedbackKernels.Rules;

/// <summary>Feedback alignment (Lillicrap et al. 2016): B is random and fixed.</summary>
/// <param name="Init">Distribution of B; null for that of the layer's W.</param>
/// <param name="Scale">Factor on B.</param>
public sealed record FeedbackAlignment(WeightInit? Init = null, float Scale = 1) : FeedbackRule(RuleName)
{
    /// <summary>Name on the command line, in config.json and in reports.</summary>
    public const string RuleName = "feedback-alignment";

    /// <summary>The rule in the catalogue.</summary>
    public static RuleEntry Entry { get; } = new RuleEntry<FeedbackAlignment>(RuleName, "fa", "feedback alignment", () => new())
        .Setting(nameof(Init), RuleOption.FeedbackInit, rule => rule.Init, (rule, value) => rule with { Init = value })
        .Setting(nameof(Scale), RuleOption.FeedbackScale, rule => rule.Scale, (rule, value) => rule with { Scale = value });

    /// <inheritdoc/>
    public override Feedback? Attach(ConvLayer layer, in LayerPlace place) => place.IsFirst ? null : new Fixed(layer, this, place.Seed);

    private sealed class Fixed(ConvLayer layer, FeedbackAlignment rule, ulong seed) : Feedback(layer)
    {
        public override string RuleName => FeedbackAlignment.RuleName;

        public override Parameter OwnWeights { get; } = NewFeedbackWeights(layer);

        public override (BufferView Weights, FeedbackLayout Layout) Weights => (OwnWeights.Operand, FeedbackLayout.Feedback);

        public override void Initialise() => Draw(OwnWeights, Layer, seed, rule.Init, rule.Scale);
    }
}
