namespace FeedbackKernels.Interop;

/// <summary>How the CUDA backend forms the products of convolutions and of the mirror. Tensors, sums and all other operations
/// are binary32 either way.</summary>
public enum CudaPrecision
{
    /// <summary>In binary32.</summary>
    Fp32,

    /// <summary>On tensor cores, from operands that are rounded to bf16 on the way: products exact, sums in binary32.</summary>
    Bf16,
}
