namespace FeedbackKernels.Interop;

// Order between this backend's work and that of other streams.
public sealed unsafe partial class CudaBackend
{
    /// <summary>The legacy default stream, which cudaStream_t 0 stands for in the CUDA runtime and in TorchSharp. It and other
    /// streams that were not made as non-blocking ones wait for each other.</summary>
    public const nint LegacyStream = 1;

    /// <summary>The default stream of the thread that calls.</summary>
    public const nint PerThreadStream = 2;

    /// <summary>Marks the place after everything that has been called so far; an open step is divided here. The caller
    /// disposes the event.</summary>
    public CudaEvent RecordEvent()
    {
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

    /// <summary>Makes what is called from here on wait for an event, of this or another backend of the device.</summary>
    public void WaitFor(CudaEvent place)
    {
        ArgumentNullException.ThrowIfNull(place);
        WaitForEvent(place.Handle);
    }

    /// <summary>Makes what is called from here on wait for a CUevent (or cudaEvent_t) that has been recorded.</summary>
    public void WaitForEvent(nint cudaEvent)
    {
        ArgumentOutOfRangeException.ThrowIfZero(cudaEvent);
        using CudaContext.Scope scope = EnterInOrder();
        Check(DriverApi.StreamWaitEvent(_stream, cudaEvent, 0), "cuStreamWaitEvent", "waiting for an event");
    }

    /// <summary>Makes what is called from here on wait for what has been queued on another stream: a CUstream (or
    /// cudaStream_t), where 0 is the legacy default stream.</summary>
    public void WaitForStream(nint stream) => Order(before: stream, after: _stream);

    /// <summary>Makes what is queued on another stream from here on wait for what has been called so far.</summary>
    /// <inheritdoc cref="WaitForStream"/>
    public void MakeStreamWait(nint stream) => Order(before: _stream, after: stream);

    private void Order(nint before, nint after)
    {
        using CudaContext.Scope scope = EnterInOrder();
        using var place = new CudaEventHandle(_context, "ordering two streams");
        Check(DriverApi.EventRecord(place.DangerousGetHandle(), before), "cuEventRecord", "ordering two streams");
        Check(DriverApi.StreamWaitEvent(after, place.DangerousGetHandle(), 0), "cuStreamWaitEvent", "ordering two streams");
    }

    /// <summary>Enters the context for something that comes after all that was called, so that an open step is launched as
    /// far as it has come.</summary>
    private CudaContext.Scope EnterInOrder()
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        if (_steps.IsOpen) _steps.Flush();
        return _context.Enter();
    }
}
