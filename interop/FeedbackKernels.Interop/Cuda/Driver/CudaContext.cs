using System.Runtime.InteropServices;

namespace FeedbackKernels.Interop;

/// <summary>
/// The primary context of a device, retained: the one that the CUDA runtime, and with it TorchSharp and others, uses too, so
/// that memory and streams can be shared.
/// </summary>
internal sealed class CudaContext : SafeHandle
{
    private readonly int _device;

    public CudaContext(int device) : base(0, ownsHandle: true)
    {
        _device = device;
        CudaException.ThrowIfFailed(
            DriverApi.DevicePrimaryCtxRetain(out nint context, device), "cuDevicePrimaryCtxRetain", $"opening device {device}");
        SetHandle(context);
    }

    public override bool IsInvalid => handle == 0;

    /// <summary>Makes the context the thread's current one, until the scope ends.</summary>
    public Scope Enter()
    {
        ObjectDisposedException.ThrowIf(IsClosed, this);
        return new Scope(handle);
    }

    /// <summary>Waits for all work of the context, whoever queued it, and throws nothing: false where some of it failed.</summary>
    public bool TryDrain()
    {
        if (DriverApi.CtxPushCurrent(handle) != CudaResult.Success) return false;
        CudaResult result = DriverApi.CtxSynchronize();
        _ = DriverApi.CtxPopCurrent(out _);
        return result == CudaResult.Success;
    }

    protected override bool ReleaseHandle() => DriverApi.DevicePrimaryCtxRelease(_device) == CudaResult.Success;

    /// <summary>A thread that has another context, because another library put it there, gets it back at the end.</summary>
    internal readonly ref struct Scope
    {
        private readonly bool _pushed;

        public Scope(nint context)
        {
            if (DriverApi.CtxGetCurrent(out nint current) == CudaResult.Success && current == context) return;
            CudaException.ThrowIfFailed(DriverApi.CtxPushCurrent(context), "cuCtxPushCurrent", "making the device's context current");
            _pushed = true;
        }

        public void Dispose()
        {
            if (_pushed) _ = DriverApi.CtxPopCurrent(out _);
        }
    }
}

/// <summary>A handle of something that lives in a context: it keeps the context until it is released itself.</summary>
internal abstract class CudaHandle(CudaContext context) : SafeHandle(0, ownsHandle: true)
{
    public override bool IsInvalid => handle == 0;

    private protected CudaContext Context => context;

    /// <summary>Takes over what the driver has made.</summary>
    private protected void Own(nint made)
    {
        bool added = false;
        context.DangerousAddRef(ref added);
        SetHandle(made);
    }

    /// <summary>Gives the object back to the driver, in whose context this runs.</summary>
    private protected abstract CudaResult Release(nint released);

    /// <summary>Calls the driver with the handle, in the context, and throws nothing where that cannot be entered.</summary>
    private protected CudaResult CallInContext(Func<nint, CudaResult> call)
    {
        if (DriverApi.CtxPushCurrent(context.DangerousGetHandle()) != CudaResult.Success) return CudaResult.InvalidContext;
        CudaResult result = call(handle);
        _ = DriverApi.CtxPopCurrent(out _);
        return result;
    }

    // It may run on the finalizer's thread, where an exception ends the process; and the context is let go whatever happens.
    protected override bool ReleaseHandle()
    {
        CudaResult result = CallInContext(Release);
        context.DangerousRelease();
        return result == CudaResult.Success;
    }
}
