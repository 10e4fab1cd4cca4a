using System.Runtime.InteropServices;

namespace FeedbackKernels.Interop;

/// <summary>
/// A copy to the host that is queued now and read later, so that the host does not wait while a device computes. Its memory is allocated
/// once and reused by every copy. Created by <see cref="Backend.CreateReadback"/>; the caller disposes it.
/// </summary>
public sealed class Readback : IDisposable
{
    private readonly Backend _backend;
    private readonly ReadbackMemory _memory;
    private readonly string _name;
    private readonly long _bytes;
    private ElementType _type;
    private int _length;

    // Not readonly, because its methods change it.
    private CallerGate _gate;

    internal Readback(Backend backend, ReadbackMemory memory, long bytes, string name) =>
        (_backend, _memory, _bytes, _name) = (backend, memory, bytes, name);

    /// <summary>Queues a copy of the first elements of a buffer, after all operations called before. An open step is divided here. The
    /// data of the last copy is lost.</summary>
    /// <param name="source">At least as long, of any type.</param>
    /// <param name="length">Elements, which must fit the size of the readback.</param>
    /// <exception cref="ArgumentException">The buffer is absent or too short.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The length is not positive, or does not fit the readback.</exception>
    /// <exception cref="ObjectDisposedException">The readback, the backend or the buffer's memory has been disposed.</exception>
    /// <exception cref="InvalidOperationException">Another thread is inside a call of this readback or an operation of the backend.</exception>
    /// <exception cref="CudaException">The copy could not be queued (<see cref="CudaBackend"/>).</exception>
    public void Queue(BufferView source, int length)
    {
        _gate.Enter(this, Kind, _name);
        try
        {
            using OperationScope call = new(_backend);
            ArgumentOutOfRangeException.ThrowIfNegativeOrZero(length);
            call.Read(source, length, source.Type);
            long bytes = (long)length * source.Type.Size();
            if (bytes > _bytes) throw new ArgumentOutOfRangeException(nameof(length), length, $"{bytes} bytes, readback '{_name}' has room for {_bytes}");
            _length = 0;
            _memory.Queue(source.Address, bytes);
            (_type, _length) = (source.Type, length);
        }
        finally
        {
            _gate.Leave();
        }
    }

    /// <summary>Waits for the last queued copy and reads its numbers, which can be read again.</summary>
    /// <param name="destination">Gets as many numbers as it has places.</param>
    /// <exception cref="InvalidOperationException">No copy has been queued, or another thread is inside a call of this readback.</exception>
    /// <exception cref="ArgumentException">The copy has fewer elements, or another type: T is float for Float32 and BFloat16, int for
    /// Int32, byte for UInt8.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A <see cref="Backend.CrossEntropy"/> called before the copy was queued found a label
    /// that is not a class (<see cref="CudaBackend"/>).</exception>
    /// <exception cref="ObjectDisposedException">The readback has been disposed.</exception>
    /// <exception cref="CudaException">The copy, or work queued before it, has failed (<see cref="CudaBackend"/>).</exception>
    public void Read<T>(Span<T> destination) where T : unmanaged
    {
        _gate.Enter(this, Kind, _name);
        try
        {
            if (_length == 0) throw new InvalidOperationException($"nothing has been queued on readback '{_name}'");
            if (destination.Length > _length)
                throw new ArgumentException($"has {destination.Length} places, readback '{_name}' brings {_length} elements", nameof(destination));
            bool widens = _type == ElementType.BFloat16 && typeof(T) == typeof(float);
            if (!widens && ElementTypes.Of<T>() != _type)
                throw new ArgumentException($"readback '{_name}' brings {_type}, not {typeof(T).Name}", nameof(destination));
            _memory.Wait();
            CopyTo(destination, widens);
        }
        finally
        {
            // The last use of the object, whose memory must stay until here.
            _gate.Leave();
        }
    }

    /// <summary>Frees the memory, after a copy in progress has ended.</summary>
    public void Dispose()
    {
        if (_gate.TryClose()) _memory.Dispose();
    }

    private const string Kind = "readback";

    private unsafe void CopyTo<T>(Span<T> destination, bool widens) where T : unmanaged
    {
        if (!widens)
        {
            new ReadOnlySpan<T>((void*)_memory.Address, destination.Length).CopyTo(destination);
            return;
        }

        var numbers = new ReadOnlySpan<BFloat16>((void*)_memory.Address, destination.Length);
        Span<float> floats = MemoryMarshal.Cast<T, float>(destination);
        for (int i = 0; i < floats.Length; i++) floats[i] = numbers[i];
    }
}

/// <summary>Host memory that receives copies.</summary>
internal abstract class ReadbackMemory : IDisposable
{
    public abstract nint Address { get; }

    public abstract void Queue(nint source, long bytes);

    /// <summary>Waits for the last queued copy.</summary>
    public abstract void Wait();

    public abstract void Dispose();
}

/// <summary>The readback of a backend that does not queue work: it copies at once.</summary>
internal sealed unsafe class ImmediateReadback(Backend backend, long bytes) : ReadbackMemory
{
    private readonly NativeMemoryHandle _memory = new(bytes);

    public override nint Address => _memory.DangerousGetHandle();

    public override void Queue(nint source, long bytes)
    {
        const int part = 1 << 30;
        for (long done = 0; done < bytes; done += part)
            backend.DownloadBytes(source + (nint)done, new Span<byte>((byte*)Address + done, (int)Math.Min(part, bytes - done)));
    }

    public override void Wait()
    {
        // The copy has been made.
    }

    public override void Dispose() => _memory.Dispose();
}
