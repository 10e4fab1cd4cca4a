using FeedbackKernels.Interop;

namespace FeedbackKernels.Layers;

/// <summary>
/// A convolution with what belongs to it: bias or batch norm, activation, and the residual join when it ends a block.
/// Only the convolution's error to its input goes through feedback weights; all else keeps its exact derivative.
/// </summary>
public sealed class ConvUnit : Block, IDisposable
{
    private readonly Backend _backend;
    private readonly NormOrder _order;
    private readonly Activation _activation;
    private MapShape _input;
    private DeviceBuffer? _x, _residual, _preNorm, _output, _error, _inputError;
    private bool _accumulatesInputError, _outputReleased, _computesLogits;

    /// <summary>Puts the pieces together.</summary>
    /// <param name="layer">The convolution.</param>
    /// <param name="input">Size of its input.</param>
    /// <param name="norm">Batch norm, or null.</param>
    /// <param name="activation">Activation after the join, or in <see cref="NormOrder.ConvReluBn"/> before the norm.</param>
    /// <param name="order">Order of norm and activation.</param>
    internal ConvUnit(ConvLayer layer, MapShape input, BatchNorm? norm, Activation activation, NormOrder order)
    {
        _backend = layer.Backend;
        Layer = layer;
        Norm = norm;
        _input = input;
        _activation = activation;
        _order = order;
    }

    /// <inheritdoc/>
    public override string Name => Layer.Name;

    /// <inheritdoc/>
    public override MapShape Input => _input;

    /// <inheritdoc/>
    public override MapShape Output => OutputOf(Layer.Shape());

    /// <summary>The convolution.</summary>
    public ConvLayer Layer { get; }

    /// <summary>Its batch norm, where it has one.</summary>
    public BatchNorm? Norm { get; }

    /// <inheritdoc/>
    public override IEnumerable<ConvUnit> Units => [this];

    /// <inheritdoc/>
    public override DeviceBuffer Result => _output ?? throw new InvalidOperationException($"{Name} has no memory planned");

    /// <summary>Whether the unit is the projection shortcut of a residual block.</summary>
    internal bool IsShortcut { get; init; }

    /// <summary>The unit's parameters in the order in which the backward pass finishes their gradients.</summary>
    internal IEnumerable<Parameter> ParametersInBackwardOrder =>
        ((IEnumerable<Parameter?>)[Norm?.Gamma, Norm?.Beta, Layer.Bias, Layer.Weight]).OfType<Parameter>();

    internal override bool WantsError => Layer.Feedback is not { ReceivesDirectError: true };

    internal override ConvLayer? LayerThatSendsNone => Layer.Feedback is { SendsError: true } ? null : Layer;

    /// <summary>The convolution's own output, where the forward pass keeps it as it is.</summary>
    private DeviceBuffer? KeptResponse =>
        Norm is not null ? NormFollowsActivation && _activation != Activation.None ? null : _preNorm
        : Layer.Bias is null && _activation == Activation.None && _residual is null && !_computesLogits ? _output
        : null;

    private bool NormFollowsActivation => Norm is not null && _order == NormOrder.ConvReluBn;

    internal override void Resize(MapShape input)
    {
        Layer.Resize(input);
        _input = input;
    }

    private static MapShape OutputOf(in ConvShape shape) => new(shape.P, shape.Q, shape.K);

    // Logits stay in Float32 where only a bias follows the products: classes that differ in the third digit keep their order.
    internal override void MarkAsOutput() => _computesLogits = true;

    internal override DeviceBuffer PlanForward(MemoryPlan plan, DeviceBuffer x) => PlanForward(plan, x, residual: null);

    /// <summary>Plans the forward pass with an optional residual that is added at the end.</summary>
    internal DeviceBuffer PlanForward(MemoryPlan plan, DeviceBuffer x, DeviceBuffer? residual)
    {
        _x = x;
        _residual = residual;
        _outputReleased = false;
        _preNorm = plan.Training && Norm is not null ? plan.Rent(Output, $"{Name} before its norm") : null;
        _output = _computesLogits && Norm is null && _activation == Activation.None
            ? plan.Rent(Output, $"{Name} output", ElementType.Float32)
            : plan.Rent(Output, $"{Name} output");
        return _output;
    }

    internal override DeviceBuffer? PlanBackward(MemoryPlan plan, DeviceBuffer error, bool wantsInputError)
    {
        DeviceBuffer? inputError = wantsInputError ? plan.Rent(Input, $"{Name} input error") : null;
        PlanBackward(plan, error, inputError, accumulates: false);
        plan.Return(error);
        return inputError;
    }

    /// <summary>Plans the backward pass with the error at the input going where the caller says; the caller also keeps the
    /// error at the output, which holds the residual's error afterwards.</summary>
    internal void PlanBackward(MemoryPlan plan, DeviceBuffer error, DeviceBuffer? inputError, bool accumulates)
    {
        _error = error;
        _inputError = inputError;
        _accumulatesInputError = accumulates;
        Layer.Feedback?.PlanScratch(plan);
        plan.Return(_preNorm);
        if (!_outputReleased) plan.Return(_output);
    }

    /// <summary>Gives the output's memory back in the forward pass, where the backward pass does not look at it.</summary>
    internal void ReleaseOutput(MemoryPlan plan)
    {
        plan.Return(_output);
        _outputReleased = true;
    }

    internal override void Forward(in Pass pass)
    {
        ConvShape shape = Layer.Shape(pass.Images);
        if (Norm is null) ForwardPlain(shape);
        else if (pass.Training) ForwardTraining(shape, pass, Norm);
        else ForwardEvaluation(shape, pass, Norm);
    }

    internal override void Backward(in BackwardPass pass)
    {
        ConvShape shape = Layer.Shape(pass.Images);
        if (pass.Training && Layer.Feedback is { LearnsFromActivity: true } learning) learning.LearnFromActivity(ActivityOf(pass));
        if (Layer.Feedback is { ReceivesDirectError: true } direct)
            direct.ProjectOutputError(pass.Images, pass.OutputError, _error!);

        DeviceBuffer dy = Norm is null ? BackwardActivation(shape)
            : pass.Training ? BackwardNorm(shape, Norm)
            : BackwardFixedNorm(shape, Norm);
        pass.Observer?.Observe(Layer, dy, shape.OutputLength);
        if (pass.Training)
        {
            if (Layer.Bias is not null)
                _backend.BiasGradient(shape.OutputLength / shape.K, shape.K, dy, Layer.Bias.Gradient);
            _backend.ConvWeightGradient(shape, _x, dy, Layer.Weight.Gradient);
        }

        if (_inputError is null) return;
        Layer.Feedback!.SendError(pass.Images, dy, _inputError, _accumulatesInputError);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Layer.Dispose();
        Norm?.Dispose();
    }

    private LayerActivity ActivityOf(in BackwardPass pass) =>
        new(pass.Images, _x, KeptResponse, _outputReleased ? default : (BufferView)_output, pass.OutputError);

    private void ForwardPlain(in ConvShape shape) => _backend.ConvForward(
        shape, _x, Layer.Weight.Operand, _output,
        new ConvEpilogue(Bias: Layer.Bias?.Value, Residual: _residual, Activation: _activation));

    private void ForwardTraining(in ConvShape shape, in Pass pass, BatchNorm norm)
    {
        Activation before = NormFollowsActivation ? _activation : Activation.None;
        Activation after = NormFollowsActivation ? Activation.None : _activation;
        _backend.ConvForward(
            shape, _x, Layer.Weight.Operand, _preNorm, new ConvEpilogue(Activation: before, Statistics: norm.Statistics(pass)));
        norm.Merge(shape.OutputLength / shape.K, pass);
        norm.Fold(pass);
        _backend.ChannelAffine(shape.OutputLength / shape.K, shape.K, _preNorm, norm.Scale, norm.Bias, _residual, after, _output);
    }

    private void ForwardEvaluation(in ConvShape shape, in Pass pass, BatchNorm norm)
    {
        norm.Fold(pass);
        if (!NormFollowsActivation)
        {
            _backend.ConvForward(
                shape, _x, Layer.Weight.Operand, _output, new ConvEpilogue(norm.Scale, norm.Bias, _residual, _activation));
            return;
        }

        // A backward pass looks at what the norm saw.
        DeviceBuffer? activated = _preNorm ?? _output;
        _backend.ConvForward(shape, _x, Layer.Weight.Operand, activated, new ConvEpilogue(Activation: _activation));
        _backend.ChannelAffine(
            shape.OutputLength / shape.K, shape.K, activated, norm.Scale, norm.Bias, _residual, Activation.None, _output);
    }

    /// <summary>Turns the error at the output into that at the convolution's, in place.</summary>
    private DeviceBuffer BackwardActivation(in ConvShape shape)
    {
        if (_activation != Activation.None) _backend.ActivationBackward(_activation, shape.OutputLength, _output, _error, _error);
        return _error!;
    }

    /// <summary>
    /// Turns the error at the output into that at the convolution's, over what the norm saw, which nobody needs again; the
    /// residual's error takes the place of the output's.
    /// </summary>
    private DeviceBuffer BackwardNorm(in ConvShape shape, BatchNorm norm)
    {
        ReluPosition relu = _activation == Activation.None ? ReluPosition.None
            : NormFollowsActivation ? ReluPosition.Before
            : ReluPosition.After;
        bool joinIsMasked = _residual is not null && relu == ReluPosition.After;
        norm.Backward(
            shape.OutputLength / shape.K, _preNorm, relu, joinIsMasked ? _output : null, _error, _preNorm, joinIsMasked ? _error : null);
        return _preNorm!;
    }

    /// <summary>The same behind a forward pass with running statistics, where the norm is a factor a channel.</summary>
    private DeviceBuffer BackwardFixedNorm(in ConvShape shape, BatchNorm norm)
    {
        DeviceBuffer? error = _error;
        if (_activation != Activation.None)
        {
            // The error of a residual that is added before the ReLU is masked too, that of one added behind the norm is not.
            DeviceBuffer? seen = NormFollowsActivation ? _preNorm : _output;
            error = NormFollowsActivation ? _preNorm : _error;
            _backend.ActivationBackward(_activation, shape.OutputLength, seen, _error, error);
        }

        norm.DropShift();
        _backend.ChannelAffine(shape.OutputLength / shape.K, shape.K, error, norm.Scale, norm.Bias, null, Activation.None, _preNorm);
        return _preNorm!;
    }
}
