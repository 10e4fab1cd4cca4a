using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace FeedbackKernels.Interop;

/// <summary>
/// The CUDA backend: runs the kernels of <c>native/</c> on one NVIDIA GPU, through the driver API alone. Operations queue their work on
/// one stream and return, as does <see cref="Backend.Upload{T}"/>; <see cref="Backend.Download{T}"/> and operations that return numbers
/// wait. A step (<see cref="Backend.BeginStep"/>) is one launch of a CUDA graph. The order of every sum depends on the shapes alone: one
/// model of device and driver gives the same bits on every run.
/// </summary>
/// <remarks>
/// Buffers may be used on other streams of the device from when <see cref="Backend.Allocate"/> returns. The caller orders streams by
/// <see cref="RecordEvent"/>, <see cref="WaitForStream"/> and similar methods, and waits for work of other streams, and of open steps of
/// other backends, before buffers are disposed or left to the garbage collector.
/// </remarks>
public sealed unsafe partial class CudaBackend : Backend
{
    private readonly CudaDevice _device;
    private readonly CudaContext _context;
    private readonly CudaStream? _ownStream;
    private readonly nint _stream;
    private readonly CudaKernels _kernels;
    private readonly CudaHeap _heap;
    private readonly CudaStage _stage;
    private readonly CudaSteps _steps;
    private readonly CudaLabelFault _labels;
    private readonly bool _graphs;

    /// <summary>Opens a device.</summary>
    /// <param name="device">Number of the device in the order of the driver.</param>
    /// <param name="stream">A CUstream (or cudaStream_t) of the context to queue work on, which the caller
    /// keeps alive while the backend is used, <see cref="LegacyStream"/> or <see cref="PerThreadStream"/>; 0 for one of the
    /// backend's own, which neither waits for the legacy default stream nor is waited for by it.</param>
    /// <param name="driver">The driver's library; null for what <see cref="CudaLibrary.EnvironmentVariable"/> names, or else
    /// the system's.</param>
    /// <param name="precision">The type in which products are computed and activations are stored.</param>
    /// <param name="graphs">Whether steps are launched as graphs. Otherwise each kernel is launched when it is called, and errors name its
    /// operation.</param>
    /// <param name="context">A CUcontext of the device to work in, such as the one that ILGPU creates, which the caller keeps alive until the
    /// backend and its buffers have been disposed; a stream must be of the same context. 0 for the primary context, which is also that of
    /// the CUDA runtime.</param>
    /// <exception cref="PlatformNotSupportedException">This build has no CUDA kernels, or there is no driver or device, or none that is new
    /// enough; the message says what was looked for, and where.</exception>
    /// <exception cref="CudaException">The device could not be opened.</exception>
    public CudaBackend(
        int device = 0, nint stream = 0, string? driver = null, CudaPrecision precision = CudaPrecision.Fp32, bool graphs = true,
        nint context = 0)
        : this(Found(device, driver, precision), stream, precision, graphs, context)
    {
    }

    /// <summary>A backend on <see cref="PaperDriver"/>, which launches nothing and has a watcher see what it would launch.</summary>
    internal CudaBackend(PaperDevice device, CudaPrecision precision, ILaunchWatcher watcher)
        : this(CudaDevice.OnPaper(device), LegacyStream, precision, graphs: false, PaperDriver.Context) => Watcher = watcher;

    private CudaBackend(CudaDevice device, nint stream, CudaPrecision precision, bool graphs, nint context)
    {
        Precision = precision;
        _graphs = graphs;
        _device = device;
        _context = new CudaContext(_device.Handle, context);
        // A driver on paper loads anything: a build without kernels can count launches.
        _kernels = new CudaKernels(_context, _device, device.IsOnPaper ? _ => [0] : null);
        try
        {
            _kernels.Try();
            _ownStream = stream == 0 ? new CudaStream(_context) : null;
        }
        catch
        {
            _kernels.Dispose();
            _context.Dispose();
            throw;
        }

        _stream = _ownStream?.DangerousGetHandle() ?? stream;
        _heap = new CudaHeap(_context, _device, _ownStream);
        Scratch = new CudaScratch(_heap);
        _stage = new CudaStage(_context, _stream);
        _steps = new CudaSteps(_context, _heap, _stream);
        _labels = new CudaLabelFault(_context, _heap, _stream);
        _convolutions = new CudaConvKernels(this);
    }

    private static CudaDevice Found(int device, string? driver, CudaPrecision precision)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(device);
        if (!Enum.IsDefined(precision)) throw new ArgumentOutOfRangeException(nameof(precision), precision, "unknown precision");
        if (!CudaKernels.Exist) throw new PlatformNotSupportedException($"this build has no CUDA kernels ({CudaKernels.BuildStatus})");
        return CudaDevice.Open(device, driver);
    }

    /// <summary>Waits for the work of a backend that was not disposed, so that its memory is not freed before.</summary>
    ~CudaBackend() => Dispose(false);

    /// <summary>The compiler of the CUDA kernels of this build; or why there are none.</summary>
    public static string KernelBuild => CudaKernels.BuildStatus;

    /// <summary>The files of kernels that the driver has loaded so far, in that order: whether from machine code or by compiling PTX, and what
    /// its compiler said. A file is loaded when one of its kernels is first launched.</summary>
    public IReadOnlyList<CudaKernelFile> LoadedKernels => _kernels.Loaded;

    /// <summary>Loads all kernels, so that no step waits for the driver's compiler, and no kernel that runs makes the driver wait to load
    /// another.</summary>
    /// <exception cref="ObjectDisposedException">The backend has been disposed.</exception>
    /// <exception cref="CudaException">The driver does not load a file; the message names it and quotes the driver's compiler.</exception>
    /// <exception cref="IOException">The file that <see cref="CudaKernelFile.LogVariable"/> names cannot be written.</exception>
    public void LoadKernels()
    {
        using OperationScope call = new(this);
        _kernels.LoadAll();
    }

    /// <inheritdoc/>
    public override string Name => "cuda";

    /// <inheritdoc/>
    public override string Description =>
        $"{_device.Name}, compute capability {_device.Major}.{_device.Minor}, {_device.Multiprocessors} multiprocessors, " +
        $"{_device.Bytes >> 20} MiB, device {_device.Ordinal}, kernels for {_kernels.Image}, " +
        $"products and activations in {(Precision == CudaPrecision.Bf16 ? "bf16" : "fp32")}{(_graphs ? "" : ", no graphs")}, driver {CudaLibrary.LoadedPath} for CUDA {_device.DriverVersionText}";

    /// <inheritdoc/>
    public override string Arithmetic => $"cuda, {_device.Name}, kernels for {_device.Architecture}, {(Precision == CudaPrecision.Bf16 ? "bf16" : "fp32")}";

    /// <inheritdoc/>
    public override bool HostAddressable => false;

    /// <summary>The type in which products are computed and activations are stored.</summary>
    public CudaPrecision Precision { get; }

    /// <inheritdoc/>
    public override ElementType ActivationType => Precision == CudaPrecision.Bf16 ? ElementType.BFloat16 : ElementType.Float32;

    /// <summary>The CUstream that work is queued on.</summary>
    /// <exception cref="ObjectDisposedException">The backend has been disposed, and with it a stream of its own.</exception>
    public nint Stream
    {
        get
        {
            ObjectDisposedException.ThrowIf(IsDisposed, this);
            return _stream;
        }
    }

    /// <inheritdoc/>
    public override bool QueuesWork => true;

    /// <summary>Bytes of device memory in use, by this and by every other program.</summary>
    /// <exception cref="ObjectDisposedException">The backend has been disposed.</exception>
    /// <exception cref="CudaException">The driver does not answer.</exception>
    public long DeviceBytesInUse
    {
        get
        {
            ObjectDisposedException.ThrowIf(IsDisposed, this);
            using CudaContext.Scope scope = _context.Enter();
            Check(DriverApi.MemGetInfo(out nuint free, out nuint total), "cuMemGetInfo", "asking how much memory is in use");
            return (long)(total - free);
        }
    }

    internal override void SynchronizeCore()
    {
        using CudaContext.Scope scope = EnterInOrder();
        Check(DriverApi.StreamSynchronize(_stream), "cuStreamSynchronize", "waiting for what was queued");
    }

    internal override StepScope BeginStepCore() => _graphs ? new StepScope(this, _steps.Begin()) : default;

    internal override void EndStepCore(int number, bool complete) => _steps.End(number, complete);

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            // Queued kernels still use the modules and the memory below. Their failures are not reported: Dispose throws nothing. A
            // caller's stream may have been destroyed while its work is still running, so the context is waited for instead.
            _ = _ownStream?.TryDrain() ?? _context.TryDrain();
            _steps.Dispose();
            _kernels.Dispose();
            Scratch.Dispose();
            DisposeSegmentTables();
            _labels.Dispose();
            _stage.Dispose();
            _ownStream?.Dispose();
            _context.Dispose();
        }
        else
        {
            // What the queue still uses is freed by its own finalizers, which run after this one.
            _ = _ownStream?.TryDrain();
        }

        base.Dispose(disposing);
    }

    internal override SafeHandle AllocateMemory(long bytes, string purpose)
    {
        CudaMemory memory = _heap.Allocate(bytes, purpose);
        try
        {
            using CudaContext.Scope scope = _context.Enter();
            Check(DriverApi.MemsetD8Async(memory.DangerousGetHandle(), 0, (nuint)bytes, _stream), "cuMemsetD8Async", $"clearing {purpose}");
            // After this wait the buffer can be used on other streams as well.
            Check(DriverApi.StreamSynchronize(_stream), "cuStreamSynchronize", $"clearing {purpose}");
        }
        catch
        {
            memory.Dispose();
            throw;
        }

        return memory;
    }

    internal override void UploadBytes(ReadOnlySpan<byte> source, nint destination)
    {
        using CudaContext.Scope scope = EnterInOrder();
        _stage.Upload(source, destination);
    }

    internal override void DownloadBytes(nint source, Span<byte> destination)
    {
        using CudaContext.Scope scope = EnterInOrder();
        if (destination.IsEmpty) return;
        long launches = _labels.Queue();
        _stage.Download(source, destination);
        _labels.Check(launches);
    }

    internal override ReadbackMemory AllocateReadback(long bytes, string purpose) =>
        new CudaReadback(this, _context, _labels, bytes, purpose);

    /// <summary>Queues a copy to page-locked memory, a copy of the report of wrong labels, and an event after both. Returns the argument of
    /// <see cref="CudaLabelFault.Check(long, nint)"/>.</summary>
    internal long QueueDownload(nint source, nint destination, long bytes, nint labelFault, CudaEventHandle copied)
    {
        using CudaContext.Scope scope = EnterInOrder();
        Check(DriverApi.MemcpyDtoHAsync(destination, source, (nuint)bytes, _stream), "cuMemcpyDtoHAsync", bytes);
        long launches = _labels.Queue(labelFault);
        Check(DriverApi.EventRecord(copied.DangerousGetHandle(), _stream), "cuEventRecord", bytes);
        return launches;

        static void Check(CudaResult result, string call, long bytes)
        {
            if (result != CudaResult.Success) throw new CudaException(call, result, $"a readback of {bytes} bytes");
        }
    }

    private static void Check(CudaResult result, string call, string operation) => CudaException.ThrowIfFailed(result, call, operation);

    /// <summary>All kernels that this backend launches; a test compares them with those of the PTX.</summary>
    internal static IEnumerable<CudaKernel> AllKernels =>
    [
        .. ConvolutionKernels, .. MirrorKernels, .. BatchNormKernels, .. PoolingKernels, .. ActivationKernels, .. CrossEntropyKernels.All,
        .. OptimiserKernels, .. FeedbackWeightsKernels, .. AlignmentKernels, .. AugmentImagesKernels.All, .. AllFillKernels,
    ];

    /// <summary>The context of its stream and its memory.</summary>
    internal CudaContext Context => _context;

    /// <summary>What has been launched so far.</summary>
    internal LaunchCounts Launched => _steps.Launched;

    /// <summary>Graphs that are kept.</summary>
    internal int KeptGraphs => _steps.Kept;

    /// <summary>Blocks of device memory that have been allocated so far.</summary>
    internal long Allocations => _heap.Allocations;

    /// <summary>Sees every launch; null for nobody.</summary>
    internal ILaunchWatcher? Watcher { get; set; }

    /// <summary>Memory between the kernels of one operation.</summary>
    internal CudaScratch Scratch { get; }

    /// <summary>Queues a kernel, or records it where a step is open.</summary>
    /// <param name="kernel">The kernel.</param>
    /// <param name="grid">Blocks.</param>
    /// <param name="threads">Threads of a block, as the kernel is compiled for.</param>
    /// <param name="arguments">A struct of the same layout as the kernel's. It has a field for each gap between fields, because all its
    /// bytes are compared with the arguments of the step before.</param>
    /// <param name="sizes">The sizes of the operation in errors.</param>
    /// <param name="sharedBytes">Dynamic shared memory of a block.</param>
    /// <param name="operation">Name of the operation in errors.</param>
    internal void Launch<TArguments, TSizes>(
        CudaKernel kernel, Grid grid, int threads, in TArguments arguments, in TSizes sizes, int sharedBytes = 0,
        [CallerMemberName] string operation = "")
        where TArguments : unmanaged
        where TSizes : unmanaged
    {
        nint function = _kernels.Get(kernel, sharedBytes);
        Watcher?.Launched(kernel, grid, threads, sharedBytes, arguments, sizes, operation);
        if (_steps.IsOpen)
        {
            _steps.Log.Add(function, (grid.X, grid.Y, grid.Z), (uint)threads, (uint)sharedBytes, arguments, kernel.Name, operation, sizes);
            return;
        }

        CudaResult result;
        using (_context.Enter())
        {
            fixed (TArguments* block = &arguments)
            {
                result = _steps.Launch(function, (grid.X, grid.Y, grid.Z), (uint)threads, (uint)sharedBytes, block, sizeof(TArguments));
            }
        }

        if (result != CudaResult.Success) ThrowLaunchFailed(result, kernel.Name, operation, sizes);
    }

    /// <summary>A tensor map of bf16 for kernels that multiply by wgmma.</summary>
    internal TensorMap Map(
        nint address, ReadOnlySpan<ulong> sizes, ReadOnlySpan<ulong> strides, ReadOnlySpan<uint> box, ReadOnlySpan<uint> elementStrides,
        string operation)
    {
        using CudaContext.Scope scope = _context.Enter();
        return TensorMap.Tiled(
            TensorMapType.BFloat16, address, sizes, strides, box, elementStrides, TensorMapSwizzle.Bytes128, TensorMapPromotion.Bytes256,
            operation);
    }

    private static void ThrowLaunchFailed<TSizes>(CudaResult result, string kernel, string operation, in TSizes sizes) =>
        throw new CudaException("cuLaunchKernel", result, $"{NameOf(operation)} of {sizes}, kernel {kernel}");

    // Operations are named without the suffix of their cores.
    private static string NameOf(string operation) => operation.Replace("Core", "", StringComparison.Ordinal);

    /// <summary>A thread for each four elements, up to a grid that fills any device many times over.</summary>
    private static Grid ElementGrid(long length) => new(Math.Clamp(Rounding.DivideUp(length, 4 * ElementThreads), 1, 16_384));

    /// <summary>Blocks of a launch.</summary>
    internal readonly record struct Grid(uint X, uint Y = 1, uint Z = 1)
    {
        public Grid(long x, long y = 1, long z = 1) : this(Checked(x), Checked(y), Checked(z))
        {
        }

        private static uint Checked(long blocks) => checked((uint)blocks);
    }

    internal readonly record struct Elements(long Count)
    {
        public override string ToString() => $"{Count} elements";
    }

    internal readonly record struct RowsOfChannels(long Rows, int Channels)
    {
        public override string ToString() => $"{Rows} rows of {Channels} channels";
    }

    /// <summary>Elements of activations that a load takes: 16 bytes, or one element where channels or addresses do not allow that.</summary>
    internal int WidthOf(int channels, params ReadOnlySpan<BufferView> views)
    {
        int wide = 16 / ActivationType.Size();
        return channels % wide == 0 && AllowWide(views) ? wide : 1;
    }

    /// <summary>Whether a kernel may load and store 16 bytes at a time: all addresses are multiples of 16, as those of absent views are.</summary>
    internal static bool AllowWide(params ReadOnlySpan<BufferView> views)
    {
        foreach (BufferView view in views)
        {
            if (view.Address % 16 != 0) return false;
        }

        return true;
    }
}
