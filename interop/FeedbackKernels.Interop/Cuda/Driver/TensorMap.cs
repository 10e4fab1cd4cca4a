using System.Runtime.InteropServices;

namespace FeedbackKernels.Interop;

/// <summary>
/// CUtensorMap: describes a tensor in global memory, and the box that one copy takes from it, for the TMA of compute capability 9.0. Its
/// 128 bytes are opaque. A kernel takes them by value, aligned to 64 bytes.
/// </summary>
[StructLayout(LayoutKind.Sequential, Size = Bytes)]
internal unsafe struct TensorMap
{
    public const int Bytes = 128, Alignment = 64, MostDimensions = 5;

    private fixed byte _opaque[Bytes];

    /// <summary>Describes a tensor of up to five dimensions, innermost first. Elements outside it are read as zeros.</summary>
    /// <param name="type">The type of an element.</param>
    /// <param name="address">Address of the first element, a multiple of 16.</param>
    /// <param name="sizes">Elements in each dimension.</param>
    /// <param name="strides">Bytes between neighbouring elements, from the second dimension on; multiples of 16.</param>
    /// <param name="box">Extent of a copy in each dimension, up to 256. That of the innermost one is a multiple of 16 bytes, and not larger
    /// than the swizzle.</param>
    /// <param name="elementStrides">Step between the elements that are copied, 1 to 8; the innermost is 1.</param>
    /// <param name="swizzle">Layout of the box in shared memory.</param>
    /// <param name="promotion">How much the second-level cache loads at once.</param>
    /// <param name="operation">What the map is for, in errors.</param>
    /// <exception cref="ArgumentException">The numbers of dimensions differ.</exception>
    /// <exception cref="CudaException">The driver refuses the description, which the message quotes.</exception>
    public static TensorMap Tiled(
        TensorMapType type, nint address, ReadOnlySpan<ulong> sizes, ReadOnlySpan<ulong> strides, ReadOnlySpan<uint> box,
        ReadOnlySpan<uint> elementStrides, TensorMapSwizzle swizzle, TensorMapPromotion promotion, string operation)
    {
        int rank = sizes.Length;
        if (rank is 0 or > MostDimensions) throw new ArgumentException($"{rank} dimensions, wanted 1 to {MostDimensions}", nameof(sizes));
        if (strides.Length != rank - 1) throw new ArgumentException($"{strides.Length} strides for {rank} dimensions, wanted {rank - 1}", nameof(strides));
        if (box.Length != rank) throw new ArgumentException($"a box of {box.Length} dimensions in a tensor of {rank}", nameof(box));
        if (elementStrides.Length != rank)
            throw new ArgumentException($"{elementStrides.Length} element strides for {rank} dimensions", nameof(elementStrides));
        // The driver requires an alignment of 64 bytes, which a local variable does not have.
        byte* room = stackalloc byte[Bytes + Alignment - 1];
        var aligned = (TensorMap*)(((nint)room + Alignment - 1) & -Alignment);
        CudaResult result;
        fixed (ulong* sizesOf = sizes, stridesOf = strides)
        fixed (uint* boxOf = box, elementStridesOf = elementStrides)
        {
            result = DriverApi.TensorMapEncodeTiled(
                aligned, type, (uint)rank, address, sizesOf, stridesOf, boxOf, elementStridesOf, interleave: 0, swizzle, promotion, outsideFill: 0);
        }

        if (result != CudaResult.Success)
        {
            throw new CudaException(
                "cuTensorMapEncodeTiled", result,
                $"{operation}: {type} at 0x{address:x}, sizes {List(sizes)}, strides {List(strides)} bytes, boxes {List(box)} by steps {List(elementStrides)}, "
                + $"swizzle {swizzle}");
        }

        return *aligned;

        static string List<T>(ReadOnlySpan<T> values) => string.Join("x", values.ToArray());
    }
}
