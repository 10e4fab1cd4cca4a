using FeedbackKernels.Interop;

namespace FeedbackKernels.Layers;

/// <summary>
/// A piece of a model with an explicit forward and backward pass. Memory is planned before the first pass, in the order
/// of a step: all blocks forward, then all blocks backward. It is planned again when the size of the images changes.
/// </summary>
public abstract class Block
{
    /// <summary>Name in the model.</summary>
    public abstract string Name { get; }

    /// <summary>Size of what goes in.</summary>
    public abstract MapShape Input { get; }

    /// <summary>Size of what comes out.</summary>
    public abstract MapShape Output { get; }

    /// <summary>Units with weights, in the order of the forward pass.</summary>
    public abstract IEnumerable<ConvUnit> Units { get; }

    /// <summary>The same units in the order in which the backward pass finishes their gradients.</summary>
    internal virtual IEnumerable<ConvUnit> UnitsInBackwardOrder => Units;

    /// <summary>What the block computed last.</summary>
    public abstract DeviceBuffer Result { get; }

    /// <summary>Whether the block, or one below that it passes errors to, learns from the error that the blocks above send down.</summary>
    internal abstract bool WantsError { get; }

    /// <summary>Whether the backward pass needs memory for the error at the output even where no block above sends one: a unit under
    /// direct feedback writes its error there.</summary>
    internal virtual bool HoldsError => true;

    /// <summary>The layer that cannot send an error to the block's input, or null where all can.</summary>
    internal abstract ConvLayer? LayerThatSendsNone { get; }

    /// <summary>Tells the block which one feeds it; called once, from the input upwards, before the backward pass is planned.</summary>
    /// <param name="below">The block below; null for the first.</param>
    internal virtual void ConnectTo(Block? below)
    {
    }

    /// <summary>Sets the sizes of the maps for another size of the input; the weights stay. The memory must be planned again.</summary>
    /// <exception cref="ArgumentException">The block cannot take maps of that size.</exception>
    internal abstract void Resize(MapShape input);

    /// <summary>Tells the last block that its output is the logits.</summary>
    internal virtual void MarkAsOutput()
    {
    }

    /// <summary>Plans the forward pass and returns the output, which stays rented until the backward pass (or, in a plan
    /// for evaluation, until the model returns it).</summary>
    internal abstract DeviceBuffer PlanForward(MemoryPlan plan, DeviceBuffer x);

    /// <summary>Plans the backward pass: gives back the output and its error, and returns the error at the input where
    /// that is wanted.</summary>
    internal abstract DeviceBuffer? PlanBackward(MemoryPlan plan, DeviceBuffer error, bool wantsInputError);

    internal abstract void Forward(in Pass pass);

    internal abstract void Backward(in BackwardPass pass);
}

/// <summary>The memory of a model for one batch size, while it is planned.</summary>
internal sealed class MemoryPlan(Arena arena, int images, ElementType activations, bool training)
{
    // What a buffer can hold: 2^40.
    private const long MostElements = 1L << 40;

    private readonly HashSet<DeviceBuffer> _kept = [];

    /// <summary>Whether a backward pass will look at what the forward pass computes.</summary>
    public bool Training { get; } = training;

    /// <summary>Activations or errors, in the type that the backend stores those in.</summary>
    public DeviceBuffer Rent(MapShape shape, string name) => Rent(shape, name, activations);

    /// <summary>Numbers of another type.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The batch is larger than a buffer can be.</exception>
    public DeviceBuffer Rent(MapShape shape, string name, ElementType type)
    {
        long length = (long)images * shape.Length;
        if (length > MostElements)
            throw new ArgumentOutOfRangeException(nameof(shape), shape, $"buffer '{name}' for a batch of {images} maps of {shape} has more than {MostElements} elements");
        return arena.Rent(length, name, type);
    }

    /// <summary>A buffer that lives to the end of the step: giving it back does nothing.</summary>
    public DeviceBuffer Keep(DeviceBuffer buffer)
    {
        _kept.Add(buffer);
        return buffer;
    }

    public void Return(DeviceBuffer? buffer)
    {
        if (buffer is not null && !_kept.Contains(buffer)) arena.Return(buffer);
    }
}
