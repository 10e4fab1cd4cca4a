using FeedbackKernels.Interop;
using FeedbackKernels.Layers;

namespace FeedbackKernels.Models;

/// <summary>A piece of a model, as data.</summary>
/// <param name="Name">Name in the model.</param>
public abstract record BlockSpec(string Name);

/// <summary>A convolution with its norm or bias and its activation.</summary>
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
    WeightInit Init = WeightInit.He, bool ZeroGamma = false) : BlockSpec(Name);

/// <summary>A linear layer with bias on all features of the map.</summary>
/// <param name="Name">Name of the layer.</param>
/// <param name="K">Outputs.</param>
/// <param name="Activation">Activation.</param>
/// <param name="Init">Distribution of the initial weights.</param>
public sealed record LinearSpec(string Name, int K, Activation Activation, WeightInit Init) : BlockSpec(Name);

/// <summary>A residual block: convolutions one after another, joined with the input or a projection of it.</summary>
/// <param name="Name">Name of the block.</param>
/// <param name="Main">The main path.</param>
/// <param name="Shortcut">The projection; null for the identity.</param>
public sealed record ResidualSpec(string Name, IReadOnlyList<ConvSpec> Main, ConvSpec? Shortcut) : BlockSpec(Name);

/// <summary>A pooling.</summary>
/// <param name="Name">Name of the block.</param>
/// <param name="Kind">Maximum or mean.</param>
/// <param name="Window">Rows and columns of the window; 0 for the whole map.</param>
/// <param name="Stride">Stride.</param>
/// <param name="Padding">Padding.</param>
public sealed record PoolSpec(string Name, PoolKind Kind, int Window, int Stride = 1, int Padding = 0) : BlockSpec(Name);

/// <summary>A whole model, as data.</summary>
/// <param name="Name">Name on the command line.</param>
/// <param name="Input">Size of an image.</param>
/// <param name="Classes">Number of logits.</param>
/// <param name="Loss">What training minimises.</param>
/// <param name="Order">Order of batch norms and activations.</param>
/// <param name="Blocks">The pieces, in order.</param>
public sealed record ModelSpec(
    string Name, MapShape Input, int Classes, LossKind Loss, NormOrder Order, IReadOnlyList<BlockSpec> Blocks);
