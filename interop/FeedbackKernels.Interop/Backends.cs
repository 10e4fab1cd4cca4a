namespace FeedbackKernels.Interop;

/// <summary>Makes a backend from what a user asks for.</summary>
public static class Backends
{
    /// <summary>Names that <see cref="Create"/> takes.</summary>
    public static IReadOnlyList<string> Names { get; } = ["auto", "cpu", "reference"];

    /// <summary>Makes a backend; <c>auto</c> is the fastest that this machine has, at present always <c>cpu</c>.</summary>
    /// <param name="name">One of <see cref="Names"/>.</param>
    /// <param name="threads">Threads of the CPU backend; 0 for one a processor.</param>
    /// <param name="level">Vector width of the CPU backend; null for the widest.</param>
    /// <param name="exact">No Winograd convolutions on the CPU backend; the reference has none.</param>
    /// <exception cref="ArgumentException">There is no backend of that name in this build, or the reference backend was
    /// asked for threads or a vector width.</exception>
    /// <exception cref="PlatformNotSupportedException">The machine lacks the vector width.</exception>
    public static Backend Create(string name, int threads = 0, SimdLevel? level = null, bool exact = false)
    {
        switch (name)
        {
            case "auto" or "cpu":
                return new CpuBackend(threads, level, exact);
            case "reference" when threads > 1 || level is not null:
                throw new ArgumentException("backend 'reference' runs plain loops on one thread; it takes neither threads nor a SIMD level", nameof(name));
            case "reference":
                return new ReferenceBackend();
            default:
                throw new ArgumentException($"no backend '{name}' in this build; there are {string.Join(", ", Names)}", nameof(name));
        }
    }
}
