namespace FeedbackKernels.Interop;

/// <summary>Type of one element of a buffer.</summary>
public enum ElementType
{
    /// <summary>IEEE 754 binary32.</summary>
    Float32,

    /// <summary>Two's complement 32-bit integer: class labels, pooling positions.</summary>
    Int32,

    /// <summary>The upper half of a binary32, <see cref="Interop.BFloat16"/>.</summary>
    BFloat16,

    /// <summary>A byte: pixels of images.</summary>
    UInt8,
}

internal static class ElementTypes
{
    public static int Size(this ElementType type) => type switch
    {
        ElementType.Float32 => sizeof(float),
        ElementType.Int32 => sizeof(int),
        ElementType.BFloat16 => sizeof(ushort),
        ElementType.UInt8 => sizeof(byte),
        _ => throw new ArgumentOutOfRangeException(nameof(type), type, "unknown element type"),
    };

    public static ElementType Of<T>() where T : unmanaged =>
        typeof(T) == typeof(float) ? ElementType.Float32
        : typeof(T) == typeof(int) ? ElementType.Int32
        : typeof(T) == typeof(BFloat16) ? ElementType.BFloat16
        : typeof(T) == typeof(byte) ? ElementType.UInt8
        : throw new ArgumentException($"no buffer holds elements of type {typeof(T).Name}; float, BFloat16, int and byte are the types there are");
}
