namespace FeedbackKernels.Interop;

/// <summary>Page-locked memory that the device copies to, and the event that follows the copy.</summary>
internal sealed class CudaReadback : ReadbackMemory
{
    private readonly CudaBackend _backend;
    private readonly CudaContext _context;
    private readonly CudaHostMemory _memory;
    private readonly CudaLabelFault _labels;
    private readonly CudaEventHandle _copied;

    // After the numbers: the report of wrong labels at the time of the copy.
    private readonly long _faultOffset;
    private long _launches;

    public CudaReadback(CudaBackend backend, CudaContext context, CudaLabelFault labels, long bytes, string purpose)
    {
        _backend = backend;
        _context = context;
        _labels = labels;
        _faultOffset = Rounding.DivideUp(bytes, CudaLabelFault.Bytes) * CudaLabelFault.Bytes;
        _memory = new CudaHostMemory(context, _faultOffset + CudaLabelFault.Bytes, purpose);
        try
        {
            _copied = new CudaEventHandle(context, purpose);
        }
        catch
        {
            _memory.Dispose();
            throw;
        }
    }

    /// <summary>The device may still be writing to the memory of a readback that was not disposed; the memory is freed by its own finalizer,
    /// which runs after this one.</summary>
    ~CudaReadback() => _copied?.TryWait();

    public override nint Address => _memory.DangerousGetHandle();

    private nint FaultAddress => Address + (nint)_faultOffset;

    public override void Queue(nint source, long bytes) => _launches = _backend.QueueDownload(source, Address, bytes, FaultAddress, _copied);

    public override void Wait()
    {
        using (_context.Enter())
        {
            CudaException.ThrowIfFailed(
                DriverApi.EventSynchronize(_copied.DangerousGetHandle()), "cuEventSynchronize", "waiting for a readback");
        }

        _labels.Check(_launches, FaultAddress);
    }

    public override void Dispose()
    {
        // The device may still be writing. If its work has failed, another call reports it.
        _copied.TryWait();
        _copied.Dispose();
        _memory.Dispose();
        GC.SuppressFinalize(this);
    }
}
