using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace FeedbackKernels.Data;

/// <summary>The vector operations of the vertical pass, for one vector type. Interleaving and packing work on 16 bytes each, so that packing undoes
/// what interleaving did.</summary>
internal unsafe interface IByteVector<T>
{
    /// <summary>Bytes in a vector.</summary>
    static abstract int Count { get; }

    static abstract T Load(byte* source);

    static abstract void Store(T value, byte* destination);

    /// <summary>A pair of 16-bit numbers, repeated.</summary>
    static abstract T Broadcast(int pair);

    /// <summary>Bytes of a and b in turn, from the lower half of each 16.</summary>
    static abstract T InterleaveLow(T a, T b);

    /// <summary>Bytes of a and b in turn, from the upper half of each 16.</summary>
    static abstract T InterleaveHigh(T a, T b);

    /// <summary>sum + products of the 16-bit numbers, added in pairs.</summary>
    static abstract T MultiplyAdd(T pixels, T weights, T sum);

    /// <summary>The 32-bit sums of both parts of the weights as whole pixels.</summary>
    static abstract T Round(T upper, T lower);

    /// <summary>32-bit numbers to bytes.</summary>
    static abstract T Pack(T a, T b, T c, T d);
}

/// <summary>32 bytes with AVX2.</summary>
internal readonly unsafe struct Vector256Bytes : IByteVector<Vector256<byte>>
{
    public static int Count => Vector256<byte>.Count;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Load(byte* source) => Vector256.Load(source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(Vector256<byte> value, byte* destination) => value.Store(destination);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Broadcast(int pair) => Vector256.Create(pair).AsByte();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> InterleaveLow(Vector256<byte> a, Vector256<byte> b) => Avx2.UnpackLow(a, b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> InterleaveHigh(Vector256<byte> a, Vector256<byte> b) => Avx2.UnpackHigh(a, b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> MultiplyAdd(Vector256<byte> pixels, Vector256<byte> weights, Vector256<byte> sum) =>
        (sum.AsInt32() + Avx2.MultiplyAddAdjacent(pixels.AsInt16(), weights.AsInt16())).AsByte();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Round(Vector256<byte> upper, Vector256<byte> lower) =>
        (((upper.AsInt32() << ResampleAxis.SplitBits) + lower.AsInt32() + Vector256.Create(ResampleKernels.Half)) >> ResampleKernels.Shift).AsByte();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Pack(Vector256<byte> a, Vector256<byte> b, Vector256<byte> c, Vector256<byte> d) =>
        Avx2.PackUnsignedSaturate(Avx2.PackSignedSaturate(a.AsInt32(), b.AsInt32()), Avx2.PackSignedSaturate(c.AsInt32(), d.AsInt32()));
}

/// <summary>64 bytes with AVX-512.</summary>
internal readonly unsafe struct Vector512Bytes : IByteVector<Vector512<byte>>
{
    public static int Count => Vector512<byte>.Count;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<byte> Load(byte* source) => Vector512.Load(source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(Vector512<byte> value, byte* destination) => value.Store(destination);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<byte> Broadcast(int pair) => Vector512.Create(pair).AsByte();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<byte> InterleaveLow(Vector512<byte> a, Vector512<byte> b) => Avx512BW.UnpackLow(a, b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<byte> InterleaveHigh(Vector512<byte> a, Vector512<byte> b) => Avx512BW.UnpackHigh(a, b);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<byte> MultiplyAdd(Vector512<byte> pixels, Vector512<byte> weights, Vector512<byte> sum) =>
        (sum.AsInt32() + Avx512BW.MultiplyAddAdjacent(pixels.AsInt16(), weights.AsInt16())).AsByte();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<byte> Round(Vector512<byte> upper, Vector512<byte> lower) =>
        (((upper.AsInt32() << ResampleAxis.SplitBits) + lower.AsInt32() + Vector512.Create(ResampleKernels.Half)) >> ResampleKernels.Shift).AsByte();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<byte> Pack(Vector512<byte> a, Vector512<byte> b, Vector512<byte> c, Vector512<byte> d) =>
        Avx512BW.PackUnsignedSaturate(Avx512BW.PackSignedSaturate(a.AsInt32(), b.AsInt32()), Avx512BW.PackSignedSaturate(c.AsInt32(), d.AsInt32()));
}
