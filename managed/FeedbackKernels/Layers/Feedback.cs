using FeedbackKernels.Interop;
using FeedbackKernels.State;

namespace FeedbackKernels.Layers;

/// <summary>How B moves.</summary>
public enum FeedbackUpdate
{
    /// <summary>The rule itself moves B in <see cref="Feedback.AfterUpdate"/>, or nothing does.</summary>
    ByRule,

    /// <summary>The optimiser gives B every adjustment and every decay of W, transposed: Kolen-Pollack.</summary>
    LikeWeights,

    /// <summary>The optimiser follows a gradient of B, which <see cref="Feedback.ComputeGradient"/> writes.</summary>
    ByGradient,
}

/// <summary>
/// A learning rule at work on one layer: the weights that carry errors from the layer's output to its input (or, under direct
/// feedback, from the loss to its output), and how they move.
/// </summary>
/// <param name="layer">The layer.</param>
public abstract class Feedback(ConvLayer layer) : IState, IDisposable
{
    /// <summary>The layer.</summary>
    public ConvLayer Layer { get; } = layer;

    /// <summary>The rule's name, for reports.</summary>
    public abstract string RuleName { get; }

    /// <summary>The weights of the feedback convolution and their layout in memory.</summary>
    /// <exception cref="NotSupportedException">The rule sends no error to the layer's input.</exception>
    public abstract (BufferView Weights, FeedbackLayout Layout) Weights { get; }

    /// <summary>B in feedback layout; null where the rule has no B for this layer.</summary>
    public virtual Parameter? OwnWeights => null;

    /// <summary>All weights that the rule keeps for this layer; the model's file holds them.</summary>
    public virtual IReadOnlyList<Parameter> Parameters => OwnWeights is { } own ? [own] : [];

    /// <summary>How <see cref="OwnWeights"/> moves.</summary>
    public virtual FeedbackUpdate Update => FeedbackUpdate.ByRule;

    /// <summary>Why the layer can train only at the size of maps that it was made for; null if it can train at others.</summary>
    public virtual string? NeedsOneSize => null;

    /// <summary>Whether the layer passes its error on to its input.</summary>
    public virtual bool SendsError => true;

    /// <summary>Whether the layer's error comes straight from the loss instead of from the layers above.</summary>
    public virtual bool ReceivesDirectError => false;

    /// <summary>Draws the initial B. Called once, when W has its initial values.</summary>
    public virtual void Initialise()
    {
    }

    /// <summary>Does the rule's work ahead of training. Called once, before the first step.</summary>
    /// <param name="cancel">Ends it early.</param>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    public virtual void BeforeTraining(CancellationToken cancel = default)
    {
    }

    /// <summary>Changes the decay of W under this rule.</summary>
    /// <param name="terms">The run's own.</param>
    /// <param name="step">Number of the step, from 0.</param>
    public virtual UpdateTerms Adjust(UpdateTerms terms, int step) => terms;

    /// <summary>Writes the gradient of <see cref="OwnWeights"/>. Called after each update of W where B moves
    /// <see cref="FeedbackUpdate.ByGradient"/>.</summary>
    /// <param name="step">Number of the step, from 0.</param>
    /// <exception cref="NotSupportedException">The rule has no gradient of B.</exception>
    public virtual void ComputeGradient(int step) => throw new NotSupportedException($"{RuleName} has no gradient of B");

    /// <summary>Moves B where the rule does it itself. Called after each update of W.</summary>
    /// <param name="update">The update that W got.</param>
    /// <param name="step">Number of the step, from 0.</param>
    public virtual void AfterUpdate(WeightUpdate update, int step)
    {
    }

    /// <summary>Writes the layer's error at its output from the loss's gradient by the logits: direct feedback.</summary>
    /// <param name="images">N.</param>
    /// <param name="outputError">[N][classes].</param>
    /// <param name="error">[N][P][Q][K], overwritten.</param>
    /// <exception cref="NotSupportedException">The rule sends no error straight from the loss.</exception>
    public virtual void ProjectOutputError(int images, BufferView outputError, BufferView error) =>
        throw new NotSupportedException($"{RuleName} has no direct path from the loss");

    /// <inheritdoc/>
    public virtual void Walk(IStateWalker walker)
    {
        ArgumentNullException.ThrowIfNull(walker);
        foreach (Parameter parameter in Parameters) walker.Tensor(parameter.Name, parameter.Sizes, parameter.Value);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Releases the rule's tensors.</summary>
    /// <param name="disposing">True from <see cref="Dispose()"/>, false from a finalizer.</param>
    protected virtual void Dispose(bool disposing)
    {
        foreach (Parameter parameter in Parameters) parameter.Dispose();
    }

    /// <summary>Describes the B of a layer, in feedback layout.</summary>
    /// <param name="layer">The layer.</param>
    protected static Parameter NewFeedbackWeights(ConvLayer layer)
    {
        ConvShape shape = layer.Shape();
        return new Parameter(layer.Backend, $"{layer.Name}.feedback", [shape.R, shape.S, shape.K, shape.C], decays: true, multiplies: true);
    }
}
