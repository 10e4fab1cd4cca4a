namespace FeedbackKernels.Interop;

/// <summary>
/// All memory of a training step in one block. During planning, buffers are rented and returned in the order in which the step will use
/// them, so that buffers whose lifetimes do not overlap share addresses. <see cref="Commit"/> allocates the block once, and a step
/// allocates nothing.
/// </summary>
public sealed class Arena : IDisposable
{
    // A cache line, which is also the widest vector: with this alignment no load crosses a line.
    private const long Alignment = 64;

    private readonly Backend _backend;
    private readonly BufferStorage _storage;
    private readonly SortedList<long, long> _free = [];
    private readonly Dictionary<DeviceBuffer, (long Offset, long Bytes)> _rented = [];
    private long _end;
    private bool _committed;

    /// <summary>Starts a plan for a backend's memory.</summary>
    /// <param name="backend">Where the memory is; stays the caller's.</param>
    public Arena(Backend backend)
    {
        ArgumentNullException.ThrowIfNull(backend);
        _backend = backend;
        _storage = new BufferStorage(backend.HostAddressable);
    }

    /// <summary>Size of the block in bytes: the largest sum of buffers alive at one time, plus fragmentation.</summary>
    public long Bytes { get; private set; }

    /// <summary>Plans a buffer. Its contents are undefined until an operation writes it.</summary>
    /// <param name="length">Number of elements.</param>
    /// <param name="name">Name of the buffer in error messages.</param>
    /// <param name="type">Type of its elements.</param>
    /// <exception cref="ArgumentOutOfRangeException">The length is not 1 to 2^40 elements, or the type is unknown.</exception>
    /// <exception cref="InvalidOperationException">The arena has been committed.</exception>
    public DeviceBuffer Rent(long length, string name, ElementType type = ElementType.Float32)
    {
        ArgumentNullException.ThrowIfNull(name);
        long needed = Backend.BytesOf(length, type, $"buffer '{name}'");
        if (_committed) throw new InvalidOperationException($"cannot rent '{name}': the arena has been committed");
        long bytes = Rounding.DivideUp(needed, Alignment) * Alignment;
        long offset = TakeBestFit(bytes);
        var buffer = new DeviceBuffer(_storage, offset, type, length, name, owner: false);
        _rented.Add(buffer, (offset, bytes));
        return buffer;
    }

    /// <summary>Declares that the step does not use the buffer from here on.</summary>
    /// <param name="buffer">A buffer of <see cref="Rent"/>.</param>
    /// <exception cref="ArgumentException">The buffer is not rented from this arena, or has been returned already.</exception>
    public void Return(DeviceBuffer buffer)
    {
        ArgumentNullException.ThrowIfNull(buffer);
        if (!_rented.Remove(buffer, out (long Offset, long Bytes) block))
            throw new ArgumentException($"buffer '{buffer.Name}' is not rented from this arena", nameof(buffer));
        AddFree(block.Offset, block.Bytes);
    }

    /// <summary>Allocates the block. From here on, every rented buffer has an address.</summary>
    /// <exception cref="InvalidOperationException">The arena has been committed already.</exception>
    /// <exception cref="OutOfMemoryException">The host does not have enough memory.</exception>
    /// <exception cref="CudaException">The device does not have enough memory; the message says how much it has.</exception>
    /// <exception cref="ObjectDisposedException">The arena or the backend has been disposed.</exception>
    public void Commit()
    {
        using OperationScope call = new(_backend);
        if (_committed) throw new InvalidOperationException("the arena has been committed already");
        ObjectDisposedException.ThrowIf(_storage.IsDisposed, this);
        _storage.Bind(_backend.AllocateMemory(Math.Max(Bytes, Alignment), "the arena of a step"));
        _committed = true;
    }

    /// <summary>Frees the block. No buffer rented from it can be used afterwards.</summary>
    public void Dispose() => _storage.Dispose();

    private long TakeBestFit(long bytes)
    {
        long best = -1;
        foreach ((long offset, long size) in _free)
        {
            if (size >= bytes && (best < 0 || size < _free[best])) best = offset;
        }

        if (best >= 0)
        {
            long size = _free[best];
            _free.Remove(best);
            if (size > bytes) _free.Add(best + bytes, size - bytes);
            return best;
        }

        return TakeFromEnd(bytes);
    }

    private long TakeFromEnd(long bytes)
    {
        // A free block at the end grows; it does not stay a hole.
        long start = _end;
        if (_free.Count > 0 && _free.Keys[^1] + _free.Values[^1] == _end)
        {
            start = _free.Keys[^1];
            _free.RemoveAt(_free.Count - 1);
        }

        _end = checked(start + bytes);
        Bytes = Math.Max(Bytes, _end);
        return start;
    }

    private void AddFree(long offset, long bytes)
    {
        _free.Add(offset, bytes);
        int i = _free.IndexOfKey(offset);
        if (i + 1 < _free.Count && offset + bytes == _free.Keys[i + 1])
        {
            bytes += _free.Values[i + 1];
            _free.RemoveAt(i + 1);
            _free[offset] = bytes;
        }

        if (i > 0 && _free.Keys[i - 1] + _free.Values[i - 1] == offset)
        {
            long previous = _free.Keys[i - 1];
            _free.RemoveAt(i);
            _free[previous] += bytes;
        }
    }
}
