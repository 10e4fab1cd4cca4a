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

/// <summary>The kernels of a file, loaded by the driver for its device.</summary>
internal sealed unsafe class CudaModule : CudaHandle
{
    // Verbose logs have about 250 bytes for each kernel, and a file has up to 24 of them.
    private const int LogBytes = 64 << 10;

    private readonly string _name;

    private CudaModule(CudaContext context, string name, nint module) : base(context)
    {
        _name = name;
        Own(module);
    }

    /// <summary>Has the driver load an image.</summary>
    /// <param name="context">The context to load it in.</param>
    /// <param name="name">What errors of its kernels call it.</param>
    /// <param name="image">A cubin, or PTX text that ends in a zero byte.</param>
    /// <param name="log">What the driver's compiler says, as lines; of PTX that it found in its cache, and of most cubins, nothing.</param>
    /// <param name="module">The module; null where the driver refuses it.</param>
    public static CudaResult TryLoad(CudaContext context, string name, ReadOnlySpan<byte> image, out string log, out CudaModule? module)
    {
        using CudaContext.Scope scope = context.Enter();
        // Not on the stack, which the thread of a caller may have little of.
        byte[] information = new byte[LogBytes], errors = new byte[LogBytes];
        fixed (byte* first = image, informationText = information, errorText = errors)
        {
            JitOption* options = stackalloc JitOption[]
            {
                JitOption.InfoLogBuffer, JitOption.InfoLogBufferBytes, JitOption.ErrorLogBuffer, JitOption.ErrorLogBufferBytes, JitOption.LogVerbose,
            };
            void** values = stackalloc void*[] { informationText, (void*)LogBytes, errorText, (void*)LogBytes, (void*)1 };
            CudaResult result = DriverApi.ModuleLoadData(out nint loaded, first, 5, options, values);
            log = string.Join('\n', ((string[])[TextOf(errors), TextOf(information)]).Where(text => text.Length > 0));
            module = result == CudaResult.Success ? new CudaModule(context, name, loaded) : null;
            return result;
        }
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

    // Up to the zero byte. Lines keep their indent, which tells the properties of a kernel from the line that names it.
    private static string TextOf(byte[] log)
    {
        int end = Array.IndexOf(log, (byte)0);
        string text = Encoding.UTF8.GetString(log, 0, end < 0 ? log.Length : end).ReplaceLineEndings("\n");
        return string.Join('\n', text.Split('\n').Select(line => line.TrimEnd()).Where(line => line.Length > 0));
    }
}
