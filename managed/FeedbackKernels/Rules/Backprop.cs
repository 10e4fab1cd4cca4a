using FeedbackKernels.Interop;
using FeedbackKernels.Layers;

namespace FeedbackKernels.Rules;

/// <summary>Backpropagation: errors go back through W itself, read transposed. There is no B.</summary>
public sealed record Backprop() : FeedbackRule(RuleName)
{
    /// <summary>Name on the command line.</summary>
    public const string RuleName = "backprop";

    /// <inheritdoc/>
    public override Feedback? Attach(ConvLayer layer, in LayerPlace place) => place.IsFirst ? null : new Transport(layer);

    private sealed class Transport(ConvLayer layer) : Feedback(layer)
    {
        public override string RuleName => Backprop.RuleName;

        public override (BufferView Weights, FeedbackLayout Layout) Weights => (Layer.Weight.Operand, FeedbackLayout.Forward);
    }
}
