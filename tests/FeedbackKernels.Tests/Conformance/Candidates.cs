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

    /// <summary>These and, last, the emulated device whose tensor cores truncate, where the device does not do so anyway: for operations
    /// that multiply on tensor cores.</summary>
    public static IEnumerable<string> WithTruncation()
    {
        string[] names = [.. new Candidates().Select(row => row.Data)];
        return names.Contains(CudaUnderTest.Bf16Candidate) && !CudaUnderTest.Truncates(CudaUnderTest.Bf16Candidate)
            ? [.. names, CudaUnderTest.TruncatingCandidate]
            : names;
    }

    /// <summary>A backend whose sums of integers are exact, or the one that users have by default.</summary>
    public static Backend Create(string name, int threads = 2, bool exact = true) =>
        name == CudaUnderTest.Candidate ? CudaUnderTest.CreateBackend()
        : name == CudaUnderTest.TruncatingCandidate ? CreateTruncating()
        : name == CudaUnderTest.Bf16Candidate ? CudaUnderTest.CreateBackend(precision: CudaPrecision.Bf16)
        : new CpuBackend(threads, Enum.Parse<SimdLevel>(name.Split(':')[1]), exact);

    private static CudaBackend CreateTruncating()
    {
        using EmulatedDriver.Setting truncating = EmulatedDriver.Truncating();
        return CudaUnderTest.CreateBackend(precision: CudaPrecision.Bf16);
    }

    /// <summary>The definition of what a backend computes: with activations of the same type.</summary>
    public static ReferenceBackend ReferenceOf(Backend backend) => new(backend.ActivationType);
}

/// <summary><see cref="Candidates.WithTruncation"/> as the data of a theory.</summary>
public sealed class TensorCoreCandidates : TheoryData<string>
{
    public TensorCoreCandidates()
    {
        foreach (string name in Candidates.WithTruncation()) Add(name);
    }
}
