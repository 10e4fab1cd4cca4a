using FeedbackKernels.Interop;
using FeedbackKernels.Rules;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace FeedbackKernels.TorchSharp;

/// <summary>A linear layer whose error goes back through feedback weights: <c>torch.nn.Linear</c>.</summary>
public sealed class FeedbackLinear : FeedbackLayer
{
    /// <summary>Creates a layer with random weights, distributed as those of Linear: uniform in ±1/sqrt(in_features) (Glorot and Bengio 2010,
    /// eq. 1).</summary>
    /// <param name="in_features">Inputs.</param>
    /// <param name="out_features">Outputs.</param>
    /// <param name="rule">Learning rule: backprop, feedback alignment, sign symmetry, weight mirror or Kolen-Pollack.</param>
    /// <param name="bias">Whether there is a bias.</param>
    /// <param name="seed">Seed of the random numbers of B; null for one from torch's generator.</param>
    /// <param name="layer">Number of the layer among those of the same seed.</param>
    /// <param name="device">Device of the weights; null for torch's default.</param>
    /// <exception cref="NotSupportedException">The rule, or one of its settings, is not available for TorchSharp layers; the message says
    /// why.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A size, or a setting of the rule, is out of range.</exception>
    public FeedbackLinear(
        long in_features, long out_features, FeedbackRule rule, bool bias = true, ulong? seed = null, uint layer = 0, Device? device = null)
        : this(NewLinear(in_features, out_features, bias, rule, device), rule, seed, layer)
    {
    }

    /// <summary>Takes over the parameters of a Linear, which has been checked.</summary>
    internal FeedbackLinear(Linear linear, FeedbackRule rule, ulong? seed, uint layer)
        : base(nameof(FeedbackLinear), linear.weight, linear.bias, Smallest(linear.in_features, linear.out_features), rule, seed, layer) =>
        (in_features, out_features) = (linear.in_features, linear.out_features);

    /// <summary>Inputs.</summary>
    public long in_features { get; }

    /// <summary>Outputs.</summary>
    public long out_features { get; }

    /// <summary>The product with the weights, and the bias.</summary>
    /// <param name="input">[...][in]: any number of dimensions before the inputs; Float32, on the device of the weights.</param>
    /// <returns>[...][out].</returns>
    /// <exception cref="ArgumentException">The input has another number of features, another type or another device.</exception>
    /// <exception cref="ArgumentOutOfRangeException">There is no row.</exception>
    public override Tensor forward(Tensor input)
    {
        ArgumentNullException.ThrowIfNull(input);
        long[] sizes = input.shape;
        if (sizes.Length == 0 || sizes[^1] != in_features)
            throw new ArgumentException($"has the sizes [{string.Join(", ", sizes)}], wanted [..., {in_features}]", nameof(input));
        var shape = ConvShape.Linear(Int32Of(input.numel() / in_features), LayerShape.C, LayerShape.K);
        int batch = sizes.Length == 1 ? 1 : Int32Of(sizes[0]);
        return Apply(input, shape, channelsLast: false, [.. sizes[..^1], out_features], isLinear: true, batch);
    }

    /// <summary>Why a Linear cannot be converted; null if it can.</summary>
    internal static string? Refusal(Linear linear) =>
        linear.weight.dtype == ScalarType.Float32 ? null : $"its weight has the type {linear.weight.dtype}, wanted Float32";

    private static ConvShape Smallest(long inFeatures, long outFeatures) =>
        ConvShape.Linear(1, Int32Of(inFeatures), Int32Of(outFeatures));

    private static Linear NewLinear(long inFeatures, long outFeatures, bool bias, FeedbackRule rule, Device? device)
    {
        RuleState.Require(rule);
        // Checks the sizes before torch allocates anything.
        _ = Smallest(inFeatures, outFeatures);
        return nn.Linear(inFeatures, outFeatures, hasBias: bias, device: device, dtype: ScalarType.Float32);
    }
}
