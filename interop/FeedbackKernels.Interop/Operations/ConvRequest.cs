namespace FeedbackKernels.Interop;

/// <summary>
/// What a kernel needs to know to serve a convolution or to refuse it. An operation and <see cref="Backend.Explain(in ConvShape, ConvPass)"/>
/// build one each and walk the same list of kernels with it.
/// </summary>
/// <param name="Shape">Sizes.</param>
/// <param name="Pass">Which of the three convolutions.</param>
/// <param name="X">Element type of x or dx.</param>
/// <param name="Weights">Element type of W, B or dW as the kernel reads or writes them.</param>
/// <param name="Y">Element type of y or dy, and of the residual.</param>
/// <param name="Exact">Whether every sum is formed from its products: no Winograd, whose rounding errors are larger.</param>
/// <param name="Alignment">The largest power of two, up to <see cref="FullAlignment"/>, that divides the address of every tensor except x or
/// dx. No CPU kernel depends on addresses, so the CPU backend does not fill in the three alignments.</param>
/// <param name="ChannelAlignment">The same for the vectors of the epilogue, which have one element for each channel.</param>
/// <param name="XAlignment">The same for x or dx: some CUDA kernels accept an unaligned x.</param>
internal readonly record struct ConvRequest(
    ConvShape Shape,
    ConvPass Pass,
    ElementType X,
    ElementType Weights,
    ElementType Y,
    bool Exact = false,
    int Alignment = ConvRequest.FullAlignment,
    int ChannelAlignment = ConvRequest.FullAlignment,
    int XAlignment = ConvRequest.FullAlignment)
{
    /// <summary>Alignment of a buffer that a backend allocates. Kernels do not distinguish larger ones.</summary>
    public const int FullAlignment = 64;

    /// <summary>The request of an operation whose tensors are aligned and have the backend's usual types.</summary>
    /// <param name="shape">Sizes.</param>
    /// <param name="pass">Which of the three convolutions.</param>
    /// <param name="activations">Element type of activations and errors, and of the weights that products read.</param>
    public static ConvRequest Of(in ConvShape shape, ConvPass pass, ElementType activations) =>
        new(shape, pass, activations, pass == ConvPass.WeightGradient ? ElementType.Float32 : activations, activations);
}
