namespace FeedbackKernels.Interop;

/// <summary>
/// A position in the work that a <see cref="CudaBackend"/> has queued; it is reached when all work before it has ended. Other streams,
/// of TorchSharp or ILGPU for instance, can wait for its <see cref="Handle"/>.
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

    /// <summary>The CUevent (or cudaEvent_t), which belongs to this object.</summary>
    /// <exception cref="ObjectDisposedException">The event has been disposed.</exception>
    public nint Handle
    {
        get
        {
            ObjectDisposedException.ThrowIf(_handle.IsClosed, this);
            return _handle.DangerousGetHandle();
        }
    }

    /// <summary>Whether all work before the event has ended.</summary>
    /// <exception cref="CudaException">Queued work has failed.</exception>
    /// <exception cref="ObjectDisposedException">The event has been disposed.</exception>
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

    /// <summary>Waits until all work before the event has ended.</summary>
    /// <exception cref="CudaException">Queued work has failed.</exception>
    /// <exception cref="ObjectDisposedException">The event has been disposed.</exception>
    public void Synchronize()
    {
        nint handle = Handle;
        using CudaContext.Scope scope = _context.Enter();
        CudaResult result = DriverApi.EventSynchronize(handle);
        // Otherwise the finalizer of an event without other references could destroy it during the wait.
        GC.KeepAlive(this);
        CudaException.ThrowIfFailed(result, "cuEventSynchronize", "waiting for queued work");
    }

    /// <summary>Destroys the event. Work that waits for it still waits for its position.</summary>
    public void Dispose() => _handle.Dispose();
}
