using FeedbackKernels.Interop;

namespace FeedbackKernels.Layers;

/// <summary>
/// Units one after another, joined at the end with the block's input or with a projection of it (He et al. 2016, eqs. 1
/// and 2). The error of an identity shortcut needs no copy: the first unit adds its own to it.
/// </summary>
public sealed class ResidualBlock : Block
{
    private readonly ConvUnit[] _main;
    private readonly ConvUnit? _shortcut;

    /// <summary>Puts the units together.</summary>
    internal ResidualBlock(string name, ConvUnit[] main, ConvUnit? shortcut)
    {
        Name = name;
        _main = main;
        _shortcut = shortcut;
        if (main.Length < 2 || main[^1].Norm is null)
            throw new ArgumentException($"{name}: a residual block has at least two units, the last with a batch norm", nameof(main));
        RequireJoin();
    }

    /// <inheritdoc/>
    public override string Name { get; }

    /// <inheritdoc/>
    public override MapShape Input => _main[0].Input;

    /// <inheritdoc/>
    public override MapShape Output => _main[^1].Output;

    /// <inheritdoc/>
    public override IEnumerable<ConvUnit> Units => _shortcut is null ? _main : [.. _main, _shortcut];

    internal override IEnumerable<ConvUnit> UnitsInBackwardOrder => _shortcut is null ? _main.Reverse() : [.. _main.Reverse(), _shortcut];

    /// <summary>The projection, where the shortcut is one.</summary>
    public ConvUnit? Shortcut => _shortcut;

    /// <inheritdoc/>
    public override DeviceBuffer Result => _main[^1].Result;

    internal override bool WantsError => _main[^1].WantsError;

    internal override ConvLayer? LayerThatSendsNone => _main[0].LayerThatSendsNone ?? _shortcut?.LayerThatSendsNone;

    internal override void Resize(MapShape input)
    {
        _shortcut?.Resize(input);
        foreach (ConvUnit unit in _main)
        {
            unit.Resize(input);
            input = unit.Output;
        }

        RequireJoin();
    }

    private void RequireJoin()
    {
        MapShape joined = _shortcut?.Output ?? Input;
        if (joined != Output) throw new ArgumentException($"{Name}: the shortcut is {joined}, the main path {Output}; a join needs equal sizes");
    }

    internal override DeviceBuffer PlanForward(MemoryPlan plan, DeviceBuffer x)
    {
        DeviceBuffer residual = _shortcut?.PlanForward(plan, x) ?? x;
        DeviceBuffer current = x;
        foreach (ConvUnit unit in _main)
        {
            DeviceBuffer output = unit.PlanForward(plan, current, unit == _main[^1] ? residual : null);
            if (!plan.Training && current != x) plan.Return(current);
            current = output;
        }

        _shortcut?.ReleaseOutput(plan);
        return current;
    }

    internal override DeviceBuffer? PlanBackward(MemoryPlan plan, DeviceBuffer error, bool wantsInputError)
    {
        DeviceBuffer current = error;
        for (int i = _main.Length - 1; i > 0; i--)
        {
            // The unit below needs a place for its error even where the error does not come from this unit.
            DeviceBuffer below = plan.Rent(_main[i].Input, $"{_main[i].Name} input error");
            _main[i].PlanBackward(plan, current, _main[i - 1].WantsError ? below : null, accumulates: false);
            if (current != error) plan.Return(current);
            current = below;
        }

        DeviceBuffer? inputError = !wantsInputError ? null
            : _shortcut is null ? error
            : plan.Rent(Input, $"{Name} input error");
        _main[0].PlanBackward(plan, current, inputError, accumulates: _shortcut is null);
        if (current != error) plan.Return(current);
        _shortcut?.PlanBackward(plan, error, inputError, accumulates: true);
        if (inputError != error) plan.Return(error);
        return inputError;
    }

    internal override void Forward(in Pass pass)
    {
        _shortcut?.Forward(pass);
        foreach (ConvUnit unit in _main) unit.Forward(pass);
    }

    internal override void Backward(in BackwardPass pass)
    {
        for (int i = _main.Length - 1; i >= 0; i--) _main[i].Backward(pass);
        _shortcut?.Backward(pass);
    }
}
