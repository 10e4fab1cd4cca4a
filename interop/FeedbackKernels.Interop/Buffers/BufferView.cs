namespace FeedbackKernels.Interop;

/// <summary>
/// An operand: an address in the backend's memory, a length and an element type. A <see cref="DeviceBuffer"/> converts implicitly. A
/// program that owns its memory (TorchSharp, ILGPU, ManagedCuda, a pinned array) passes
/// <see cref="FromPointer(nint, long, ElementType)"/>. The default value means "absent". A view of a buffer keeps the buffer's memory
/// alive, and an operation keeps it until its end even if the buffer is disposed meanwhile.
/// </summary>
public readonly struct BufferView
{
    private BufferView(nint address, long length, ElementType type, DeviceBuffer? owner = null)
    {
        Owner = owner;
        Address = address;
        Length = length;
        Type = type;
    }

    /// <summary>Address of the first element; zero when absent.</summary>
    public nint Address { get; }

    /// <summary>Number of elements.</summary>
    public long Length { get; }

    /// <summary>The type of one element.</summary>
    public ElementType Type { get; }

    /// <summary>The buffer that owns the memory; null for memory of the caller.</summary>
    internal DeviceBuffer? Owner { get; }

    /// <summary>Whether the operand is absent.</summary>
    public bool IsAbsent => Address == 0;

    /// <summary>A view of memory that the caller owns. The caller keeps it alive and in place until the operation has ended.</summary>
    /// <param name="address">Address of the first element in the backend's memory; not zero.</param>
    /// <param name="length">Elements, up to 2^40.</param>
    /// <param name="type">The type of one element.</param>
    /// <exception cref="ArgumentOutOfRangeException">The address is zero, the length is out of range, or the type is unknown.</exception>
    public static BufferView FromPointer(nint address, long length, ElementType type = ElementType.Float32)
    {
        ArgumentOutOfRangeException.ThrowIfZero(address);
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(length, ElementCount.Most);
        _ = type.Size();
        return new BufferView(address, length, type);
    }

    /// <summary>A view of Float32 memory.</summary>
    /// <inheritdoc cref="FromPointer(nint, long, ElementType)"/>
    public static unsafe BufferView FromPointer(float* elements, long length) => FromPointer((nint)elements, length);

    /// <exception cref="ObjectDisposedException">The buffer's memory has been freed.</exception>
    public static implicit operator BufferView(DeviceBuffer? buffer) =>
        buffer is null ? default : new BufferView(buffer.Address, buffer.Length, buffer.Type, buffer);

    /// <inheritdoc cref="op_Implicit(DeviceBuffer?)"/>
    public static BufferView FromDeviceBuffer(DeviceBuffer? buffer) => buffer;

    /// <summary>What is left from an element on; absent where this is.</summary>
    internal BufferView From(long first) => IsAbsent ? default : new BufferView(Address + (nint)(first * Type.Size()), Length - first, Type, Owner);

    internal unsafe void* Pointer => (void*)Address;

    internal unsafe float* Floats => (float*)Address;

    internal unsafe int* Ints => (int*)Address;

    internal unsafe byte* Bytes => (byte*)Address;

    /// <summary>Reads a number in host memory, Float32 or BFloat16.</summary>
    internal unsafe double Read(long i) => Type == ElementType.BFloat16 ? ((BFloat16*)Address)[i] : Floats[i];

    /// <summary>Stores a number in host memory, rounded once.</summary>
    internal unsafe void Write(long i, double value)
    {
        if (Type == ElementType.BFloat16) ((BFloat16*)Address)[i] = (BFloat16)value;
        else Floats[i] = (float)value;
    }
}
