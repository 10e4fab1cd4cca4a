namespace FeedbackKernels.Interop;

/// <summary>
/// How the reduction of a weight gradient is split over blocks. Filters are small and the reduction is long: each split writes partial
/// sums of the whole filter, which are added in order afterwards. One split writes dW itself.
/// </summary>
/// <param name="Each">Output pixels, or boxes of them, that a split reduces over; the last split may have fewer.</param>
/// <param name="Count">Number of splits.</param>
internal readonly record struct SplitK(int Each, int Count)
{
    /// <summary>A split for each <paramref name="each"/> of <paramref name="all"/>.</summary>
    public static SplitK Of(long all, long each) => new(checked((int)each), checked((int)Rounding.DivideUp(all, each)));
}

/// <summary>struct SplitK of native/convolution_weight_gradient.cuh.</summary>
internal unsafe struct NativeSplitK
{
    public int PixelsPerSplit, Accumulate;
    public float* Dw;
}
