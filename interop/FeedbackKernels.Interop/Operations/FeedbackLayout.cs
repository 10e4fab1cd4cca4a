namespace FeedbackKernels.Interop;

/// <summary>Memory layout of the weights of a feedback convolution.</summary>
public enum FeedbackLayout
{
    /// <summary>Separate feedback weights: <c>B[R][S][K][C]</c>.</summary>
    Feedback,

    /// <summary>The forward weights, read transposed: <c>W[R][S][C][K]</c>. This is backprop's weight transport.</summary>
    Forward,
}
