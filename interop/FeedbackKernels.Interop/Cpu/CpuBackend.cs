using System.Runtime.InteropServices;

namespace FeedbackKernels.Interop;

/// <summary>
/// The CPU backend: vector kernels on all threads. Results depend on the shapes and the SIMD level alone, never on the number of threads:
/// the division of the work depends on the shape, and every sum has a fixed order.
/// </summary>
public sealed unsafe partial class CpuBackend : Backend
{
    private readonly CpuKernels* _kernels;
    private readonly WorkerPool _pool;
    private readonly CpuScratch _scratch;

    /// <summary>Most threads of a backend: more than the processors of any machine, and far fewer than a process may start.</summary>
    public const int MostThreads = 1024;

    /// <summary>Starts the threads.</summary>
    /// <param name="threads">Threads that compute, up to <see cref="MostThreads"/>; 0 for one per processor.</param>
    /// <param name="level">Vector width; null for the widest supported one.</param>
    /// <param name="exact">Turns Winograd convolutions (Lavin and Gray 2016) off. Their rounding errors are larger than those of direct
    /// sums.</param>
    /// <exception cref="ArgumentOutOfRangeException">The number of threads is negative, or more than
    /// <see cref="MostThreads"/>.</exception>
    /// <exception cref="InsufficientMemoryException">The system does not let this process start that many threads.</exception>
    /// <exception cref="PlatformNotSupportedException">This machine, or the runtime's settings, do not support the level.</exception>
    public CpuBackend(int threads = 0, SimdLevel? level = null, bool exact = false) : this(new GrowingScratch(), threads, level, exact)
    {
    }

    /// <summary>The same with other scratch memory.</summary>
    internal CpuBackend(CpuScratch scratch, int threads, SimdLevel? level, bool exact)
    {
        if (threads is < 0 or > MostThreads)
            throw new ArgumentOutOfRangeException(nameof(threads), threads, $"wanted 1 to {MostThreads} threads, or 0 for one a processor");
        Exact = exact;
        Level = level ?? SimdLevels.Widest;
        if (!SimdLevels.IsSupported(Level))
        {
            throw new PlatformNotSupportedException(
                $"SIMD level {Level} is not supported on this CPU, or by the runtime's settings; supported: {string.Join(", ", SimdLevels.Supported)}");
        }

        _kernels = CpuKernels.For(Level);
        _scratch = scratch;
        _pool = new WorkerPool(threads == 0 ? Math.Min(Environment.ProcessorCount, MostThreads) : threads, works: scratch is not MeasuringScratch);
    }

    /// <summary>Ends the threads of a backend that was not disposed. The threads reference the pool, not the backend.</summary>
    ~CpuBackend() => Dispose(false);

    /// <summary>The vector width of the kernels.</summary>
    public SimdLevel Level { get; }

    /// <summary>Whether Winograd convolutions (Lavin and Gray 2016) are off.</summary>
    public bool Exact { get; }

    /// <summary>Bytes of scratch memory. It grows to the needs of the largest operation so far.</summary>
    public long ScratchBytes => _scratch.Bytes;

    /// <summary>Threads that compute, including the caller's.</summary>
    public int Threads => _pool.Threads;

    /// <summary>The kernels of the SIMD level.</summary>
    internal CpuKernels* Kernels => _kernels;

    internal WorkerPool Pool => _pool;

    internal CpuScratch Scratch => _scratch;

    /// <summary>The threads besides the caller's.</summary>
    internal IReadOnlyList<Thread> Workers => _pool.Workers;

    /// <inheritdoc/>
    public override string Name => "cpu";

    /// <inheritdoc/>
    public override string Description =>
        $"{Level}, {_kernels->Tiles.Lanes} floats a vector, {Threads} thread{(Threads == 1 ? "" : "s")}{(Exact ? ", no Winograd" : "")}";

    /// <inheritdoc/>
    public override string Arithmetic => $"cpu, {Level}{(Exact ? ", no Winograd" : "")}";

    /// <inheritdoc/>
    public override bool HostAddressable => true;

    internal override void Entered() => _scratch.Begin();

    /// <summary>Bytes of scratch memory that an operation would take.</summary>
    /// <param name="operation">Calls the core of the operation, on memory that need not exist.</param>
    internal long MeasureScratch(Action<CpuBackend> operation)
    {
        using var scratch = new MeasuringScratch();
        using var backend = new CpuBackend(scratch, Threads, Level, Exact);
        operation(backend);
        return scratch.Bytes;
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            _pool.Dispose();
            _scratch.Dispose();
        }
        else
        {
            // Null if the constructor threw. The other members have their own finalizers.
            _pool?.Stop();
        }

        base.Dispose(disposing);
    }

    internal override SafeHandle AllocateMemory(long bytes, string purpose) => new NativeMemoryHandle(bytes);

    internal override void UploadBytes(ReadOnlySpan<byte> source, nint destination) =>
        source.CopyTo(new Span<byte>((void*)destination, source.Length));

    internal override void DownloadBytes(nint source, Span<byte> destination) =>
        new ReadOnlySpan<byte>((void*)source, destination.Length).CopyTo(destination);

    /// <summary>Runs an elementwise kernel on all threads.</summary>
    private void Map(delegate*<MapArguments*, long, void> kernel, long length, in MapArguments arguments)
    {
        var job = new MapJob { Kernel = kernel, Arguments = arguments, Length = length };
        _pool.Run(job.Items, ref job);
    }
}
