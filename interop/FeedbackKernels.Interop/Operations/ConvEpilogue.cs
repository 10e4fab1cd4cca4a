namespace FeedbackKernels.Interop;

/// <summary>
/// What a forward convolution does to a tile of outputs while it is still in cache:
/// <c>y = activation(scale[k] * conv + bias[k] + residual)</c>, and the statistics of that y. Every part is optional. For a batch norm with
/// known statistics, scale and bias are those of <see cref="Backend.BatchNormFold"/>.
/// </summary>
/// <param name="Scale">K factors.</param>
/// <param name="Bias">K biases.</param>
/// <param name="Residual">A tensor of y's shape that is added before the activation; may be y.</param>
/// <param name="Activation">Applied last.</param>
/// <param name="Statistics">Buffers for mean and variance of each output channel.</param>
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

/// <summary>Buffers for the statistics of a batch (Ioffe and Szegedy 2015, algorithm 1; running ones: section 3.1), each with one element for
/// each channel. None may overlap another operand.</summary>
/// <param name="Mean">Mean of the batch.</param>
/// <param name="Variance">Biased variance of the batch (divided by the number of rows), with which the batch is normalised.</param>
/// <param name="RunningMean">Moves by <paramref name="Momentum"/> towards the mean; optional.</param>
/// <param name="RunningVariance">Moves by <paramref name="Momentum"/> towards the unbiased variance; optional.</param>
/// <param name="Momentum">Weight of the batch in the running statistics, 0 to 1.</param>
public readonly record struct BatchStatistics(
    BufferView Mean,
    BufferView Variance,
    BufferView RunningMean = default,
    BufferView RunningVariance = default,
    float Momentum = 0.1f)
{
    /// <summary>Whether there are no statistics to compute.</summary>
    public bool IsAbsent => Mean.IsAbsent;
}

/// <summary>State from the forward pass of a batch norm that its backward pass needs: one element for each channel in each buffer.</summary>
/// <param name="Mean">Mean of the batch.</param>
/// <param name="Variance">Biased variance of the batch.</param>
/// <param name="Scale">gamma / sqrt(variance + epsilon), from <see cref="Backend.BatchNormFold"/>.</param>
/// <param name="Bias">beta - mean * scale, from <see cref="Backend.BatchNormFold"/>.</param>
/// <param name="Epsilon">Added to the variance; positive and finite.</param>
public readonly record struct BatchNormState(
    BufferView Mean, BufferView Variance, BufferView Scale, BufferView Bias, float Epsilon);

/// <summary>Position of a ReLU relative to a batch norm, for its backward pass.</summary>
public enum ReluPosition
{
    /// <summary>No ReLU.</summary>
    None,

    /// <summary>The batch norm's input is a ReLU's output (conv-ReLU-BN).</summary>
    Before,

    /// <summary>A ReLU follows the batch norm, after the residual if there is one (conv-BN-ReLU).</summary>
    After,
}
