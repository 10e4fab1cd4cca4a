namespace FeedbackKernels.Interop;

/// <summary>Page-locked memory that the device copies to by itself, and the event that says when it has.</summary>
internal sealed class CudaReadback : ReadbackMemory
{
    private readonly CudaBackend _backend;
    private readonly CudaContext _context;
    private readonly CudaHostMemory _memory;
    private readonly CudaEventHandle _copied;

    public CudaReadback(CudaBackend backend, CudaContext context, long bytes, string purpose)
    {
        _backend = backend;
        _context = context;
        _memory = new CudaHostMemory(context, bytes, purpose);
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

    public override nint Address => _memory.DangerousGetHandle();

    public override void Queue(nint source, long bytes) => _backend.QueueDownload(source, Address, bytes, _copied);

    public override void Wait()
    {
        using CudaContext.Scope scope = _context.Enter();
        CudaException.ThrowIfFailed(DriverApi.EventSynchronize(_copied.DangerousGetHandle()), "cuEventSynchronize", "waiting for a readback");
    }

    public override void Dispose()
    {
        // The device may still be writing; that it has failed is for others to say.
        _copied.TryWait();
        _copied.Dispose();
        _memory.Dispose();
    }
}
