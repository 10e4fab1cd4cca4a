using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace FeedbackKernels.Interop;

/// <summary>
/// The CUDA backend: the kernels of <c>native/</c> on one NVIDIA GPU, through nothing but its driver. Work is queued on one
/// stream and operations return at once; <see cref="Backend.Upload{T}"/>, <see cref="Backend.Download{T}"/> and operations
/// that return numbers wait.
/// Every sum has an order that the shapes alone decide: one model of device and driver gives the same bits on every run.
/// </summary>
public sealed unsafe partial class CudaBackend : Backend
{
    private readonly CudaDevice _device;
    private readonly CudaContext _context;
    private readonly CudaStream? _ownStream;
    private readonly nint _stream;
    private readonly CudaKernels _kernels;
    private readonly CudaScratch _scratch;
    private bool _disposed;

    /// <summary>Opens a device.</summary>
    /// <param name="device">Number of the device, as the driver counts them.</param>
    /// <param name="stream">A CUstream (or cudaStream_t) of the device's primary context to queue work on, which the caller
    /// keeps alive; 0 for one of the backend's own.</param>
    /// <param name="driver">The driver's library; null for what <see cref="CudaLibrary.EnvironmentVariable"/> names, or else
    /// the system's.</param>
    /// <param name="precision">How products are formed, and what activations are stored in.</param>
    /// <exception cref="PlatformNotSupportedException">This build has no CUDA kernels, or there is no driver, no device, or
    /// none that is new enough; the message says what was looked for, and where.</exception>
    /// <exception cref="CudaException">The device could not be opened.</exception>
    public CudaBackend(int device = 0, nint stream = 0, string? driver = null, CudaPrecision precision = CudaPrecision.Fp32)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(device);
        if (!Enum.IsDefined(precision)) throw new ArgumentOutOfRangeException(nameof(precision), precision, "unknown precision");
        Precision = precision;
        if (!CudaKernels.Exist) throw new PlatformNotSupportedException($"this build has no CUDA kernels ({CudaKernels.BuildStatus})");
        _device = CudaDevice.Open(device, driver);
        _context = new CudaContext(_device.Handle);
        try
        {
            _ownStream = stream == 0 ? new CudaStream(_context) : null;
        }
        catch
        {
            _context.Dispose();
            throw;
        }

        _stream = _ownStream?.DangerousGetHandle() ?? stream;
        _kernels = new CudaKernels(_context, _device.Architecture);
        _scratch = new CudaScratch(_context);
    }

    /// <summary>How the CUDA kernels of this build were made; or, when there are none, why.</summary>
    public static string KernelBuild => CudaKernels.BuildStatus;

    /// <inheritdoc/>
    public override string Name => "cuda";

    /// <inheritdoc/>
    public override string Description =>
        $"{_device.Name}, compute capability {_device.Major}.{_device.Minor}, {_device.Multiprocessors} multiprocessors, " +
        $"{_device.Bytes >> 20} MiB, kernels for {_device.Architecture}, products and activations in {ProductName}, driver {CudaLibrary.LoadedPath}";

    /// <inheritdoc/>
    public override bool HostAddressable => false;

    /// <summary>How products are formed, and what activations are stored in.</summary>
    public CudaPrecision Precision { get; }

    /// <inheritdoc/>
    public override ElementType ActivationType => Precision == CudaPrecision.Bf16 ? ElementType.BFloat16 : ElementType.Float32;

    /// <summary>The CUstream that work is queued on.</summary>
    public nint Stream => _stream;

    /// <summary>Waits until everything queued has ended.</summary>
    /// <exception cref="CudaException">Something queued has failed.</exception>
    public void Synchronize()
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        using CudaContext.Scope scope = _context.Enter();
        Check(DriverApi.StreamSynchronize(_stream), "cuStreamSynchronize", "waiting for what was queued");
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (disposing && !_disposed)
        {
            _disposed = true;
            // Queued kernels still use the modules and the memory below. What failed among them was the caller's to ask for
            // earlier, and Dispose throws nothing. A stream of the caller's may be gone by now.
            _ = _ownStream?.TryDrain();
            _kernels.Dispose();
            _scratch.Dispose();
            _ownStream?.Dispose();
            _context.Dispose();
        }

        base.Dispose(disposing);
    }

    internal override SafeHandle AllocateMemory(long bytes)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        var memory = new CudaMemory(_context, bytes, "a buffer");
        using CudaContext.Scope scope = _context.Enter();
        Check(DriverApi.MemsetD8Async(memory.DangerousGetHandle(), 0, (nuint)bytes, _stream), "cuMemsetD8Async", "clearing a buffer");
        return memory;
    }

    internal override void UploadBytes(ReadOnlySpan<byte> source, nint destination)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        if (source.IsEmpty) return;
        using CudaContext.Scope scope = _context.Enter();
        fixed (byte* bytes = source)
        {
            Check(
                DriverApi.MemcpyHtoDAsync(destination, bytes, (nuint)source.Length, _stream), "cuMemcpyHtoDAsync",
                $"upload of {source.Length} bytes");
            // A span over page-locked memory is read after the copy has been queued, and the caller may overwrite it at once.
            Check(DriverApi.StreamSynchronize(_stream), "cuStreamSynchronize", $"upload of {source.Length} bytes");
        }
    }

    internal override void DownloadBytes(nint source, Span<byte> destination)
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        if (destination.IsEmpty) return;
        using CudaContext.Scope scope = _context.Enter();
        fixed (byte* bytes = destination)
        {
            Check(
                DriverApi.MemcpyDtoHAsync(bytes, source, (nuint)destination.Length, _stream), "cuMemcpyDtoHAsync",
                $"download of {destination.Length} bytes");
            Check(DriverApi.StreamSynchronize(_stream), "cuStreamSynchronize", $"download of {destination.Length} bytes");
        }
    }

    private static void Check(CudaResult result, string call, string operation) => CudaException.ThrowIfFailed(result, call, operation);

    /// <summary>Queues a kernel.</summary>
    /// <param name="file">Its file in native/.</param>
    /// <param name="kernel">Its name.</param>
    /// <param name="grid">Blocks.</param>
    /// <param name="threads">Threads of a block, as the kernel is compiled for.</param>
    /// <param name="arguments">A struct of the layout of the kernel's own.</param>
    /// <param name="sizes">What errors say of the operation's sizes.</param>
    /// <param name="sharedBytes">Dynamic shared memory of a block.</param>
    /// <param name="operation">The operation.</param>
    private void Launch<TArguments, TSizes>(
        string file, string kernel, Grid grid, int threads, in TArguments arguments, in TSizes sizes, int sharedBytes = 0,
        [CallerMemberName] string operation = "")
        where TArguments : unmanaged
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        nint function = _kernels.Get(file, kernel, sharedBytes);
        CudaResult result;
        using (_context.Enter())
        {
            fixed (TArguments* block = &arguments)
            {
                // CU_LAUNCH_PARAM_BUFFER_POINTER, _BUFFER_SIZE, _END: one block of arguments, laid out as the kernel's struct.
                nuint bytes = (nuint)sizeof(TArguments);
                void** extra = stackalloc void*[] { (void*)1, block, (void*)2, &bytes, null };
                result = DriverApi.LaunchKernel(function, grid.X, grid.Y, grid.Z, (uint)threads, 1, 1, (uint)sharedBytes, _stream, null, extra);
            }
        }

        if (result != CudaResult.Success) ThrowLaunchFailed(result, kernel, operation, sizes);
    }

    private static void ThrowLaunchFailed<TSizes>(CudaResult result, string kernel, string operation, in TSizes sizes) =>
        throw new CudaException(
            "cuLaunchKernel", result, $"{operation.Replace("Core", "", StringComparison.Ordinal)} of {sizes}, kernel {kernel}");

    /// <summary>Blocks of a launch.</summary>
    private readonly record struct Grid(uint X, uint Y = 1, uint Z = 1)
    {
        public Grid(long x, long y = 1, long z = 1) : this(Checked(x), Checked(y), Checked(z))
        {
        }

        private static uint Checked(long blocks) => checked((uint)blocks);
    }

    private readonly record struct Elements(long Count)
    {
        public override string ToString() => $"{Count} elements";
    }

    private readonly record struct RowsOfChannels(long Rows, int Channels)
    {
        public override string ToString() => $"{Rows} rows of {Channels} channels";
    }

    private static long DivideUp(long a, long b) => (a + b - 1) / b;

    // What kernels over activations are called by: the type of those, and with it the kind of product.
    private string ProductName => NameOf(ActivationType);

    private static string NameOf(ElementType type) => type == ElementType.BFloat16 ? "bf16" : "fp32";

    /// <summary>Whether a kernel may move 16 bytes at a time: all addresses are multiples of that (absent ones are).</summary>
    private static bool AllowWide(params ReadOnlySpan<BufferView> views)
    {
        foreach (BufferView view in views)
        {
            if (view.Address % 16 != 0) return false;
        }

        return true;
    }
}
