using FeedbackKernels.Interop;

namespace FeedbackKernels.Tests.Cuda;

/// <summary>
/// The CUDA driver that the kernels are tested on: the emulated one; or, where <see cref="CudaLibrary.EnvironmentVariable"/>
/// names a library, that one and the device behind it, as <c>libcuda.so.1</c> on a machine with a GPU.
/// </summary>
internal static class CudaUnderTest
{
    /// <summary>The library that was named; null for the emulated driver.</summary>
    public static string? Named { get; } =
        Environment.GetEnvironmentVariable(CudaLibrary.EnvironmentVariable) is { Length: > 0 } name ? name : null;

    /// <summary>What test names call it.</summary>
    public static string Candidate => Named is null ? "cuda:Emulated" : "cuda:Device";

    /// <summary>The same with activations in bf16.</summary>
    public static string Bf16Candidate => Candidate + ", bf16";

    /// <summary>The emulated driver with activations in bf16 and tensor cores that truncate, as those of GPUs do.</summary>
    public const string TruncatingCandidate = "cuda:Emulated, bf16, truncating";

    /// <summary>Whether the tensor cores of a candidate truncate.</summary>
    public static bool Truncates(string candidate) =>
        candidate == TruncatingCandidate || (candidate == Bf16Candidate && (Named is not null || EmulatedDriver.Truncates));

    /// <summary>Whether there is one. One that is named and cannot be used is a failure, not an absence.</summary>
    public static bool IsThere => Named is not null || EmulatedDriver.IsThere;

    /// <summary>Skips a test where there is none, and says why.</summary>
    public static void Require()
    {
        if (Named is null) EmulatedDriver.Require();
    }

    public static CudaBackend CreateBackend(nint stream = 0, CudaPrecision precision = CudaPrecision.Fp32) =>
        new(stream: stream, driver: Named ?? EmulatedDriver.Path, precision: precision);
}
