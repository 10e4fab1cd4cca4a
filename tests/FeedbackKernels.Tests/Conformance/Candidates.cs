using FeedbackKernels.Interop;

namespace FeedbackKernels.Tests.Conformance;

/// <summary>The backends that are held against the reference, by name: each SIMD level that this process supports.</summary>
public sealed class Candidates : TheoryData<string>
{
    public Candidates()
    {
        foreach (SimdLevel level in SimdLevels.Supported) Add($"cpu:{level}");
    }

    /// <summary>A backend whose sums of integers are exact, or the one that users have by default.</summary>
    public static Backend Create(string name, int threads = 2, bool exact = true) =>
        new CpuBackend(threads, Enum.Parse<SimdLevel>(name.Split(':')[1]), exact);
}
