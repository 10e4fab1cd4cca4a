using FeedbackKernels.Interop;
using FeedbackKernels.State;

namespace FeedbackKernels.Layers;

/// <summary>How B moves.</summary>
public enum FeedbackUpdate
{
    /// <summary>The rule itself moves B in <see cref="Feedback.AfterUpdate"/>, or nothing does.</summary>
    ByRule,

    /// <summary>The optimiser gives B every adjustment and every decay of W, transposed: Kolen-Pollack (Akrout et al. 2019, eqs. 16-17).</summary>
    LikeWeights,

    /// <summary>The optimiser follows a gradient of B, which <see cref="Feedback.LearnFromActivity"/> or
    /// <see cref="Feedback.ComputeGradient"/> writes.</summary>
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

    /// <summary>How B moves.</summary>
    public virtual FeedbackUpdate Update => FeedbackUpdate.ByRule;

    /// <summary>What moves by <see cref="Update"/>: <see cref="OwnWeights"/>, unless the rule has other weights that learn.</summary>
    public virtual Parameter? LearnedWeights => OwnWeights;

    /// <summary>Whether B is computed as if W and other weights of the rule got the same updates but for their decay.</summary>
    public virtual bool SupposesEqualUpdates => false;

    /// <summary>Whether a gradient of <see cref="LearnedWeights"/> is scaled by the factor that clips the gradients of W.</summary>
    public virtual bool IsClippedLikeWeights => false;

    /// <summary>Whether <see cref="LearnFromActivity"/> is called in each backward pass.</summary>
    public virtual bool LearnsFromActivity => false;

    /// <summary>Sizes of the maps that the rule needs as scratch memory in the layer's backward pass. Their content does not last.</summary>
    public virtual IReadOnlyList<MapShape> ScratchMaps => [];

    /// <summary>The scratch memory, in the type of activations: a buffer for each of <see cref="ScratchMaps"/>, while a backward pass is
    /// planned.</summary>
    protected IReadOnlyList<DeviceBuffer> Scratch { get; private set; } = [];

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

    /// <summary>Decay of <see cref="LearnedWeights"/> where they move <see cref="FeedbackUpdate.ByGradient"/>; none unless a rule wants it.</summary>
    /// <param name="terms">The run's own, for W.</param>
    /// <param name="step">Number of the step, from 0.</param>
    public virtual UpdateTerms AdjustLearned(UpdateTerms terms, int step) => new(0);

    /// <summary>Learns from the activity of a backward pass, before the errors of the layer are computed: writes the gradient of
    /// <see cref="LearnedWeights"/>. Called where <see cref="LearnsFromActivity"/> holds, once for each part of a step.</summary>
    /// <param name="activity">The activity.</param>
    /// <exception cref="NotSupportedException">The rule does not learn from activity.</exception>
    public virtual void LearnFromActivity(in LayerActivity activity) => throw new NotSupportedException($"{RuleName} does not learn from activity");

    /// <summary>Writes the gradient of <see cref="LearnedWeights"/>. Called after each update of W where B moves
    /// <see cref="FeedbackUpdate.ByGradient"/> and the rule does not learn from activity.</summary>
    /// <param name="step">Number of the step, from 0.</param>
    /// <exception cref="NotSupportedException">The rule has no gradient of B.</exception>
    public virtual void ComputeGradient(int step) => throw new NotSupportedException($"{RuleName} has no gradient of B");

    /// <summary>Moves B where the rule does it itself. Called after each update of W.</summary>
    /// <param name="update">The update that W got.</param>
    /// <param name="step">Number of the step, from 0.</param>
    public virtual void AfterUpdate(WeightUpdate update, int step)
    {
    }

    /// <summary>Writes the layer's error at its output from the loss's gradient by the logits: direct feedback (Nøkland 2016).</summary>
    /// <param name="images">N.</param>
    /// <param name="outputError">[N][classes].</param>
    /// <param name="error">[N][P][Q][K], overwritten.</param>
    /// <exception cref="NotSupportedException">The rule sends no error straight from the loss.</exception>
    public virtual void ProjectOutputError(int images, BufferView outputError, BufferView error) =>
        throw new NotSupportedException($"{RuleName} has no direct path from the loss");

    /// <summary>Sends the error at the layer's output to its input: a feedback convolution with <see cref="Weights"/> (Lillicrap et al.
    /// 2016).</summary>
    /// <param name="images">N.</param>
    /// <param name="error">dy, NPQK.</param>
    /// <param name="inputError">dx, NHWC.</param>
    /// <param name="accumulate">Adds to dx instead of overwriting it.</param>
    /// <exception cref="NotSupportedException">The rule sends no error to the layer's input.</exception>
    public virtual void SendError(int images, BufferView error, BufferView inputError, bool accumulate)
    {
        (BufferView weights, FeedbackLayout layout) = Weights;
        Layer.Backend.ConvFeedback(Layer.Shape(images), error, weights, layout, inputError, accumulate);
    }

    /// <summary>How W and B agree; null where the rule has no B for this layer. May allocate memory.</summary>
    public virtual WeightAlignment? Align() =>
        OwnWeights is { } own ? Layer.Backend.Align(Layer.Shape(), Layer.Weight.Value, own.Value) : null;

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

    /// <summary>Plans the scratch memory. What the layer's backward pass reads and writes is rented by now.</summary>
    internal void PlanScratch(MemoryPlan plan)
    {
        Scratch = [.. ScratchMaps.Select((map, i) => plan.Rent(map, $"{Layer.Name} scratch {i} of {RuleName}"))];
        foreach (DeviceBuffer buffer in Scratch) plan.Return(buffer);
    }

    /// <summary>Describes the B of a layer, in feedback layout.</summary>
    /// <param name="layer">The layer.</param>
    protected static Parameter NewFeedbackWeights(ConvLayer layer)
    {
        ConvShape shape = layer.Shape();
        return new Parameter(layer.Backend, $"{layer.Name}.feedback", [shape.R, shape.S, shape.K, shape.C], decays: true, multiplies: true);
    }
}
