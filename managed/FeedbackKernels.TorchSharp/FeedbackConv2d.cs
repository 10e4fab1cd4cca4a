using FeedbackKernels.Interop;
using FeedbackKernels.Rules;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace FeedbackKernels.TorchSharp;

/// <summary>
/// A 2D convolution whose error goes back through feedback weights: <c>torch.nn.Conv2d</c> with groups and dilation of 1 and zero padding,
/// stride and padding equal in both directions.
/// </summary>
public sealed class FeedbackConv2d : FeedbackLayer
{
    /// <summary>Creates a layer with random weights, distributed as those of Conv2d: uniform in ±1/sqrt(in_channels * kernel_size²) (Glorot
    /// and Bengio 2010, eq. 1).</summary>
    /// <param name="in_channels">Input channels.</param>
    /// <param name="out_channels">Output channels.</param>
    /// <param name="kernel_size">Filter rows and columns.</param>
    /// <param name="rule">Learning rule: backprop, feedback alignment, sign symmetry, weight mirror or Kolen-Pollack.</param>
    /// <param name="stride">Stride in both directions.</param>
    /// <param name="padding">Zeros on each side.</param>
    /// <param name="bias">Whether there is a bias.</param>
    /// <param name="seed">Seed of the random numbers of B; null for one from torch's generator.</param>
    /// <param name="layer">Number of the layer among those of the same seed.</param>
    /// <param name="device">Device of the weights; null for torch's default.</param>
    /// <exception cref="NotSupportedException">The rule, or one of its settings, is not available for TorchSharp layers; the message says
    /// why.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A size, or a setting of the rule, is out of range.</exception>
    public FeedbackConv2d(
        long in_channels, long out_channels, long kernel_size, FeedbackRule rule, long stride = 1, long padding = 0, bool bias = true,
        ulong? seed = null, uint layer = 0, Device? device = null)
        : this(in_channels, out_channels, (kernel_size, kernel_size), rule, stride, padding, bias, seed, layer, device)
    {
    }

    /// <summary>Creates a layer with filters that are not square.</summary>
    /// <param name="in_channels">Input channels.</param>
    /// <param name="out_channels">Output channels.</param>
    /// <param name="kernel_size">Filter rows and columns.</param>
    /// <param name="rule">Learning rule: backprop, feedback alignment, sign symmetry, weight mirror or Kolen-Pollack.</param>
    /// <param name="stride">Stride in both directions.</param>
    /// <param name="padding">Zeros on each side.</param>
    /// <param name="bias">Whether there is a bias.</param>
    /// <param name="seed">Seed of the random numbers of B; null for one from torch's generator.</param>
    /// <param name="layer">Number of the layer among those of the same seed.</param>
    /// <param name="device">Device of the weights; null for torch's default.</param>
    /// <exception cref="NotSupportedException">The rule, or one of its settings, is not available for TorchSharp layers; the message says
    /// why.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A size, or a setting of the rule, is out of range.</exception>
    public FeedbackConv2d(
        long in_channels, long out_channels, (long, long) kernel_size, FeedbackRule rule, long stride = 1, long padding = 0, bool bias = true,
        ulong? seed = null, uint layer = 0, Device? device = null)
        : this(NewConv(in_channels, out_channels, kernel_size, stride, padding, bias, rule, device), rule, seed, layer)
    {
    }

    /// <summary>Takes over the parameters of a Conv2d, which has been checked.</summary>
    internal FeedbackConv2d(Conv2d conv, FeedbackRule rule, ulong? seed, uint layer)
        : base(nameof(FeedbackConv2d), conv.weight, conv.bias, Smallest(conv), rule, seed, layer)
    {
        (in_channels, out_channels) = (conv.in_channels, conv.out_channels);
        (kernel_size, stride, padding) = (conv.kernel_size, conv.stride[0], PaddingOf(conv)!.Value);
    }

    /// <summary>Input channels.</summary>
    public long in_channels { get; }

    /// <summary>Output channels.</summary>
    public long out_channels { get; }

    /// <summary>Filter rows and columns.</summary>
    public IReadOnlyList<long> kernel_size { get; }

    /// <summary>Stride in both directions.</summary>
    public long stride { get; }

    /// <summary>Zeros on each side.</summary>
    public long padding { get; }

    /// <summary>The convolution.</summary>
    /// <param name="input">[N][C][H][W], or [C][H][W] for one image; Float32, on the device of the weights.</param>
    /// <returns>[N][K][P][Q], or [K][P][Q].</returns>
    /// <exception cref="ArgumentException">The input has another number of dimensions or channels, another type or another
    /// device.</exception>
    /// <exception cref="ArgumentOutOfRangeException">There is no image, or the filter is larger than the padded image.</exception>
    public override Tensor forward(Tensor input)
    {
        ArgumentNullException.ThrowIfNull(input);
        long[] sizes = input.shape;
        if (sizes.Length == 3)
        {
            using Tensor batch = input.unsqueeze(0), result = forward(batch);
            return result.squeeze(0);
        }

        if (sizes.Length != 4 || sizes[1] != in_channels)
        {
            throw new ArgumentException(
                $"has the sizes [{string.Join(", ", sizes)}], wanted [images, {in_channels}, rows, columns] or [{in_channels}, rows, columns]", nameof(input));
        }

        var shape = new ConvShape(
            Int32Of(sizes[0]), Int32Of(sizes[2]), Int32Of(sizes[3]), LayerShape.C, LayerShape.K, LayerShape.R, LayerShape.S,
            Int32Of(stride), Int32Of(padding));
        bool channelsLast = input.SuggestsChannelsLast() || weight.SuggestsChannelsLast();
        return Apply(input, shape, channelsLast, [shape.N, shape.K, shape.P, shape.Q], isLinear: false, shape.N);
    }

    /// <summary>Why a Conv2d cannot be converted; null if it can.</summary>
    internal static string? Refusal(Conv2d conv)
    {
        static bool Differ(long[] values) => values[0] != values[1];
        if (conv.transposed) return "it is transposed";
        if (conv.groups != 1) return $"it has {conv.groups} groups, wanted 1";
        if (conv.dilation is not [1, 1]) return $"its dilation is ({string.Join(", ", conv.dilation)}), wanted 1";
        if (conv.padding_mode != PaddingModes.Zeros) return $"its padding mode is {conv.padding_mode}, wanted {PaddingModes.Zeros}";
        if (Differ(conv.stride)) return $"its stride is ({string.Join(", ", conv.stride)}), wanted the same in both directions";
        if (PaddingOf(conv) is null)
        {
            string found = conv.padding is { } padding ? $"({string.Join(", ", padding)})" : $"{conv.padding_type} for filters of {string.Join('x', conv.kernel_size)}";
            return $"its padding is {found}, wanted the same on all sides";
        }

        return conv.weight.dtype == ScalarType.Float32 ? null : $"its weight has the type {conv.weight.dtype}, wanted Float32";
    }

    // Rows and columns of zeros on each side; null if sides differ.
    private static long? PaddingOf(Conv2d conv)
    {
        if (conv.padding is { } padding) return padding[0] == padding[1] ? padding[0] : null;
        if (conv.padding_type == Padding.Valid) return 0;
        long rows = conv.kernel_size[0], columns = conv.kernel_size[1];
        return rows == columns && rows % 2 == 1 ? rows / 2 : null;
    }

    private static ConvShape Smallest(Conv2d conv)
    {
        int r = Int32Of(conv.kernel_size[0]), s = Int32Of(conv.kernel_size[1]);
        return new ConvShape(1, r, s, Int32Of(conv.in_channels), Int32Of(conv.out_channels), r, s, 1, 0);
    }

    private static Conv2d NewConv(
        long inChannels, long outChannels, (long R, long S) kernel, long stride, long padding, bool bias, FeedbackRule rule, Device? device)
    {
        RuleState.Require(rule);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(stride);
        ArgumentOutOfRangeException.ThrowIfNegative(padding);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(stride, int.MaxValue);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(padding, int.MaxValue);
        // Checks the sizes before torch allocates anything.
        _ = new ConvShape(
            1, Int32Of(kernel.R), Int32Of(kernel.S), Int32Of(inChannels), Int32Of(outChannels), Int32Of(kernel.R),
            Int32Of(kernel.S), 1, 0);
        return nn.Conv2d(inChannels, outChannels, kernel, stride: (stride, stride), padding: (padding, padding), bias: bias, device: device, dtype: ScalarType.Float32);
    }
}
