using System.Runtime.CompilerServices;
using FeedbackKernels.Interop;
using FeedbackKernels.Rules;
using TorchSharp.Modules;
using TorchSharp.Utils;
using static TorchSharp.torch;

namespace FeedbackKernels.TorchSharp;

/// <summary>
/// A layer whose error goes back through feedback weights B (Lillicrap et al. 2016). The forward pass, the gradients of W and bias, the
/// names in the state dictionary and moves between devices are those of the TorchSharp layer of the same kind; B is a buffer
/// <c>feedback.weight</c>.
/// </summary>
/// <remarks>
/// Tensors are Float32, on the CPU or a CUDA device (not tested on a GPU yet). The output has the memory format of the input, as in
/// PyTorch; on the CPU, tensors in channels_last are read and written without a copy. There is no second derivative: a backward pass with
/// create_graph fails.
/// </remarks>
public abstract class FeedbackLayer : nn.Module<Tensor, Tensor>
{
    private readonly RuleState? _state;

    [ComponentName(Name = nameof(weight))]
    private Parameter _weight;

    [ComponentName(Name = nameof(bias))]
    private Parameter? _bias;

    private protected FeedbackLayer(string name, Parameter weight, Parameter? bias, ConvShape shape, FeedbackRule rule, ulong? seed, uint layer)
        : base(name)
    {
        RuleState.Require(rule);
        weight.RequireFloat32($"the weight of a {name}");
        bias?.RequireFloat32($"the bias of a {name}", weight.device);
        _weight = null!;
        this.weight = weight;
        this.bias = bias;
        (Rule, LayerShape, Seed, Layer) = (rule, shape, seed ?? RuleState.DrawSeed(), layer);
        _state = RuleState.Create(this);
        if (_state is null) return;
        feedback = new FeedbackWeights(_state.InitialWeights());
        register_module(nameof(feedback), feedback);
        _state.Initialise();
    }

    /// <summary>W: [out channels][in channels][rows][columns], or [out][in].</summary>
    public Parameter weight
    {
        get => _weight;
        set
        {
            ArgumentNullException.ThrowIfNull(value);
            if (_weight is not null && value.Handle != _weight.Handle) _weight.Dispose();
            _weight = Detached(value);
            ConditionallyRegisterParameter(nameof(weight), _weight);
        }
    }

    /// <summary>One number for each output, or null.</summary>
    public Parameter? bias
    {
        get => _bias;
        set
        {
            if (_bias is not null && value?.Handle != _bias.Handle) _bias.Dispose();
            _bias = value is null ? null : Detached(value);
            ConditionallyRegisterParameter(nameof(bias), _bias);
        }
    }

    /// <summary>The child module that holds B; null under backprop, which sends errors through W.</summary>
    [field: ComponentName(Name = nameof(feedback))]
    public FeedbackWeights? feedback { get; }

    /// <summary>The learning rule and its settings.</summary>
    public FeedbackRule Rule { get; }

    /// <summary>Seed of the random numbers of B and of the mirror's noise.</summary>
    public ulong Seed { get; }

    /// <summary>Number of the layer in its model: layers of one seed get different random numbers.</summary>
    public uint Layer { get; }

    /// <summary>The layer on its smallest map, for operations on weights.</summary>
    internal ConvShape LayerShape { get; }

    /// <summary>The layer on the maps of the last forward pass; null before.</summary>
    internal ConvShape? Forwarded { get; private set; }

    /// <summary>
    /// A mirror step: sends noise through W and B and corrects B by the correlation of the noise with the difference of the responses, or
    /// moves it towards the correlation with the response of W (<see cref="WeightMirror"/>: Akrout et al. 2019, eq. 7). The noise is a function
    /// of <see cref="Seed"/>, <see cref="Layer"/> and the number of the step. Call it once for each training step, after the optimiser's.
    /// Autograd records nothing.
    /// </summary>
    /// <exception cref="InvalidOperationException">The layer's rule is not the weight mirror.</exception>
    public void MirrorStep()
    {
        if (_state is not MirrorState mirror) throw new InvalidOperationException($"the rule of this layer is {Rule.Name}; only {WeightMirror.RuleName} has mirror steps");
        mirror.StepAfterUpdate();
    }

    /// <summary>
    /// The rule's work before training: the mirror's first steps (<see cref="WeightMirror.WarmUpSteps"/>), or the early decay of
    /// Kolen-Pollack, which replaces the initial W and B by nearly equal ones of the same variance
    /// (<see cref="KolenPollack.EarlyShrink"/>). Other rules have none. Call it once, for weights that are still random: the decay would
    /// destroy trained ones.
    /// </summary>
    public void BeforeTraining() => _state?.BeforeTraining();

    /// <summary>Inner product and norms of W and B, and so the angle between them (the matrix angle of Akrout et al. 2019).</summary>
    /// <exception cref="InvalidOperationException">The rule is backprop, which has no B.</exception>
    public WeightAlignment Align()
    {
        if (feedback is null) throw new InvalidOperationException($"the rule of this layer is {Rule.Name}, which has no B");
        using IDisposable scope = NewDisposeScope(), noGradients = no_grad();
        Tensor w = weight.flatten().to(ScalarType.Float64), b = feedback.weight.flatten().to(ScalarType.Float64);
        return new WeightAlignment(w.dot(b).item<double>(), w.dot(w).item<double>(), b.dot(b).item<double>());
    }

    /// <summary>A size of TorchSharp, which has 64 bits, as one of a layer.</summary>
    private protected static int Int32Of(long size, [CallerArgumentExpression(nameof(size))] string? name = null) =>
        size is >= int.MinValue and <= int.MaxValue ? (int)size : throw new ArgumentOutOfRangeException(name, size, $"wanted at most {int.MaxValue}");

    /// <summary>Applies the layer to a checked input.</summary>
    private protected Tensor Apply(Tensor input, ConvShape shape, bool channelsLast, long[] outputSizes, bool isLinear, int batch)
    {
        input.RequireFloat32("the input of a feedback layer");
        weight.RequireFloat32("the weight of a feedback layer", input.device);
        bias?.RequireFloat32("the bias of a feedback layer", input.device);
        feedback?.weight.RequireFloat32("the feedback weight of a feedback layer", input.device);
        Forwarded = shape.WithBatch(batch);
        if (is_grad_enabled() && input.requires_grad) _state?.BeforeUse();
        var call = new ConvCall(TensorBackend.For(input), shape, channelsLast, input.shape, outputSizes) { IsLinear = isLinear };
        return ConvFunction.Apply(call, input, weight, bias, feedback?.weight);
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (disposing) _state?.Dispose();
        base.Dispose(disposing);
    }

    private static Parameter Detached(Parameter parameter)
    {
        _ = parameter.DetachFromDisposeScope();
        return parameter;
    }
}
