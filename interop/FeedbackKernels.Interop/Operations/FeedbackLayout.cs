namespace FeedbackKernels.Interop;

/// <summary>How the weights of a feedback convolution lie in memory.</summary>
public enum FeedbackLayout
{
    /// <summary>Feedback weights of their own: <c>B[R][S][K][C]</c>.</summary>
    Feedback,

    /// <summary>The forward weights, read transposed: <c>W[R][S][C][K]</c>. This is backprop's weight transport.</summary>
    Forward,
}
