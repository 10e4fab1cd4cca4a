namespace FeedbackKernels.Interop;

/// <summary>How the CUDA backend forms the products of convolutions and of the mirror, and what it stores activations and errors
/// in. Master weights, their gradients and velocities, batch norms and losses are binary32 either way.</summary>
public enum CudaPrecision
{
    /// <summary>Products and activations in binary32.</summary>
    Fp32,

    /// <summary>Activations, errors and copies of the weights in bf16; products of those on tensor cores, exact, and accumulated
    /// in fp32.</summary>
    Bf16,
}
