using FeedbackKernels.Interop;
using FeedbackKernels.Layers;

namespace FeedbackKernels.Rules;

/// <summary>Backpropagation (Rumelhart, Hinton and Williams 1986): the error goes back through W itself, read transposed. There is no
/// B.</summary>
public sealed record Backprop() : FeedbackRule(RuleName)
{
    /// <summary>Name on the command line, in config.json and in reports.</summary>
    public const string RuleName = "backprop";

    /// <summary>The rule in the catalogue.</summary>
    public static RuleEntry Entry { get; } = new RuleEntry<Backprop>(RuleName, "bp", "backprop", () => new());

    /// <inheritdoc/>
    public override Feedback? Attach(ConvLayer layer, in LayerPlace place) => place.IsFirst ? null : new Transport(layer);

    private sealed class Transport(ConvLayer layer) : Feedback(layer)
    {
        public override string RuleName => Backprop.RuleName;

        public override (BufferView Weights, FeedbackLayout Layout) Weights => (Layer.Weight.Operand, FeedbackLayout.Forward);
    }
}
