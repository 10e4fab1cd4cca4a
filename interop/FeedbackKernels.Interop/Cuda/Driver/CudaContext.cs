using System.Runtime.InteropServices;

namespace FeedbackKernels.Interop;

/// <summary>
/// The primary context of a device, which the CUDA runtime, and with it TorchSharp and others, uses as well, so that memory and streams
/// can be shared; or a context of the caller.
/// </summary>
internal sealed class CudaContext : SafeHandle
{
    private readonly int _device;
    private readonly bool _isPrimary;

    /// <param name="device">The device.</param>
    /// <param name="given">A context of the caller, who keeps it; 0 for the primary one.</param>
    public CudaContext(int device, nint given = 0) : base(0, ownsHandle: true)
    {
        _device = device;
        _isPrimary = given == 0;
        if (!_isPrimary)
        {
            SetHandle(given);
            return;
        }

        CudaException.ThrowIfFailed(
            DriverApi.DevicePrimaryCtxRetain(out nint context, device), "cuDevicePrimaryCtxRetain", $"opening device {device}");
        SetHandle(context);
    }

    public override bool IsInvalid => handle == 0;

    /// <summary>Whether it is the primary context of its device, also where the caller has given it.</summary>
    public bool IsPrimary
    {
        get
        {
            if (_isPrimary) return true;
            using var primary = new CudaContext(_device);
            return primary.handle == handle;
        }
    }

    /// <summary>Makes the context current on this thread until the scope ends.</summary>
    public Scope Enter()
    {
        ObjectDisposedException.ThrowIf(IsClosed, this);
        return new Scope(handle);
    }

    /// <summary>Waits for all work of the context, also that of others, and throws nothing: false where some of it failed.</summary>
    public bool TryDrain()
    {
        if (DriverApi.CtxPushCurrent(handle) != CudaResult.Success) return false;
        CudaResult result = DriverApi.CtxSynchronize();
        _ = DriverApi.CtxPopCurrent(out _);
        return result == CudaResult.Success;
    }

    protected override bool ReleaseHandle() => !_isPrimary || DriverApi.DevicePrimaryCtxRelease(_device) == CudaResult.Success;

    /// <summary>At its end the thread gets back the context that it had, which may be that of another library.</summary>
    internal readonly ref struct Scope
    {
        private readonly bool _pushed;

        public Scope(nint context)
        {
            // On paper there may be no library to ask.
            if (context != PaperDriver.Context && DriverApi.CtxGetCurrent(out nint current) == CudaResult.Success && current == context)
                return;
            CudaException.ThrowIfFailed(DriverApi.CtxPushCurrent(context), "cuCtxPushCurrent", "making the device's context current");
            _pushed = true;
        }

        public void Dispose()
        {
            if (_pushed) _ = DriverApi.CtxPopCurrent(out _);
        }
    }
}

/// <summary>A handle of an object in a context, which it keeps alive until it is released itself.</summary>
internal abstract class CudaHandle(CudaContext context) : SafeHandle(0, ownsHandle: true)
{
    public override bool IsInvalid => handle == 0;

    private protected CudaContext Context => context;

    /// <summary>Takes ownership of an object that the driver has made.</summary>
    private protected void Own(nint made)
    {
        bool added = false;
        context.DangerousAddRef(ref added);
        SetHandle(made);
    }

    /// <summary>Destroys the object; the context is current.</summary>
    private protected abstract CudaResult Release(nint released);

    /// <summary>Calls the driver with the handle in the context, and throws nothing: an error where the context cannot be entered.</summary>
    private protected CudaResult CallInContext(Func<nint, CudaResult> call)
    {
        if (DriverApi.CtxPushCurrent(context.DangerousGetHandle()) != CudaResult.Success) return CudaResult.InvalidContext;
        CudaResult result = call(handle);
        _ = DriverApi.CtxPopCurrent(out _);
        return result;
    }

    // Runs on the finalizer thread, where an exception would end the process. The context is released whatever happens.
    protected override bool ReleaseHandle()
    {
        CudaResult result = CallInContext(Release);
        context.DangerousRelease();
        return result == CudaResult.Success;
    }
}
