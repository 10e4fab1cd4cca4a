namespace FeedbackKernels.Interop;

/// <summary>
/// What a forward convolution does to a tile of outputs while it is still in cache:
/// <c>y = activation(scale[k] * conv + bias[k] + residual)</c>, and statistics of the y so made. Everything is optional.
/// </summary>
/// <param name="Scale">K factors.</param>
/// <param name="Bias">K summands.</param>
/// <param name="Residual">A tensor of y's shape that is added before the activation; may be y.</param>
/// <param name="Activation">Applied last.</param>
/// <param name="Statistics">Where the mean and variance of each output channel go.</param>
public readonly record struct ConvEpilogue(
    BufferView Scale = default,
    BufferView Bias = default,
    BufferView Residual = default,
    Activation Activation = Activation.None,
    BatchStatistics Statistics = default)
{
    internal bool IsAbsent =>
        Scale.IsAbsent && Bias.IsAbsent && Residual.IsAbsent && Activation == Activation.None && Statistics.IsAbsent;
}

/// <summary>Where the statistics of a batch go: one element a channel in each buffer, none of which overlaps another operand.</summary>
/// <param name="Mean">Mean of the batch.</param>
/// <param name="Variance">Biased variance of the batch (divided by the number of rows): what normalises the batch.</param>
/// <param name="RunningMean">Moves by <paramref name="Momentum"/> towards the mean; optional.</param>
/// <param name="RunningVariance">Moves by <paramref name="Momentum"/> towards the unbiased variance; optional.</param>
/// <param name="Momentum">Share of the batch in the running statistics, 0 to 1.</param>
public readonly record struct BatchStatistics(
    BufferView Mean,
    BufferView Variance,
    BufferView RunningMean = default,
    BufferView RunningVariance = default,
    float Momentum = 0.1f)
{
    /// <summary>Whether no statistics are wanted.</summary>
    public bool IsAbsent => Mean.IsAbsent;
}

/// <summary>What the backward pass of a batch norm needs of its forward pass: one element a channel in each buffer.</summary>
/// <param name="Mean">Mean of the batch.</param>
/// <param name="Variance">Biased variance of the batch.</param>
/// <param name="Scale">gamma / sqrt(variance + epsilon), from <see cref="Backend.BatchNormFold"/>.</param>
/// <param name="Bias">beta - mean * scale, from <see cref="Backend.BatchNormFold"/>.</param>
/// <param name="Epsilon">Added to the variance; positive and finite.</param>
public readonly record struct BatchNormState(
    BufferView Mean, BufferView Variance, BufferView Scale, BufferView Bias, float Epsilon);

/// <summary>Where ReLU stands relative to a batch norm, seen from its backward pass.</summary>
public enum ReluPosition
{
    /// <summary>There is none.</summary>
    None,

    /// <summary>The batch norm's input is a ReLU's output (conv-ReLU-BN).</summary>
    Before,

    /// <summary>The batch norm's output, with the residual if there is one, goes through a ReLU (conv-BN-ReLU).</summary>
    After,
}
