namespace FeedbackKernels.Interop;

// Order between this backend's work and that of other streams.
public sealed unsafe partial class CudaBackend
{
    /// <summary>The legacy default stream, which is cudaStream_t 0 in the CUDA runtime and in TorchSharp. It synchronises with all streams
    /// that were not created as non-blocking.</summary>
    public const nint LegacyStream = 1;

    /// <summary>The default stream of the calling thread.</summary>
    public const nint PerThreadStream = 2;

    /// <summary>Records an event after all operations so far; an open step is divided here. The caller disposes the event.</summary>
    /// <exception cref="ObjectDisposedException">The backend has been disposed.</exception>
    /// <exception cref="CudaException">The event could not be created or recorded, or the operations before could not be launched.</exception>
    public CudaEvent RecordEvent()
    {
        using OperationScope call = new(this);
        using CudaContext.Scope scope = EnterInOrder();
        var made = new CudaEvent(_context);
        try
        {
            Check(DriverApi.EventRecord(made.Handle, _stream), "cuEventRecord", "marking a place in the stream");
        }
        catch
        {
            made.Dispose();
            throw;
        }

        return made;
    }

    /// <summary>Makes operations from here on wait for an event of this or another backend of the device; an open step is divided here. The
    /// host does not wait.</summary>
    /// <param name="place">The event.</param>
    /// <exception cref="ObjectDisposedException">The event or the backend has been disposed.</exception>
    /// <exception cref="CudaException">The driver refuses, or the operations before could not be launched.</exception>
    public void WaitFor(CudaEvent place)
    {
        ArgumentNullException.ThrowIfNull(place);
        WaitForEvent(place.Handle);
        GC.KeepAlive(place);
    }

    /// <summary>Makes operations from here on wait for a CUevent (or cudaEvent_t), if it has been recorded; an open step is divided here. The
    /// host does not wait.</summary>
    /// <param name="cudaEvent">The event, which may be destroyed when this returns.</param>
    /// <exception cref="ArgumentOutOfRangeException">It is 0.</exception>
    /// <exception cref="ObjectDisposedException">The backend has been disposed.</exception>
    /// <exception cref="CudaException">It is not an event of the backend's context, or the operations before could not be
    /// launched.</exception>
    public void WaitForEvent(nint cudaEvent)
    {
        using OperationScope call = new(this);
        ArgumentOutOfRangeException.ThrowIfZero(cudaEvent);
        using CudaContext.Scope scope = EnterInOrder();
        Check(DriverApi.StreamWaitEvent(_stream, cudaEvent, 0), "cuStreamWaitEvent", "waiting for an event");
    }

    /// <summary>Makes operations from here on wait for the work that has been queued on another stream so far; an open step is divided here.
    /// The host does not wait.</summary>
    /// <param name="stream">A CUstream (or cudaStream_t) of the backend's context; 0 is the legacy default stream.</param>
    /// <exception cref="ObjectDisposedException">The backend has been disposed.</exception>
    /// <exception cref="CudaException">It is not a stream of the backend's context, or the operations before could not be
    /// launched.</exception>
    public void WaitForStream(nint stream) => Order(before: stream, after: _stream);

    /// <summary>Makes work that is queued on another stream from here on wait for all operations so far; an open step is divided here. The
    /// host does not wait.</summary>
    /// <inheritdoc cref="WaitForStream"/>
    public void MakeStreamWait(nint stream) => Order(before: _stream, after: stream);

    /// <summary>The same with an event that is used again and again.</summary>
    internal void MakeStreamWait(nint stream, CudaEventHandle place)
    {
        using OperationScope call = new(this);
        using CudaContext.Scope scope = EnterInOrder();
        Check(DriverApi.EventRecord(place.DangerousGetHandle(), _stream), "cuEventRecord", "ordering two streams");
        Check(DriverApi.StreamWaitEvent(stream, place.DangerousGetHandle(), 0), "cuStreamWaitEvent", "ordering two streams");
    }

    private void Order(nint before, nint after)
    {
        using OperationScope call = new(this);
        using CudaContext.Scope scope = EnterInOrder();
        using var place = new CudaEventHandle(_context, "ordering two streams");
        Check(DriverApi.EventRecord(place.DangerousGetHandle(), before), "cuEventRecord", "ordering two streams");
        Check(DriverApi.StreamWaitEvent(after, place.DangerousGetHandle(), 0), "cuStreamWaitEvent", "ordering two streams");
    }

    /// <summary>Enters the context for a call that comes after all operations so far: the recorded launches of an open step are made
    /// first.</summary>
    private CudaContext.Scope EnterInOrder()
    {
        if (_steps.IsOpen) _steps.Flush();
        return _context.Enter();
    }
}
