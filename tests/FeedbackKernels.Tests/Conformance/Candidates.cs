using FeedbackKernels.Interop;
using FeedbackKernels.Tests.Cuda;

namespace FeedbackKernels.Tests.Conformance;

/// <summary>
/// The backends that are held against the reference, by name: each SIMD level that this process supports, and the CUDA kernels
/// on the driver under test, with activations in binary32 and in bf16.
/// </summary>
public sealed class Candidates : TheoryData<string>
{
    public Candidates()
    {
        foreach (SimdLevel level in SimdLevels.Supported) Add($"cpu:{level}");
        // A process that is told to have narrower vectors has the same device.
        if (!CudaUnderTest.IsThere || Environment.GetEnvironmentVariable(SimdLevelTests.Expected) is not null) return;
        Add(CudaUnderTest.Candidate);
        Add(CudaUnderTest.Bf16Candidate);
    }

    /// <summary>A backend whose sums of integers are exact, or the one that users have by default.</summary>
    public static Backend Create(string name, int threads = 2, bool exact = true) =>
        name == CudaUnderTest.Candidate ? CudaUnderTest.CreateBackend()
        : name == CudaUnderTest.Bf16Candidate ? CudaUnderTest.CreateBackend(precision: CudaPrecision.Bf16)
        : new CpuBackend(threads, Enum.Parse<SimdLevel>(name.Split(':')[1]), exact);

    /// <summary>The definition of what a backend computes: with activations of the same type.</summary>
    public static ReferenceBackend ReferenceOf(Backend backend) => new(backend.ActivationType);
}
