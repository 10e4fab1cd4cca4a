using FeedbackKernels.Interop;
using FeedbackKernels.Layers;

namespace FeedbackKernels.Rules;

/// <summary>For the classifier, which has the gradient of the loss, and projection shortcuts, which have the error of their block: under
/// direct feedback they need no feedback weights and pass no error on.</summary>
internal class NoProjection(ConvLayer layer, string ruleName) : Feedback(layer)
{
    public override string RuleName => ruleName;

    public override bool SendsError => false;

    public override (BufferView Weights, FeedbackLayout Layout) Weights =>
        throw new NotSupportedException($"{RuleName} sends no error through {Layer.Name}");
}

/// <summary>Random weights from the gradient of the logits to the output of a layer's unit.</summary>
internal class DirectProjection : Feedback
{
    private readonly ulong _seed;
    private readonly float _scale;
    private readonly int _classes;
    private DeviceBuffer? _channelErrors;

    public DirectProjection(ConvLayer layer, string ruleName, DirectTarget target, float scale, in LayerPlace place) : base(layer)
    {
        ConvShape shape = layer.Shape();
        (RuleName, _seed, _scale, _classes) = (ruleName, place.Seed, scale, place.Classes);
        Spreads = target == DirectTarget.Channels && shape.P * shape.Q > 1;
        Reached = Spreads ? shape.K : checked((int)shape.OutputLength);
        DirectWeights = new Parameter(layer.Backend, $"{layer.Name}.direct_feedback", [_classes, Reached], decays: false, multiplies: true);
    }

    public override string RuleName { get; }

    public override bool SendsError => false;

    public override bool ReceivesDirectError => true;

    public override string? NeedsOneSize => Spreads ? null : "each element of its output has feedback weights";

    public override IReadOnlyList<Parameter> Parameters => [DirectWeights];

    /// <summary>The weights, [classes][elements or channels].</summary>
    protected Parameter DirectWeights { get; }

    /// <summary>Elements or channels.</summary>
    protected int Reached { get; }

    /// <summary>Whether the error of a channel is spread over its pixels.</summary>
    protected bool Spreads { get; }

    public override (BufferView Weights, FeedbackLayout Layout) Weights =>
        throw new NotSupportedException($"{RuleName} sends no error through {Layer.Name}");

    public override void Initialise()
    {
        float deviation = _scale * MathF.Sqrt(2f / (_classes + Reached));
        Layer.Backend.FillGaussian(DirectWeights.Value, new RandomKey(_seed, RandomPurpose.FeedbackWeights, Layer.Index), deviation);
        DirectWeights.RefreshCopy();
    }

    public override void ProjectOutputError(int images, BufferView outputError, BufferView error)
    {
        ConvShape projection = ConvShape.Linear(images, Reached, _classes), map = Layer.Shape();
        if (!Spreads)
        {
            Layer.Backend.ConvFeedback(projection, outputError, DirectWeights.Operand, FeedbackLayout.Feedback, error);
            return;
        }

        if (_channelErrors is null || _channelErrors.Length < projection.InputLength)
        {
            _channelErrors?.Dispose();
            _channelErrors = Layer.Backend.Allocate(projection.InputLength, $"{Layer.Name} channel errors", Layer.Backend.ActivationType);
        }

        Layer.Backend.ConvFeedback(projection, outputError, DirectWeights.Operand, FeedbackLayout.Feedback, _channelErrors);
        Layer.Backend.AveragePoolBackward(PoolShape.Global(images, map.P, map.Q, map.K), _channelErrors, error);
    }

    protected override void Dispose(bool disposing)
    {
        _channelErrors?.Dispose();
        base.Dispose(disposing);
    }
}
