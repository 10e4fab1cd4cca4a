namespace FeedbackKernels.Interop;

/// <summary>A convolution with its operands, as the CPU backend hands it to the kernel that serves it.</summary>
internal unsafe struct ConvCall
{
    public ConvRequest Request;

    /// <summary>x or dx, NHWC.</summary>
    public float* X;

    /// <summary>W, B or dW.</summary>
    public float* Weights;

    /// <summary>y or dy, NPQK.</summary>
    public float* Y;

    /// <summary>Layout of the weights of a feedback pass.</summary>
    public FeedbackLayout Layout;

    /// <summary>Whether the result is added to what its tensor holds.</summary>
    public bool Accumulate;

    /// <summary>Of a forward pass.</summary>
    public ConvEpilogue Epilogue;
}
