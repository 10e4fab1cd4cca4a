namespace FeedbackKernels.Interop;

/// <summary>The type in which the CUDA backend multiplies and stores activations and errors. Master weights, their gradients and
/// velocities, batch norms and losses are binary32 in either case.</summary>
public enum CudaPrecision
{
    /// <summary>Products and activations in binary32.</summary>
    Fp32,

    /// <summary>Activations, errors and copies of the weights in bf16, multiplied on tensor cores and accumulated in fp32.</summary>
    Bf16,
}
