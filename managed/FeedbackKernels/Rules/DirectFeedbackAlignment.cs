using FeedbackKernels.Layers;

namespace FeedbackKernels.Rules;

/// <summary>What each random weight of direct feedback connects a class to.</summary>
public enum DirectTarget
{
    /// <summary>An element of the layer's output map: classes * P * Q * K weights.</summary>
    Elements,

    /// <summary>
    /// A channel of the output map, whose error is spread evenly over the pixels: classes * K weights. For ImageNet, weights of
    /// elements would take gigabytes.
    /// </summary>
    Channels,
}

/// <summary>
/// Direct feedback alignment (Nøkland 2016): fixed random weights carry the gradient of the logits directly to the output of
/// every unit, whose norm and activation keep their exact derivative. No error passes from layer to layer.
/// </summary>
/// <param name="Target">What the weights connect the classes to.</param>
/// <param name="Scale">Factor on the weights, which are normal with variance 2 / (classes + elements or channels).</param>
public sealed record DirectFeedbackAlignment(DirectTarget Target = DirectTarget.Elements, float Scale = 1) : FeedbackRule(RuleName)
{
    /// <summary>Name on the command line, in config.json and in reports.</summary>
    public const string RuleName = "direct-feedback-alignment";

    /// <summary>The rule in the catalogue.</summary>
    public static RuleEntry Entry { get; } = new RuleEntry<DirectFeedbackAlignment>(RuleName, "dfa", "direct feedback alignment", () => new())
        .Setting(nameof(Target), RuleOption.DirectTarget, rule => rule.Target, (rule, value) => rule with { Target = value })
        .Setting(nameof(Scale), RuleOption.FeedbackScale, rule => rule.Scale, (rule, value) => rule with { Scale = value });

    /// <inheritdoc/>
    public override Feedback? Attach(ConvLayer layer, in LayerPlace place) =>
        place.IsOutput || place.IsShortcut ? new NoProjection(layer, RuleName) : new DirectProjection(layer, RuleName, Target, Scale, place);
}
