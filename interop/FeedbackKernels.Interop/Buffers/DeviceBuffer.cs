using System.Runtime.InteropServices;

namespace FeedbackKernels.Interop;

/// <summary>
/// A run of elements in a backend's memory. A buffer from <see cref="Backend.Allocate"/> owns its memory, and the caller disposes it. A
/// slice, or a buffer rented from an <see cref="Arena"/>, shares its owner's memory and is invalid when that is freed.
/// </summary>
public sealed class DeviceBuffer : IDisposable
{
    private readonly BufferStorage _storage;
    private readonly long _byteOffset;
    private readonly bool _owner;

    internal DeviceBuffer(BufferStorage storage, long byteOffset, ElementType type, long length, string name, bool owner)
    {
        _storage = storage;
        _byteOffset = byteOffset;
        _owner = owner;
        Type = type;
        Length = length;
        Name = name;
    }

    /// <summary>Purpose of the buffer; messages quote it.</summary>
    public string Name { get; }

    /// <summary>The type of one element.</summary>
    public ElementType Type { get; }

    /// <summary>Number of elements.</summary>
    public long Length { get; }

    /// <summary>Address of the first element, in the address space of the backend. It does not keep the memory alive: its user must
    /// keep the buffer, with <see cref="GC.KeepAlive"/> if nothing else does.</summary>
    /// <exception cref="ObjectDisposedException">The memory has been freed.</exception>
    /// <exception cref="InvalidOperationException">The buffer is rented from an arena that has not been committed.</exception>
    public nint Address => _storage.Base(Name) + (nint)_byteOffset;

    /// <summary>A part of this buffer, which shares its memory.</summary>
    /// <param name="offset">First element of the part.</param>
    /// <param name="length">Number of its elements.</param>
    /// <exception cref="ArgumentOutOfRangeException">The part does not lie inside the buffer.</exception>
    public DeviceBuffer Slice(long offset, long length) => Slice(offset, length, Name);

    /// <summary>A part of this buffer that shares its memory and has a name of its own.</summary>
    /// <param name="offset">First element of the part.</param>
    /// <param name="length">Number of its elements.</param>
    /// <param name="name">Its name in error messages.</param>
    /// <exception cref="ArgumentOutOfRangeException">The part does not lie inside the buffer.</exception>
    public DeviceBuffer Slice(long offset, long length, string name)
    {
        ArgumentNullException.ThrowIfNull(name);
        if (offset < 0 || offset > Length)
            throw new ArgumentOutOfRangeException(nameof(offset), offset, $"buffer '{Name}' has {Length} elements");
        if (length < 0 || length > Length - offset)
            throw new ArgumentOutOfRangeException(nameof(length), length, $"buffer '{Name}' has {Length - offset} elements from offset {offset}");
        return new DeviceBuffer(_storage, _byteOffset + offset * Type.Size(), Type, length, name, owner: false);
    }

    /// <summary>The elements themselves, where the backend's memory is host memory (the CPU backends). The span does not keep the memory
    /// alive: its user must keep the buffer, with <see cref="GC.KeepAlive"/> if nothing else does.</summary>
    /// <exception cref="NotSupportedException">The host cannot address the memory: download it instead.</exception>
    /// <exception cref="ArgumentException">The element type is not T, or the buffer has more elements than a span can have.</exception>
    /// <exception cref="ObjectDisposedException">The memory has been freed.</exception>
    public unsafe Span<T> HostSpan<T>() where T : unmanaged
    {
        if (!_storage.HostAddressable)
            throw new NotSupportedException($"buffer '{Name}' lies in device memory; copy it with Backend.Download");
        if (ElementTypes.Of<T>() != Type)
            throw new ArgumentException($"buffer '{Name}' holds {Type}, not {typeof(T).Name}");
        if (Length > int.MaxValue) throw new ArgumentException($"buffer '{Name}' has {Length} elements, a span up to {int.MaxValue}: take a slice");
        return new Span<T>((void*)Address, (int)Length);
    }

    /// <summary>Frees the memory if this buffer owns it, at the end of an operation that uses it. Allowed after the backend's own
    /// disposal.</summary>
    public void Dispose()
    {
        if (_owner) _storage.Dispose();
    }

    /// <summary>Keeps the memory alive until the returned handle is released once.</summary>
    /// <exception cref="ObjectDisposedException">The memory has been freed.</exception>
    internal SafeHandle Hold() => _storage.Hold(Name);

    /// <summary>Releases the memory after <see cref="Hold"/>.</summary>
    internal void Release() => _storage.Release();

    /// <summary>Whether the buffer lies in this memory.</summary>
    internal bool IsIn(SafeHandle memory) => _storage.IsIn(memory);
}

/// <summary>The memory of one or many buffers. An allocation binds it at once, an arena when it is committed.</summary>
internal sealed class BufferStorage(bool hostAddressable) : IDisposable
{
    private SafeHandle? _memory;

    public bool HostAddressable { get; } = hostAddressable;

    public bool IsDisposed { get; private set; }

    public void Bind(SafeHandle memory) => _memory = memory;

    public nint Base(string bufferName) => Memory(bufferName).DangerousGetHandle();

    /// <summary>The memory, which stays allocated until it is released once, even if the buffer is disposed meanwhile.</summary>
    public SafeHandle Hold(string bufferName)
    {
        SafeHandle memory = Memory(bufferName);
        bool held = false;
        try
        {
            memory.DangerousAddRef(ref held);
        }
        catch (ObjectDisposedException)
        {
            // Another thread has just freed it.
            throw Gone(bufferName);
        }

        return memory;
    }

    public void Release() => _memory!.DangerousRelease();

    public bool IsIn(SafeHandle memory) => _memory == memory;

    private SafeHandle Memory(string bufferName)
    {
        if (IsDisposed) throw Gone(bufferName);
        return _memory ?? throw new InvalidOperationException($"buffer '{bufferName}' is rented from an arena that has not been committed yet");
    }

    private static ObjectDisposedException Gone(string bufferName) =>
        new(bufferName, $"the memory of buffer '{bufferName}' has been given back");

    public void Dispose()
    {
        IsDisposed = true;
        _memory?.Dispose();
    }
}
