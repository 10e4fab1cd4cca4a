using FeedbackKernels.Interop;

namespace FeedbackKernels.Layers;

/// <summary>What a pooling takes of its window.</summary>
public enum PoolKind
{
    /// <summary>The largest element (Scherer, Müller and Behnke 2010).</summary>
    Max,

    /// <summary>The mean (LeCun et al. 1998).</summary>
    Average,
}

/// <summary>Max or average pooling, with its exact derivative.</summary>
public sealed class PoolBlock : Block
{
    private readonly Backend _backend;
    private readonly PoolKind _kind;
    private readonly Func<MapShape, PoolShape> _shapeOn;
    private PoolShape _shape;
    private DeviceBuffer? _x, _output, _positions, _error, _inputError;
    private bool _belowWantsError;

    /// <param name="backend">Where the block lives.</param>
    /// <param name="name">Name in the model.</param>
    /// <param name="kind">Maximum or mean.</param>
    /// <param name="shapeOn">The pooling on an input.</param>
    /// <param name="input">Size of the input.</param>
    internal PoolBlock(Backend backend, string name, PoolKind kind, Func<MapShape, PoolShape> shapeOn, MapShape input)
    {
        (_backend, _kind, _shapeOn, _shape) = (backend, kind, shapeOn, shapeOn(input));
        Name = name;
    }

    /// <inheritdoc/>
    public override string Name { get; }

    /// <inheritdoc/>
    public override MapShape Input => new(_shape.H, _shape.W, _shape.C);

    /// <inheritdoc/>
    public override MapShape Output => new(_shape.P, _shape.Q, _shape.C);

    /// <inheritdoc/>
    public override IEnumerable<ConvUnit> Units => [];

    /// <inheritdoc/>
    public override DeviceBuffer Result => _output ?? throw new InvalidOperationException($"{Name} has no memory planned");

    // A pooling has no weights: it passes the error on to a block below that learns from it.
    internal override bool WantsError => _belowWantsError;

    internal override bool HoldsError => _belowWantsError;

    internal override ConvLayer? LayerThatSendsNone => null;

    internal override void ConnectTo(Block? below) => _belowWantsError = below is { WantsError: true };

    internal override void Resize(MapShape input) => _shape = _shapeOn(input);

    internal override DeviceBuffer PlanForward(MemoryPlan plan, DeviceBuffer x)
    {
        _x = x;
        _output = plan.Rent(Output, $"{Name} output");
        _positions = _kind == PoolKind.Max ? plan.Rent(Output, $"{Name} positions", ElementType.Int32) : null;
        if (!plan.Training) plan.Return(_positions);
        return _output;
    }

    internal override DeviceBuffer? PlanBackward(MemoryPlan plan, DeviceBuffer error, bool wantsInputError)
    {
        _error = error;
        _inputError = wantsInputError ? plan.Rent(Input, $"{Name} input error") : null;
        plan.Return(error);
        plan.Return(_output);
        plan.Return(_positions);
        return _inputError;
    }

    internal override void Forward(in Pass pass)
    {
        PoolShape shape = _shape.WithBatch(pass.Images);
        if (_kind == PoolKind.Max) _backend.MaxPoolForward(shape, _x, _output, _positions);
        else _backend.AveragePoolForward(shape, _x, _output);
    }

    internal override void Backward(in BackwardPass pass)
    {
        if (_inputError is null) return;
        PoolShape shape = _shape.WithBatch(pass.Images);
        if (_kind == PoolKind.Max) _backend.MaxPoolBackward(shape, _error, _positions, _inputError);
        else _backend.AveragePoolBackward(shape, _error, _inputError);
    }
}
