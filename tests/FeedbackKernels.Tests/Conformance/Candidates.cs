using FeedbackKernels.Interop;

namespace FeedbackKernels.Tests.Conformance;

/// <summary>The backends that are held against the reference, by name: each SIMD level that this process supports.</summary>
public sealed class Candidates : TheoryData<string>
{
    public Candidates()
    {
        foreach (SimdLevel level in SimdLevels.Supported) Add($"cpu:{level}");
    }

    public static Backend Create(string name, int threads = 2) =>
        new CpuBackend(threads, Enum.Parse<SimdLevel>(name.Split(':')[1]));
}
