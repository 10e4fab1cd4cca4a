namespace FeedbackKernels.Interop;

/// <summary>A block of device memory.</summary>
internal sealed class CudaMemory : CudaHandle
{
    public CudaMemory(CudaContext context, long bytes, string purpose) : base(context)
    {
        using CudaContext.Scope scope = context.Enter();
        CudaResult result = DriverApi.MemAlloc(out nint address, checked((nuint)bytes));
        if (result == CudaResult.OutOfMemory)
        {
            string free = DriverApi.MemGetInfo(out nuint left, out nuint total) == CudaResult.Success
                ? $"; {left >> 20} of {total >> 20} MiB are free" : "";
            throw new CudaException("cuMemAlloc", result, $"allocating {bytes} bytes ({bytes >> 20} MiB) for {purpose}{free}");
        }

        CudaException.ThrowIfFailed(result, "cuMemAlloc", $"allocating {bytes} bytes for {purpose}");
        Own(address);
    }

    private protected override CudaResult Release(nint released) => DriverApi.MemFree(released);
}

/// <summary>A queue of work. It does not wait for the device's default stream, nor that for it.</summary>
internal sealed class CudaStream : CudaHandle
{
    private const uint NonBlocking = 1;

    public CudaStream(CudaContext context) : base(context)
    {
        using CudaContext.Scope scope = context.Enter();
        CudaException.ThrowIfFailed(DriverApi.StreamCreate(out nint stream, NonBlocking), "cuStreamCreate", "opening the backend");
        Own(stream);
    }

    /// <summary>Waits until everything queued has ended, and throws nothing: false where it failed, or the wait did.</summary>
    public bool TryDrain() => CallInContext(DriverApi.StreamSynchronize) == CudaResult.Success;

    private protected override CudaResult Release(nint released) => DriverApi.StreamDestroy(released);
}

/// <summary>Kernels, compiled by the driver for its device.</summary>
internal sealed unsafe class CudaModule : CudaHandle
{
    private readonly string _name;

    /// <param name="context">Where it is loaded.</param>
    /// <param name="name">What errors call it.</param>
    /// <param name="ptx">PTX text that ends in a zero byte.</param>
    public CudaModule(CudaContext context, string name, ReadOnlySpan<byte> ptx) : base(context)
    {
        _name = name;
        using CudaContext.Scope scope = context.Enter();
        fixed (byte* image = ptx)
        {
            CudaException.ThrowIfFailed(DriverApi.ModuleLoadData(out nint module, image), "cuModuleLoadData", $"compiling {name}");
            Own(module);
        }
    }

    /// <param name="kernel">Its name.</param>
    /// <param name="sharedBytes">What its launches give it of dynamic shared memory.</param>
    public nint Function(string kernel, int sharedBytes)
    {
        // What every kernel gets; more is granted to each by itself.
        const int usualSharedBytes = 48 << 10;
        // With lazy loading the driver loads the kernel here, which takes a context.
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
}
