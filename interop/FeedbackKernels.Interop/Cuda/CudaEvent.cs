namespace FeedbackKernels.Interop;

/// <summary>
/// A place in the work that a <see cref="CudaBackend"/> has queued: it is reached when everything before has ended. Other
/// streams, of TorchSharp or ILGPU for instance, can be made to wait for it by its <see cref="Handle"/>.
/// </summary>
public sealed class CudaEvent : IDisposable
{
    private readonly CudaContext _context;
    private readonly CudaEventHandle _handle;

    internal CudaEvent(CudaContext context)
    {
        _context = context;
        _handle = new CudaEventHandle(context, "making an event");
    }

    /// <summary>The CUevent (or cudaEvent_t), which is this object's.</summary>
    /// <exception cref="ObjectDisposedException">It has been given back.</exception>
    public nint Handle
    {
        get
        {
            ObjectDisposedException.ThrowIf(_handle.IsClosed, this);
            return _handle.DangerousGetHandle();
        }
    }

    /// <summary>Whether everything before has ended.</summary>
    /// <exception cref="CudaException">Something queued has failed.</exception>
    /// <exception cref="ObjectDisposedException">The event has been given back.</exception>
    public bool IsComplete
    {
        get
        {
            nint handle = Handle;
            using CudaContext.Scope scope = _context.Enter();
            CudaResult result = DriverApi.EventQuery(handle);
            GC.KeepAlive(this);
            if (result == CudaResult.NotReady) return false;
            CudaException.ThrowIfFailed(result, "cuEventQuery", "asking whether queued work has ended");
            return true;
        }
    }

    /// <summary>Waits until everything before has ended.</summary>
    /// <exception cref="CudaException">Something queued has failed.</exception>
    /// <exception cref="ObjectDisposedException">The event has been given back.</exception>
    public void Synchronize()
    {
        nint handle = Handle;
        using CudaContext.Scope scope = _context.Enter();
        CudaResult result = DriverApi.EventSynchronize(handle);
        // The finalizer of an event that nobody else holds would give it back in the midst of the wait.
        GC.KeepAlive(this);
        CudaException.ThrowIfFailed(result, "cuEventSynchronize", "waiting for queued work");
    }

    /// <summary>Gives the event back. What waits for it goes on waiting for the place where it was.</summary>
    public void Dispose() => _handle.Dispose();
}
