namespace FeedbackKernels.Interop;

/// <summary>
/// What the device has noted of a label that is no class: four words in its memory, zeros until there is one. The host gets them
/// with the next copy that it waits for, so that a step neither waits nor allocates: each such copy is followed by one of these
/// words, as long as there are losses that no copy has vouched for.
/// </summary>
internal sealed class CudaLabelFault(CudaContext context, CudaHeap heap, nint stream) : IDisposable
{
    public const int Bytes = 4 * sizeof(int);

    // A readback may be read, and report, while its backend is disposed.
    private readonly Lock _gate = new();
    private CudaMemory? _memory;

    // Where downloads take the words to.
    private CudaHostMemory? _words;

    // Launches of losses so far, and those that words without a fault have come back after.
    private long _launches, _checked;

    /// <summary>Where a launch notes a fault.</summary>
    public nint Note()
    {
        if (_memory is null) Allocate();
        _launches++;
        return _memory!.DangerousGetHandle();
    }

    /// <summary>Queues a copy of the words to host memory where they have not been seen since the last launch. Returns what to hand
    /// to <see cref="Check(long)"/> once it has ended; 0 where there is no need.</summary>
    public long Queue(nint destination)
    {
        if (_launches == _checked) return 0;
        CudaException.ThrowIfFailed(
            DriverApi.MemcpyDtoHAsync(destination, _memory!.DangerousGetHandle(), Bytes, stream), "cuMemcpyDtoHAsync", "asking for wrong labels");
        return _launches;
    }

    /// <summary>Queues a copy to memory that is kept for it.</summary>
    public long Queue() => _launches == _checked ? 0 : Queue((_words ??= new CudaHostMemory(context, Bytes, "wrong labels")).DangerousGetHandle());

    /// <summary>Looks at words that a download has brought.</summary>
    public void Check(long launches)
    {
        if (launches != 0) Check(launches, _words!.DangerousGetHandle());
    }

    /// <summary>Looks at words that have come back.</summary>
    /// <exception cref="ArgumentOutOfRangeException">There was a label that is no class. The device's words are zeros from here on; copies
    /// of them that had been queued before say the same again.</exception>
    public unsafe void Check(long launches, nint words)
    {
        if (launches == 0) return;
        var noted = new ReadOnlySpan<int>((void*)words, Bytes / sizeof(int));
        _checked = Math.Max(_checked, launches);
        if (noted[0] == 0) return;
        Clear();
        throw Backend.LabelOutside(noted[0] - 1L, noted[1], noted[2]);
    }

    public void Dispose()
    {
        lock (_gate)
        {
            _memory?.Dispose();
            _memory = null;
        }

        _words?.Dispose();
    }

    private void Allocate()
    {
        _memory = heap.Allocate(Bytes, "wrong labels");
        Clear();
    }

    private void Clear()
    {
        lock (_gate)
        {
            if (_memory is null) return;
            using CudaContext.Scope scope = context.Enter();
            CudaException.ThrowIfFailed(
                DriverApi.MemsetD8Async(_memory.DangerousGetHandle(), 0, Bytes, stream), "cuMemsetD8Async", "clearing the note of wrong labels");
        }
    }
}
