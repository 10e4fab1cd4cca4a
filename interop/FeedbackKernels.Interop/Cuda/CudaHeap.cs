namespace FeedbackKernels.Interop;

/// <summary>
/// Allocates device memory: from the default pool of the device in the order of the backend's own stream, where there are both, else by
/// cuMemAlloc and cuMemFree. A caller's stream is not used, because it may be destroyed before the memory is freed. The release
/// threshold of the pool, which the process shares, stays as it is: a step allocates and frees nothing.
/// </summary>
internal sealed unsafe class CudaHeap(CudaContext context, CudaDevice device, CudaStream? stream)
{
    private readonly Lock _gate = new();
    private readonly List<nint> _kept = [];
    private bool _keeping;
    private long _allocations;

    /// <summary>Blocks that have been allocated so far.</summary>
    public long Allocations => Interlocked.Read(ref _allocations);

    /// <summary>The stream in whose order memory is allocated and freed; null for the order of the host.</summary>
    public CudaStream? Stream { get; } = device.HasMemoryPools ? stream : null;

    /// <summary>Whether memory that is freed is kept for now, because work that uses it has not been queued yet.</summary>
    public bool Keeps
    {
        get
        {
            lock (_gate) return _keeping;
        }

        set
        {
            lock (_gate)
            {
                _keeping = value;
                if (value || _kept.Count == 0) return;
                using CudaContext.Scope scope = context.Enter();
                foreach (nint address in _kept) _ = FreeNow(address);
                _kept.Clear();
            }
        }
    }

    /// <summary>Allocates memory.</summary>
    /// <exception cref="CudaException">There is not enough; the message says how much is free.</exception>
    public CudaMemory Allocate(long bytes, string purpose) => new(context, this, bytes, purpose);

    /// <summary>Allocates memory; the context has to be current.</summary>
    internal nint Take(long bytes, string purpose)
    {
        nuint wanted = checked((nuint)bytes);
        string call = Stream is null ? "cuMemAlloc" : "cuMemAllocAsync";
        CudaResult result = Stream is null
            ? DriverApi.MemAlloc(out nint address, wanted)
            : DriverApi.MemAllocAsync(out address, wanted, Stream.DangerousGetHandle());
        if (result == CudaResult.OutOfMemory)
            throw new CudaException(call, result, $"allocating {bytes} bytes ({bytes >> 20} MiB) for {purpose}{WhatThereIs()}");
        CudaException.ThrowIfFailed(result, call, $"allocating {bytes} bytes for {purpose}");
        Interlocked.Increment(ref _allocations);
        return address;
    }

    /// <summary>Frees memory; the context has to be current.</summary>
    internal CudaResult Free(nint address)
    {
        lock (_gate)
        {
            if (!_keeping) return FreeNow(address);
            _kept.Add(address);
            return CudaResult.Success;
        }
    }

    private CudaResult FreeNow(nint address) =>
        Stream is null ? DriverApi.MemFree(address) : DriverApi.MemFreeAsync(address, Stream.DangerousGetHandle());

    private string WhatThereIs()
    {
        string text = DriverApi.MemGetInfo(out nuint free, out nuint total) == CudaResult.Success
            ? $"; {free >> 20} of {total >> 20} MiB are free" : "";
        ulong reserved, used;
        if (Stream is not null
            && DriverApi.DeviceGetDefaultMemPool(out nint pool, device.Handle) == CudaResult.Success
            && DriverApi.MemPoolGetAttribute(pool, MemoryPoolAttribute.ReservedBytes, &reserved) == CudaResult.Success
            && DriverApi.MemPoolGetAttribute(pool, MemoryPoolAttribute.UsedBytes, &used) == CudaResult.Success)
        {
            text += $", and of the {reserved >> 20} MiB that this process's pool holds {(reserved - used) >> 20} MiB";
        }

        return text;
    }
}

/// <summary>A block of device memory.</summary>
internal sealed class CudaMemory : CudaHandle
{
    private readonly CudaHeap _heap;

    public CudaMemory(CudaContext context, CudaHeap heap, long bytes, string purpose) : base(context)
    {
        _heap = heap;
        using CudaContext.Scope scope = context.Enter();
        // The memory is freed in the order of the stream, which has to exist until then. It is held first: once the memory is owned,
        // nothing may fail, or the finalizer would let go of a stream that is not held.
        bool held = false;
        heap.Stream?.DangerousAddRef(ref held);
        try
        {
            Own(heap.Take(bytes, purpose));
        }
        catch
        {
            if (held) heap.Stream!.DangerousRelease();
            throw;
        }
    }

    private protected override CudaResult Release(nint released) => _heap.Free(released);

    protected override bool ReleaseHandle()
    {
        bool released = base.ReleaseHandle();
        _heap.Stream?.DangerousRelease();
        return released;
    }
}
