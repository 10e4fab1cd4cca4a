namespace FeedbackKernels.Interop;

/// <summary>
/// The report of a label that is not a class: four words in device memory, zeros until there is such a label. Each copy to the host that
/// the host waits for is followed by a copy of these words, if losses have been launched since the words were last seen. So a bad label
/// is found without a wait or an allocation in the step.
/// </summary>
internal sealed class CudaLabelFault(CudaContext context, CudaHeap heap, nint stream) : IDisposable
{
    public const int Bytes = 4 * sizeof(int);

    // A readback may be read while its backend is disposed.
    private readonly Lock _gate = new();
    private CudaMemory? _memory;

    // Where downloads copy the words to.
    private CudaHostMemory? _words;

    // Launches of losses so far, and how many of them had been made when the words were last seen.
    private long _launches, _checked;

    /// <summary>The address at which a launch reports a fault.</summary>
    public nint Note()
    {
        if (_memory is null) Allocate();
        _launches++;
        return _memory!.DangerousGetHandle();
    }

    /// <summary>Queues a copy of the words to host memory if they have not been seen since the last launch. Returns the argument of
    /// <see cref="Check(long)"/>, to be called when the copy has ended; 0 where there is nothing to check.</summary>
    public long Queue(nint destination)
    {
        if (_launches == _checked) return 0;
        CudaException.ThrowIfFailed(
            DriverApi.MemcpyDtoHAsync(destination, _memory!.DangerousGetHandle(), Bytes, stream), "cuMemcpyDtoHAsync", "asking for wrong labels");
        return _launches;
    }

    /// <summary>The same to host memory of this object.</summary>
    public long Queue() => _launches == _checked ? 0 : Queue((_words ??= new CudaHostMemory(context, Bytes, "wrong labels")).DangerousGetHandle());

    /// <summary>Checks the words that a download has copied.</summary>
    public void Check(long launches)
    {
        if (launches != 0) Check(launches, _words!.DangerousGetHandle());
    }

    /// <summary>Checks words that have been copied to the host.</summary>
    /// <exception cref="ArgumentOutOfRangeException">There was a label that is not a class. The words on the device are cleared; copies of
    /// them that were queued before report the same label again.</exception>
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
