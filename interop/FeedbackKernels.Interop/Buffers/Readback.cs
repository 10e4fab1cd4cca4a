using System.Runtime.InteropServices;

namespace FeedbackKernels.Interop;

/// <summary>
/// A copy to the host that is queued now and read later, so that the host goes on calling while a device computes. Its
/// memory is taken once and serves one copy after the other. Made by <see cref="Backend.CreateReadback"/>; the caller
/// disposes it.
/// </summary>
public sealed class Readback : IDisposable
{
    private readonly Backend _backend;
    private readonly ReadbackMemory _memory;
    private readonly string _name;
    private readonly long _bytes;
    private ElementType _type;
    private int _length;

    // Not readonly: it changes.
    private CallerGate _gate;

    internal Readback(Backend backend, ReadbackMemory memory, long bytes, string name) =>
        (_backend, _memory, _bytes, _name) = (backend, memory, bytes, name);

    /// <summary>Queues a copy of the first elements of a buffer, after everything called before; an open step is divided here.
    /// What the last copy brought is lost.</summary>
    /// <param name="source">At least as long, of any type.</param>
    /// <param name="length">Elements; no more bytes than the readback was made for.</param>
    /// <exception cref="ArgumentException">The buffer is absent or too short.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The length is not positive, or more than there is room for.</exception>
    /// <exception cref="ObjectDisposedException">This, the backend or the buffer's memory has been given back.</exception>
    /// <exception cref="InvalidOperationException">Another thread is inside a call of this or an operation of the backend.</exception>
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

    /// <summary>Waits for the copy that was queued last and gives its numbers; they may be read again.</summary>
    /// <param name="destination">Gets as many numbers as it has places.</param>
    /// <exception cref="InvalidOperationException">Nothing has been queued, or another thread is inside a call of this.</exception>
    /// <exception cref="ArgumentException">Fewer elements have been queued, or of another type: T is float for Float32 and
    /// BFloat16, int for Int32, byte for UInt8.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A <see cref="Backend.CrossEntropy"/> that was called before the copy was queued
    /// has met a label that is no class (<see cref="CudaBackend"/>).</exception>
    /// <exception cref="ObjectDisposedException">This has been disposed.</exception>
    /// <exception cref="CudaException">The copy, or something queued before it, has failed (<see cref="CudaBackend"/>).</exception>
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
            // The last use of this: its memory stays until here.
            _gate.Leave();
        }
    }

    /// <summary>Gives the memory back, after a copy that is under way has ended.</summary>
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

/// <summary>Memory of the host that copies end in.</summary>
internal abstract class ReadbackMemory : IDisposable
{
    public abstract nint Address { get; }

    public abstract void Queue(nint source, long bytes);

    /// <summary>Waits for the copy queued last.</summary>
    public abstract void Wait();

    public abstract void Dispose();
}

/// <summary>The readback of a backend that has computed when an operation returns: it copies at once.</summary>
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
        // It has been copied.
    }

    public override void Dispose() => _memory.Dispose();
}
