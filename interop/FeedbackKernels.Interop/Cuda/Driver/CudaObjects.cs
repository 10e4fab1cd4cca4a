using System.Text;

namespace FeedbackKernels.Interop;

/// <summary>A stream that does not synchronise with the legacy default stream.</summary>
internal sealed class CudaStream : CudaHandle
{
    private const uint NonBlocking = 1;

    public CudaStream(CudaContext context) : base(context)
    {
        using CudaContext.Scope scope = context.Enter();
        CudaException.ThrowIfFailed(DriverApi.StreamCreate(out nint stream, NonBlocking), "cuStreamCreate", "opening the backend");
        Own(stream);
    }

    /// <summary>Waits until everything queued has ended, and throws nothing: false where it failed, the wait did, or the stream has been
    /// destroyed.</summary>
    public bool TryDrain() => !IsClosed && CallInContext(DriverApi.StreamSynchronize) == CudaResult.Success;

    private protected override CudaResult Release(nint released) => DriverApi.StreamDestroy(released);
}

/// <summary>A position in a stream that can be waited for.</summary>
internal sealed class CudaEventHandle : CudaHandle
{
    private const uint DisableTiming = 2;

    public CudaEventHandle(CudaContext context, string purpose) : base(context)
    {
        using CudaContext.Scope scope = context.Enter();
        CudaException.ThrowIfFailed(DriverApi.EventCreate(out nint made, DisableTiming), "cuEventCreate", purpose);
        Own(made);
    }

    /// <summary>Waits until it is reached, and throws nothing: false where what was queued before it failed, the wait did, or the event has
    /// been destroyed.</summary>
    public bool TryWait() => !IsClosed && CallInContext(DriverApi.EventSynchronize) == CudaResult.Success;

    private protected override CudaResult Release(nint released) => DriverApi.EventDestroy(released);
}

/// <summary>Page-locked host memory, which the device can copy from and to.</summary>
internal sealed class CudaHostMemory : CudaHandle
{
    public CudaHostMemory(CudaContext context, long bytes, string purpose) : base(context)
    {
        using CudaContext.Scope scope = context.Enter();
        CudaException.ThrowIfFailed(
            DriverApi.MemHostAlloc(out nint address, checked((nuint)bytes), flags: 0), "cuMemHostAlloc",
            $"allocating {bytes} bytes of page-locked host memory for {purpose}");
        Own(address);
    }

    private protected override CudaResult Release(nint released) => DriverApi.MemFreeHost(released);
}

/// <summary>Kernels, compiled by the driver for its device.</summary>
internal sealed unsafe class CudaModule : CudaHandle
{
    private const int LogBytes = 8192;

    private readonly string _name;

    /// <param name="context">The context to load it in.</param>
    /// <param name="device">The device of the context.</param>
    /// <param name="name">Its name in errors.</param>
    /// <param name="ptx">PTX text that ends in a zero byte.</param>
    /// <exception cref="PlatformNotSupportedException">The driver is too old for the PTX, or the PTX is not for the device.</exception>
    /// <exception cref="CudaException">It cannot be compiled; the message quotes the driver's compiler.</exception>
    public CudaModule(CudaContext context, CudaDevice device, string name, ReadOnlySpan<byte> ptx) : base(context)
    {
        _name = name;
        using CudaContext.Scope scope = context.Enter();
        byte* log = stackalloc byte[LogBytes];
        log[0] = 0;
        JitOption* options = stackalloc JitOption[] { JitOption.ErrorLogBuffer, JitOption.ErrorLogBufferBytes };
        void** values = stackalloc void*[] { log, (void*)LogBytes };
        CudaResult result;
        nint module;
        fixed (byte* image = ptx) result = DriverApi.ModuleLoadData(out module, image, 2, options, values);
        if (result == CudaResult.Success)
        {
            Own(module);
            return;
        }

        string said = TextOf(log);
        if (result is CudaResult.UnsupportedPtxVersion or CudaResult.NoBinaryForDevice)
        {
            throw new PlatformNotSupportedException(
                $"the CUDA driver '{CudaLibrary.LoadedPath}' is for CUDA {device.DriverVersionText} and compiles PTX up to {device.NewestPtx}; " +
                $"{name} is PTX {VersionOf(ptx)}, and {device.Name} has compute capability {device.Major}.{device.Minor} " +
                $"(cuModuleLoadDataEx: {CudaException.NameOf(result)} ({(int)result}){(said.Length == 0 ? "" : $"; {said}")})");
        }

        throw new CudaException("cuModuleLoadDataEx", result, $"compiling {name}", said.Length == 0 ? null : $"its compiler says: {said}");
    }

    /// <summary>The CUfunction of a kernel.</summary>
    /// <param name="kernel">Its name.</param>
    /// <param name="sharedBytes">The most dynamic shared memory that a launch gives it.</param>
    public nint Function(string kernel, int sharedBytes)
    {
        // Available to every kernel; more has to be requested for each.
        const int usualSharedBytes = 48 << 10;
        // With lazy loading the driver loads the kernel here, for which the context has to be current.
        using CudaContext.Scope scope = Context.Enter();
        CudaException.ThrowIfFailed(
            DriverApi.ModuleGetFunction(out nint function, handle, kernel), "cuModuleGetFunction", $"looking for kernel {kernel} in {_name}");
        if (sharedBytes > usualSharedBytes)
        {
            CudaException.ThrowIfFailed(
                DriverApi.FuncSetAttribute(function, FunctionAttribute.MaxDynamicSharedSizeBytes, sharedBytes), "cuFuncSetAttribute",
                $"granting kernel {kernel} in {_name} {sharedBytes} bytes of shared memory");
        }

        return function;
    }

    private protected override CudaResult Release(nint released) => DriverApi.ModuleUnload(released);

    private static string TextOf(byte* log)
    {
        ReadOnlySpan<byte> bytes = new(log, LogBytes);
        int end = bytes.IndexOf((byte)0);
        string[] lines = Encoding.UTF8.GetString(bytes[..(end < 0 ? LogBytes : end)])
            .Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
        return string.Join("; ", lines);
    }

    private static string VersionOf(ReadOnlySpan<byte> ptx)
    {
        ReadOnlySpan<byte> word = ".version "u8;
        int at = ptx.IndexOf(word);
        if (at < 0) return "of an unknown version";
        ReadOnlySpan<byte> rest = ptx[(at + word.Length)..];
        return Encoding.UTF8.GetString(rest[..rest.IndexOfAny("\r\n\0"u8)]).Trim();
    }
}
