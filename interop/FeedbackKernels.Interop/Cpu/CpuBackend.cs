using System.Runtime.InteropServices;

namespace FeedbackKernels.Interop;

/// <summary>
/// The CPU backend: vector kernels on all threads. Results depend on the shapes and the SIMD level alone, never on the
/// number of threads: work is cut by shape, and every sum has a fixed order.
/// </summary>
public sealed unsafe partial class CpuBackend : Backend
{
    private readonly CpuKernels* _kernels;
    private readonly WorkerPool _pool;
    private readonly CpuScratch _scratch = new();
    private bool _disposed;

    /// <summary>Starts the threads.</summary>
    /// <param name="threads">Threads to compute on; 0 for one a processor.</param>
    /// <param name="level">Vector width; null for the widest there is.</param>
    /// <param name="exact">Computes convolutions by their sums alone: no Winograd, whose errors are larger.</param>
    /// <exception cref="ArgumentOutOfRangeException">The number of threads is negative.</exception>
    /// <exception cref="PlatformNotSupportedException">This machine, or the runtime's settings, lack the level asked for.</exception>
    public CpuBackend(int threads = 0, SimdLevel? level = null, bool exact = false)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(threads);
        Exact = exact;
        Level = level ?? SimdLevels.Widest;
        if (!SimdLevels.IsSupported(Level))
        {
            throw new PlatformNotSupportedException(
                $"SIMD level {Level} is not to be had here; supported: {string.Join(", ", SimdLevels.Supported)}");
        }

        _kernels = CpuKernels.Create(Level);
        _pool = new WorkerPool(threads == 0 ? Environment.ProcessorCount : threads);
    }

    /// <summary>The vector width that the kernels run at.</summary>
    public SimdLevel Level { get; }

    /// <summary>Whether Winograd convolutions are off.</summary>
    public bool Exact { get; }

    /// <summary>Bytes of working memory, which grow to what the largest operation so far needed.</summary>
    public long ScratchBytes => _scratch.Bytes;

    /// <summary>Threads that compute.</summary>
    public int Threads => _pool.Threads;

    /// <inheritdoc/>
    public override string Name => "cpu";

    /// <inheritdoc/>
    public override string Description =>
        $"{Level}, {_kernels->Tiles.Lanes} floats a vector, {Threads} thread{(Threads == 1 ? "" : "s")}{(Exact ? ", no Winograd" : "")}";

    /// <inheritdoc/>
    public override bool HostAddressable => true;

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (!_disposed)
        {
            _disposed = true;
            if (disposing)
            {
                _pool.Dispose();
                _scratch.Dispose();
            }

            NativeMemory.Free(_kernels);
        }

        base.Dispose(disposing);
    }

    internal override SafeHandle AllocateMemory(long bytes, string purpose) => new NativeMemoryHandle(bytes);

    internal override void UploadBytes(ReadOnlySpan<byte> source, nint destination) =>
        source.CopyTo(new Span<byte>((void*)destination, source.Length));

    internal override void DownloadBytes(nint source, Span<byte> destination) =>
        new ReadOnlySpan<byte>((void*)source, destination.Length).CopyTo(destination);
}
