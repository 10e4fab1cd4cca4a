namespace FeedbackKernels.Interop;

/// <summary>Creates a backend from the settings of a user.</summary>
public static class Backends
{
    /// <summary>Valid names for <see cref="Create"/>.</summary>
    public static IReadOnlyList<string> Names { get; } = ["auto", "cpu", "cuda", "reference"];

    /// <summary>
    /// Creates a backend. <c>auto</c> is <c>cuda</c> if there is a usable GPU, and <c>cpu</c> if this build, the machine or its driver
    /// has none; <see cref="Backend.Choice"/> gives the reason.
    /// </summary>
    /// <param name="name">One of <see cref="Names"/>.</param>
    /// <param name="threads">Threads of the CPU backend; 0 for one per processor.</param>
    /// <param name="level">Vector width of the CPU backend; null for the widest.</param>
    /// <param name="exact">Turns Winograd convolutions (Lavin and Gray 2016) off on the CPU backend; the others have none.</param>
    /// <param name="precision">Type of activations and products of the CUDA backend; the others compute in fp32.</param>
    /// <param name="device">Device of the CUDA backend, by the driver's numbering.</param>
    /// <param name="graphs">Whether the CUDA backend launches steps as graphs; the others have none.</param>
    /// <exception cref="ArgumentException">The name is unknown, threads or a vector width are given for another backend than the CPU's,
    /// or a device for another than the CUDA backend.</exception>
    /// <exception cref="PlatformNotSupportedException">The machine does not have the vector width, or a GPU. The message names what was
    /// tried.</exception>
    /// <exception cref="CudaException">There is a GPU, but it could not be opened.</exception>
    public static Backend Create(
        string name, int threads = 0, SimdLevel? level = null, bool exact = false, CudaPrecision precision = CudaPrecision.Fp32, int device = 0,
        bool graphs = true)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(device);
        switch (name)
        {
            case "cpu" or "reference" when precision != CudaPrecision.Fp32:
                throw new ArgumentException($"backend '{name}' computes in fp32; bf16 is the CUDA backend's", nameof(precision));
            case "cpu" or "reference" when device > 0:
                throw new ArgumentException($"backend '{name}' has no device {device}; devices are the CUDA backend's", nameof(device));
            case "auto":
                return CreateFastest(threads, level, exact, precision, device, graphs);
            case "cpu":
                return new CpuBackend(threads, level, exact);
            case "cuda":
                return CreateCuda(threads, level, precision, device, graphs, choice: null);
            case "reference" when threads > 1 || level is not null:
                throw new ArgumentException(
                    "backend 'reference' runs plain loops on one thread; it takes neither threads nor a SIMD level", nameof(name));
            case "reference":
                return new ReferenceBackend();
            default:
                throw new ArgumentException($"no backend '{name}' in this build; there are {string.Join(", ", Names)}", nameof(name));
        }
    }

    private static Backend CreateFastest(int threads, SimdLevel? level, bool exact, CudaPrecision precision, int device, bool graphs)
    {
        if (precision != CudaPrecision.Fp32) return CreateCuda(threads, level, precision, device, graphs, "it alone computes in bf16");
        if (device > 0) return CreateCuda(threads, level, precision, device, graphs, "a device is given");
        if (threads > 0 || level is not null || exact)
            return new CpuBackend(threads, level, exact) { Choice = "settings of the CPU backend are given" };
        try
        {
            return new CudaBackend(graphs: graphs) { Choice = "there is a GPU" };
        }
        catch (PlatformNotSupportedException e)
        {
            return new CpuBackend { Choice = $"cuda cannot be used: {e.Message}", ShortChoice = WithoutCuda() };
        }
    }

    /// <summary>Why no GPU was found, in a few words.</summary>
    private static string WithoutCuda()
    {
        if (!CudaKernels.Exist) return "this build has no CUDA kernels";
        return CudaLibrary.LoadedPath is null ? "no NVIDIA driver" : "no GPU that the NVIDIA driver and this build can use";
    }

    private static CudaBackend CreateCuda(int threads, SimdLevel? level, CudaPrecision precision, int device, bool graphs, string? choice)
    {
        if (threads > 0 || level is not null)
        {
            throw new ArgumentException(
                "backend 'cuda' runs on a GPU; it takes neither threads nor a SIMD level", threads > 0 ? nameof(threads) : nameof(level));
        }

        return new CudaBackend(device, precision: precision, graphs: graphs) { Choice = choice };
    }
}
