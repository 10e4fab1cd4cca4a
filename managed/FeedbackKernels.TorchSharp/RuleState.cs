using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Rules;
using static TorchSharp.torch;

namespace FeedbackKernels.TorchSharp;

/// <summary>A learning rule at work on one layer: how B begins and how it moves.</summary>
internal abstract class RuleState(FeedbackLayer layer) : IDisposable
{
    protected FeedbackLayer Layer { get; } = layer;

    /// <summary>Checks a rule and its settings.</summary>
    /// <exception cref="NotSupportedException">The layers of this package do not have it.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A setting is out of range.</exception>
    public static void Require(FeedbackRule rule)
    {
        ArgumentNullException.ThrowIfNull(rule);
        rule.Validate();
        string? refusal = rule switch
        {
            Backprop or FeedbackAlignment or SignSymmetry => null,
            WeightMirror { Form: not MirrorForm.Patch } => "the form FullMap needs the size of the maps, which a layer does not know; use Patch",
            WeightMirror { Follow: true } => "B does not see the steps of the optimiser, so it cannot follow them; use Follow: false",
            WeightMirror => null,
            KolenPollack { Form: not KolenPollackForm.TwoWeight } => "only the form TwoWeight moves B by the step of another optimiser",
            KolenPollack { EarlyShrink: < 1, Early: not EarlyDecay.BeforeTraining } =>
                "a layer does not know whether a batch norm follows it, so the early decay is available before training only",
            KolenPollack => null,
            DirectFeedbackAlignment => "errors that come straight from the loss do not pass through autograd",
            _ => $"available: {string.Join(", ", FeedbackModules.RuleNames)}",
        };
        if (refusal is not null) throw new NotSupportedException($"the rule {rule.Name} is not available for TorchSharp layers: {refusal}");
    }

    /// <summary>The state of a layer; null under backprop.</summary>
    public static RuleState? Create(FeedbackLayer layer) => layer.Rule switch
    {
        FeedbackAlignment rule => new FixedState(layer, rule),
        SignSymmetry rule => new SignState(layer, rule),
        WeightMirror rule => new MirrorState(layer, rule),
        KolenPollack rule => new KolenPollackState(layer, rule),
        _ => null,
    };

    /// <summary>A seed from torch's generator, so that <c>manual_seed</c> fixes it.</summary>
    public static ulong DrawSeed()
    {
        using Tensor drawn = randint(0, long.MaxValue, [1], dtype: ScalarType.Int64, device: CPU);
        return (ulong)drawn.item<long>();
    }

    /// <summary>The initial B, on the device of W.</summary>
    public abstract Tensor InitialWeights();

    /// <summary>Called once B is in the layer.</summary>
    public virtual void Initialise()
    {
    }

    /// <summary>Called before a forward pass whose error goes back.</summary>
    public virtual void BeforeUse()
    {
    }

    /// <summary>The rule's work before the first step.</summary>
    public virtual void BeforeTraining()
    {
    }

    public virtual void Dispose()
    {
    }

    /// <summary>Draws B, independently of W.</summary>
    /// <param name="init">Distribution; null for normal numbers with the standard deviation that W has now.</param>
    /// <param name="scale">Factor.</param>
    protected Tensor Draw(WeightInit? init, float scale)
    {
        var values = new float[Layer.LayerShape.WeightLength];
        var key = new RandomKey(Layer.Seed, RandomPurpose.FeedbackWeights, Layer.Layer);
        if (init is { } given) given.Fill(Layer.LayerShape, key, values);
        else key.FillGaussian(values, Deviation(init));
        using Tensor flat = tensor(values), drawn = flat.mul_(scale).view(Layer.weight.shape);
        return drawn.to(Layer.weight.device, copy: true);
    }

    /// <summary>Standard deviation of a distribution; of W itself without one, and of a new layer where W has none.</summary>
    protected float Deviation(WeightInit? init)
    {
        if (init is { } given) return given.StandardDeviation(Layer.LayerShape);
        using IDisposable scope = NewDisposeScope(), noGradients = no_grad();
        float deviation = Layer.weight.std(unbiased: false).item<float>();
        return deviation > 0 && float.IsFinite(deviation) ? deviation : WeightInit.Uniform.StandardDeviation(Layer.LayerShape);
    }
}
