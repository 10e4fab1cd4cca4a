using FeedbackKernels.Interop;

namespace FeedbackKernels.Layers;

/// <summary>
/// A convolution with its weights and whatever carries errors back through it. A linear layer is the 1x1 case on a 1x1
/// map.
/// </summary>
public sealed class ConvLayer : IDisposable
{
    private ConvShape _shape;

    /// <summary>Allocates the weights.</summary>
    /// <param name="backend">Where they live.</param>
    /// <param name="name">Name in the model.</param>
    /// <param name="index">Number of the layer in the model: names its random streams.</param>
    /// <param name="shape">Sizes; N is not used.</param>
    /// <param name="bias">Whether there is a bias.</param>
    /// <param name="init">Distribution of the initial weights.</param>
    /// <exception cref="ArgumentOutOfRangeException">There are more weights than an array holds.</exception>
    public ConvLayer(Backend backend, string name, uint index, in ConvShape shape, bool bias, WeightInit init)
    {
        ArgumentNullException.ThrowIfNull(backend);
        if (shape.WeightLength > Array.MaxLength)
        {
            throw new ArgumentOutOfRangeException(
                nameof(shape), $"{shape.R}*{shape.S}*{shape.C}*{shape.K}", $"{name} has {shape.WeightLength} weights; at most {Array.MaxLength} are supported");
        }

        Backend = backend;
        Name = name;
        Index = index;
        Init = init;
        _shape = shape;
        Weight = new Parameter(backend, $"{name}.weight", [shape.R, shape.S, shape.C, shape.K], decays: true, multiplies: true);
        if (bias) Bias = new Parameter(backend, $"{name}.bias", [shape.K], decays: false);
    }

    /// <summary>Where the layer lives.</summary>
    public Backend Backend { get; }

    /// <summary>Name in the model, as <c>layer1.0.conv1</c>.</summary>
    public string Name { get; }

    /// <summary>Number of the layer in the model.</summary>
    public uint Index { get; }

    /// <summary>Distribution of the initial weights.</summary>
    public WeightInit Init { get; }

    /// <summary>W, [R][S][C][K].</summary>
    public Parameter Weight { get; }

    /// <summary>K summands, where there are any.</summary>
    public Parameter? Bias { get; }

    /// <summary>Whether a batch norm follows, so that the net does not see the scale of W.</summary>
    public bool IsNormed { get; init; }

    /// <summary>Whether the layer takes its whole input map as the channels of one pixel.</summary>
    internal bool IsLinear { get; init; }

    /// <summary>What carries errors to the layer's input, or to its output past the layers above; null for a layer that
    /// needs neither (the first one).</summary>
    public Feedback? Feedback { get; internal set; }

    /// <summary>Sizes for a number of images.</summary>
    /// <param name="images">N.</param>
    /// <exception cref="ArgumentOutOfRangeException">The number is not positive, or a tensor would have more than 2^40 elements.</exception>
    public ConvShape Shape(int images = 1) => _shape.WithBatch(images);

    /// <summary>Sets the sizes of the maps; the weights stay.</summary>
    /// <param name="input">Size of the input.</param>
    /// <exception cref="ArgumentException">The weights do not fit the input, or the filter is larger than the padded input.</exception>
    internal void Resize(MapShape input)
    {
        ConvShape shape = IsLinear
            ? ConvShape.Linear(_shape.N, input.Length, _shape.K)
            : new ConvShape(_shape.N, input.H, input.W, input.C, _shape.K, _shape.R, _shape.S, _shape.Stride, _shape.Padding);
        if (shape.WeightLength != _shape.WeightLength)
            throw new ArgumentException($"{Name} has weights for {_shape.C} inputs; a map of {input} has {shape.C}", nameof(input));
        _shape = shape;
    }

    /// <summary>Draws the initial weights from <see cref="Init"/>; the bias starts at zero.</summary>
    /// <param name="seed">Seed of the run.</param>
    public void Initialise(ulong seed)
    {
        var weights = new float[Weight.Length];
        Init.Fill(_shape, new RandomKey(seed, RandomPurpose.ForwardWeights, Index), weights);
        Backend.Upload<float>(weights, Weight.Value);
        Weight.RefreshCopy();
        if (Bias is not null) Backend.Fill(Bias.Value, 0);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Weight.Dispose();
        Bias?.Dispose();
        Feedback?.Dispose();
    }
}
