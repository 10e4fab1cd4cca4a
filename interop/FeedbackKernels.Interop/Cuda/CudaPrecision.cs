namespace FeedbackKernels.Interop;

/// <summary>How the CUDA backend forms the products of convolutions and of the mirror. Tensors and all other operations are
/// binary32 either way.</summary>
public enum CudaPrecision
{
    /// <summary>In binary32.</summary>
    Fp32,

    /// <summary>From operands that are rounded to bf16 on the way: products exact, accumulated in fp32 by the tensor cores.</summary>
    Bf16,
}
