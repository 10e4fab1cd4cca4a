namespace FeedbackKernels.Interop;

/// <summary>
/// What a forward convolution on arrays of the host does to y before it leaves the cache:
/// <c>y = activation(y * Scale[k] + Bias[k] + Residual)</c>, and the statistics of the batch. What is not set is left out.
/// The same as <see cref="ConvEpilogue"/>, on spans.
/// </summary>
public readonly ref struct HostEpilogue
{
    /// <summary>K factors.</summary>
    public ReadOnlySpan<float> Scale { get; init; }

    /// <summary>K biases.</summary>
    public ReadOnlySpan<float> Bias { get; init; }

    /// <summary>A tensor of y's shape that is added before the activation; may be y.</summary>
    public ReadOnlySpan<float> Residual { get; init; }

    /// <summary>Applied last.</summary>
    public Activation Activation { get; init; }

    /// <summary>Gets the K means of the batch, of y as the sums leave it; given together with <see cref="Variance"/>.</summary>
    public Span<float> Mean { get; init; }

    /// <summary>Gets the K biased variances of the batch.</summary>
    public Span<float> Variance { get; init; }
}
