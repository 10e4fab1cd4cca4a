using FeedbackKernels.Interop;
using FeedbackKernels.Layers;

namespace FeedbackKernels.Models;

/// <summary>Description of a block.</summary>
/// <param name="Name">Name in the model.</param>
public abstract record BlockSpec(string Name)
{
    /// <summary>Size of the output for a size of the input.</summary>
    /// <param name="input">Size of the input.</param>
    /// <exception cref="ArgumentException">The input does not fit.</exception>
    public abstract MapShape Output(MapShape input);

    /// <summary>The convolutions and linear layers for a size of the input, in the order of the forward pass.</summary>
    /// <param name="input">Size of the input.</param>
    /// <param name="images">N.</param>
    public abstract IEnumerable<ConvShape> Convolutions(MapShape input, int images);

    /// <summary>The layers with weights, in the order of the forward pass, a shortcut after the main path of its block.</summary>
    /// <param name="input">Size of the input.</param>
    public abstract IEnumerable<WeightedLayer> Layers(MapShape input);

    /// <summary>Size of a convolution's output.</summary>
    private protected static MapShape OutputOf(in ConvShape shape) => new(shape.P, shape.Q, shape.K);
}

/// <summary>A convolution with a batch norm or a bias, and an activation.</summary>
/// <param name="Name">Name of the convolution.</param>
/// <param name="K">Output channels.</param>
/// <param name="Filter">Rows and columns of the filter.</param>
/// <param name="Stride">Stride.</param>
/// <param name="Padding">Padding.</param>
/// <param name="Norm">Name of its batch norm, or null for a bias instead.</param>
/// <param name="Activation">Activation.</param>
/// <param name="Init">Distribution of the initial weights.</param>
/// <param name="ZeroGamma">Whether the norm's gamma starts at 0.</param>
public sealed record ConvSpec(
    string Name, int K, int Filter, int Stride, int Padding, string? Norm, Activation Activation = Activation.Relu,
    WeightInit Init = WeightInit.He, bool ZeroGamma = false) : BlockSpec(Name)
{
    /// <summary>The convolution on an input.</summary>
    /// <param name="input">Size of the input.</param>
    /// <param name="images">N.</param>
    /// <exception cref="ArgumentOutOfRangeException">A size is not positive, or the filter is larger than the padded input.</exception>
    public ConvShape On(MapShape input, int images = 1) => new(images, input.H, input.W, input.C, K, Filter, Filter, Stride, Padding);

    /// <inheritdoc/>
    public override MapShape Output(MapShape input) => OutputOf(On(input));

    /// <inheritdoc/>
    public override IEnumerable<ConvShape> Convolutions(MapShape input, int images) => [On(input, images)];

    /// <inheritdoc/>
    public override IEnumerable<WeightedLayer> Layers(MapShape input) => [new(Name, K, input.C, Filter, Filter, IsLinear: false, Norm)];
}

/// <summary>A linear layer with bias on all features of the map.</summary>
/// <param name="Name">Name of the layer.</param>
/// <param name="K">Outputs.</param>
/// <param name="Activation">Activation.</param>
/// <param name="Init">Distribution of the initial weights.</param>
public sealed record LinearSpec(string Name, int K, Activation Activation, WeightInit Init) : BlockSpec(Name)
{
    /// <summary>The layer on an input, whose whole map is one row of features.</summary>
    /// <param name="input">Size of the input.</param>
    /// <param name="images">N.</param>
    /// <exception cref="ArgumentOutOfRangeException">A size is not positive, or the map has more than 2^31 - 1 features.</exception>
    public ConvShape On(MapShape input, int images = 1) => ConvShape.Linear(images, input.Length, K);

    /// <inheritdoc/>
    public override MapShape Output(MapShape input) => OutputOf(On(input));

    /// <inheritdoc/>
    public override IEnumerable<ConvShape> Convolutions(MapShape input, int images) => [On(input, images)];

    /// <inheritdoc/>
    public override IEnumerable<WeightedLayer> Layers(MapShape input) => [new(Name, K, input.C, input.H, input.W, IsLinear: true, Norm: null)];
}

/// <summary>A residual block: a sequence of convolutions whose output is added to the input or to a projection of it (He et al. 2016, eqs. 1
/// and 2).</summary>
/// <param name="Name">Name of the block.</param>
/// <param name="Main">The main path.</param>
/// <param name="Shortcut">The projection; null for the identity.</param>
public sealed record ResidualSpec(string Name, IReadOnlyList<ConvSpec> Main, ConvSpec? Shortcut) : BlockSpec(Name)
{
    /// <inheritdoc/>
    public override MapShape Output(MapShape input) => Main.Aggregate(input, (map, conv) => conv.Output(map));

    /// <inheritdoc/>
    public override IEnumerable<ConvShape> Convolutions(MapShape input, int images)
    {
        if (Shortcut is not null) yield return Shortcut.On(input, images);
        MapShape map = input;
        foreach (ConvSpec conv in Main)
        {
            yield return conv.On(map, images);
            map = conv.Output(map);
        }
    }

    /// <inheritdoc/>
    public override IEnumerable<WeightedLayer> Layers(MapShape input)
    {
        MapShape map = input;
        foreach (ConvSpec conv in Main)
        {
            foreach (WeightedLayer layer in conv.Layers(map)) yield return layer;
            map = conv.Output(map);
        }

        foreach (WeightedLayer layer in Shortcut?.Layers(input) ?? []) yield return layer;
    }
}

/// <summary>A pooling.</summary>
/// <param name="Name">Name of the block.</param>
/// <param name="Kind">Maximum or mean.</param>
/// <param name="Window">Rows and columns of the window; 0 for the whole map (global pooling: Lin, Chen and Yan 2014).</param>
/// <param name="Stride">Stride.</param>
/// <param name="Padding">Padding.</param>
public sealed record PoolSpec(string Name, PoolKind Kind, int Window, int Stride = 1, int Padding = 0) : BlockSpec(Name)
{
    /// <summary>The pooling on an input.</summary>
    /// <param name="input">Size of the input.</param>
    /// <exception cref="ArgumentOutOfRangeException">A size is not positive, the window does not fit, or it could lie wholly on the
    /// padding.</exception>
    public PoolShape On(MapShape input) => Window == 0
        ? PoolShape.Global(1, input.H, input.W, input.C)
        : new PoolShape(1, input.H, input.W, input.C, Window, Window, Stride, Padding);

    /// <inheritdoc/>
    public override MapShape Output(MapShape input)
    {
        PoolShape shape = On(input);
        return new MapShape(shape.P, shape.Q, shape.C);
    }

    /// <inheritdoc/>
    public override IEnumerable<ConvShape> Convolutions(MapShape input, int images) => [];

    /// <inheritdoc/>
    public override IEnumerable<WeightedLayer> Layers(MapShape input) => [];
}

/// <summary>Description of a model.</summary>
/// <param name="Name">Name on the command line.</param>
/// <param name="Input">Size of an image.</param>
/// <param name="Classes">Number of logits.</param>
/// <param name="Loss">What training minimises.</param>
/// <param name="Order">Order of batch norms and activations.</param>
/// <param name="Blocks">The blocks, in order.</param>
public sealed record ModelSpec(
    string Name, MapShape Input, int Classes, LossKind Loss, NormOrder Order, IReadOnlyList<BlockSpec> Blocks)
{
    /// <summary>All layers with weights, in the order of the forward pass, a shortcut after the main path of its block.</summary>
    public IEnumerable<WeightedLayer> Layers()
    {
        MapShape map = Input;
        foreach (BlockSpec block in Blocks)
        {
            foreach (WeightedLayer layer in block.Layers(map)) yield return layer;
            map = block.Output(map);
        }
    }
}
