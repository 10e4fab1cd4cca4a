using FeedbackKernels.Interop;
using FeedbackKernels.Layers;

namespace FeedbackKernels.Rules;

/// <summary>
/// What a learning rule keeps for one layer: the weights that carry errors from its output to its input (or, under direct
/// feedback, from the loss to its output), and how they move.
/// </summary>
public abstract class Feedback(ConvLayer layer) : IDisposable
{
    /// <summary>The layer.</summary>
    public ConvLayer Layer { get; } = layer;

    /// <summary>The rule's name, for reports.</summary>
    public abstract string RuleName { get; }

    /// <summary>The weights of the feedback convolution and how they lie in memory.</summary>
    /// <exception cref="NotSupportedException">The rule sends no error to the layer's input.</exception>
    public abstract (BufferView Weights, FeedbackLayout Layout) Weights { get; }

    /// <summary>B of its own in feedback layout, for checkpoints and alignment; null where there is none.</summary>
    public virtual Parameter? OwnWeights => null;

    /// <summary>Whether the layer passes its error on to its input.</summary>
    public virtual bool SendsError => true;

    /// <summary>Whether the layer's error comes straight from the loss instead of from the layers above.</summary>
    public virtual bool ReceivesDirectError => false;

    /// <summary>Tensors that a checkpoint holds for this layer besides the model's own.</summary>
    public virtual IEnumerable<(string Name, IReadOnlyList<int> Sizes, DeviceBuffer Buffer)> State =>
        OwnWeights is null ? [] : [(OwnWeights.Name, OwnWeights.Sizes, OwnWeights.Value)];

    /// <summary>Called once, when W has its initial values: draws B.</summary>
    public virtual void Initialise()
    {
    }

    /// <summary>Called once, before the first step: what the rule does ahead of training.</summary>
    /// <param name="cancel">Ends it early.</param>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    public virtual void BeforeTraining(CancellationToken cancel = default)
    {
    }

    /// <summary>The update that W gets under this rule, from the one that the trainer would make.</summary>
    /// <param name="update">Learning rate, momentum, decay of this step.</param>
    /// <param name="step">Number of the step, from 0.</param>
    public virtual SgdStep Adjust(SgdStep update, int step) => update;

    /// <summary>Updates W, and what moves with it in the same pass, where the rule has such.</summary>
    /// <param name="update">The update of W, from <see cref="Adjust"/>.</param>
    /// <returns>Whether it did; otherwise the trainer updates W.</returns>
    public virtual bool UpdateTogether(in SgdStep update) => false;

    /// <summary>Called after each update of W: moves B.</summary>
    /// <param name="update">The update that W got.</param>
    /// <param name="step">Number of the step, from 0.</param>
    public virtual void AfterUpdate(in SgdStep update, int step)
    {
    }

    /// <summary>Under direct feedback: writes the layer's error at its output, from the loss's gradient by the logits.</summary>
    /// <param name="images">N.</param>
    /// <param name="outputError">[N][classes].</param>
    /// <param name="error">[N][P][Q][K], overwritten.</param>
    public virtual void ProjectOutputError(int images, BufferView outputError, BufferView error) =>
        throw new NotSupportedException($"{RuleName} has no direct path from the loss");

    /// <inheritdoc/>
    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Releases the rule's tensors.</summary>
    protected virtual void Dispose(bool disposing) => OwnWeights?.Dispose();

    /// <summary>Allocates B for a layer, in feedback layout.</summary>
    protected static Parameter AllocateFeedbackWeights(ConvLayer layer)
    {
        ConvShape shape = layer.Shape();
        return new Parameter(layer.Backend, $"{layer.Name}.feedback", [shape.R, shape.S, shape.K, shape.C], decays: true, multiplies: true);
    }
}
