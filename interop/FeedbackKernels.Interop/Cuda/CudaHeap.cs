namespace FeedbackKernels.Interop;

/// <summary>
/// Where a backend's device memory comes from: the device's pool, in the order of the backend's own stream, where there are
/// both; else cuMemAlloc and cuMemFree. A caller's stream may be gone when its memory is, so that one is never used for it.
/// The pool is the process's own and shared; how much of what is free it keeps is left as it is, for a step takes and gives
/// back nothing.
/// </summary>
internal sealed unsafe class CudaHeap(CudaContext context, CudaDevice device, CudaStream? stream)
{
    private readonly Lock _gate = new();
    private readonly List<nint> _kept = [];
    private bool _keeping;

    /// <summary>The stream whose order memory is taken and given back in; null where that is the host's.</summary>
    public CudaStream? Stream { get; } = device.HasMemoryPools ? stream : null;

    /// <summary>Whether memory that is given back stays, because work that uses it has not been queued yet.</summary>
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

    /// <summary>Takes memory.</summary>
    /// <exception cref="CudaException">There is not so much; the message says how much there is.</exception>
    public CudaMemory Allocate(long bytes, string purpose) => new(context, this, bytes, purpose);

    /// <summary>Calls the driver, in whose context this runs.</summary>
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
        return address;
    }

    /// <summary>Gives memory back, in a context.</summary>
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
        Own(heap.Take(bytes, purpose));
        // The stream in whose order it is given back has to be there then.
        bool added = false;
        heap.Stream?.DangerousAddRef(ref added);
    }

    private protected override CudaResult Release(nint released) => _heap.Free(released);

    protected override bool ReleaseHandle()
    {
        bool released = base.ReleaseHandle();
        _heap.Stream?.DangerousRelease();
        return released;
    }
}
