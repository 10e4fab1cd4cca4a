using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace FeedbackKernels.Interop;

/// <summary>16 floats, AVX-512.</summary>
internal readonly unsafe struct Avx512Ops : IVectorOps<Vector512<float>>
{
    public static int Count => Vector512<float>.Count;

    public static int Registers => 32;

    public static Vector512<float> Zero => Vector512<float>.Zero;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Load(float* source) => Vector512.Load(source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(Vector512<float> value, float* destination) => value.Store(destination);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreNonTemporal(Vector512<float> value, float* destination) => value.StoreAlignedNonTemporal(destination);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Broadcast(float value) => Vector512.Create(value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Prefetch(void* address) => Sse.Prefetch0(address);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Add(Vector512<float> a, Vector512<float> b) => a + b;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Subtract(Vector512<float> a, Vector512<float> b) => a - b;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Multiply(Vector512<float> a, Vector512<float> b) => a * b;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Divide(Vector512<float> a, Vector512<float> b) => a / b;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> MultiplyAdd(Vector512<float> a, Vector512<float> b, Vector512<float> c) =>
        Avx512F.FusedMultiplyAdd(a, b, c);

    // The maximum instruction returns its second operand if either is NaN, so zero is the first.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Relu(Vector512<float> value) => Vector512.MaxNative(Vector512<float>.Zero, value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> KeepWherePositive(Vector512<float> value, Vector512<float> test) =>
        Vector512.ConditionalSelect(Vector512.GreaterThan(test, Vector512<float>.Zero), value, Vector512<float>.Zero);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Exp(Vector512<float> value) => Vector512.Exp(value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> SelectIfAbove(Vector512<float> value, Vector512<float> bound, Vector512<float> ifAbove, Vector512<float> otherwise) =>
        Vector512.ConditionalSelect(
            Vector512.AndNot(Vector512.Equals(bound, bound), Vector512.LessThanOrEqual(value, bound)), ifAbove, otherwise);

    // Neighbouring rows are interleaved, then pairs of them, then 128-bit quarters: 64 shuffles for 256 numbers.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Transpose(float* source, nint sourceStride, float* destination, nint destinationStride, bool nonTemporal)
    {
        // In registers: of a buffer on the stack, which is not always in whole lines, every store and load may touch two.
        FourRows(source, sourceStride, out Vector512<float> a0, out Vector512<float> a1, out Vector512<float> a2, out Vector512<float> a3);
        FourRows(source + 4 * sourceStride, sourceStride, out Vector512<float> b0, out Vector512<float> b1, out Vector512<float> b2, out Vector512<float> b3);
        FourRows(source + 8 * sourceStride, sourceStride, out Vector512<float> c0, out Vector512<float> c1, out Vector512<float> c2, out Vector512<float> c3);
        FourRows(source + 12 * sourceStride, sourceStride, out Vector512<float> d0, out Vector512<float> d1, out Vector512<float> d2, out Vector512<float> d3);
        EveryFourthColumn(a0, b0, c0, d0, destination, 4 * destinationStride, nonTemporal);
        EveryFourthColumn(a1, b1, c1, d1, destination + destinationStride, 4 * destinationStride, nonTemporal);
        EveryFourthColumn(a2, b2, c2, d2, destination + 2 * destinationStride, 4 * destinationStride, nonTemporal);
        EveryFourthColumn(a3, b3, c3, d3, destination + 3 * destinationStride, 4 * destinationStride, nonTemporal);
    }

    /// <summary>Transposes the quarters of four rows: quarter q of vector j is column 4 * q + j of them.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void FourRows(
        float* source, nint stride, out Vector512<float> v0, out Vector512<float> v1, out Vector512<float> v2, out Vector512<float> v3)
    {
        Vector512<float> r0 = Vector512.Load(source), r1 = Vector512.Load(source + stride);
        Vector512<float> r2 = Vector512.Load(source + 2 * stride), r3 = Vector512.Load(source + 3 * stride);
        Vector512<double> low01 = Avx512F.UnpackLow(r0, r1).AsDouble(), high01 = Avx512F.UnpackHigh(r0, r1).AsDouble();
        Vector512<double> low23 = Avx512F.UnpackLow(r2, r3).AsDouble(), high23 = Avx512F.UnpackHigh(r2, r3).AsDouble();
        v0 = Avx512F.UnpackLow(low01, low23).AsSingle();
        v1 = Avx512F.UnpackHigh(low01, low23).AsSingle();
        v2 = Avx512F.UnpackLow(high01, high23).AsSingle();
        v3 = Avx512F.UnpackHigh(high01, high23).AsSingle();
    }

    /// <summary>Stores columns j, j + 4, j + 8 and j + 12 from the vectors j of the four groups of rows.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void EveryFourthColumn(
        Vector512<float> rows0, Vector512<float> rows4, Vector512<float> rows8, Vector512<float> rows12, float* destination, nint stride, bool nonTemporal)
    {
        // 0x88 takes quarters 0 and 2 of each operand, 0xDD quarters 1 and 3.
        Vector512<float> even04 = Avx512F.Shuffle4x128(rows0, rows4, 0x88), odd04 = Avx512F.Shuffle4x128(rows0, rows4, 0xDD);
        Vector512<float> even812 = Avx512F.Shuffle4x128(rows8, rows12, 0x88), odd812 = Avx512F.Shuffle4x128(rows8, rows12, 0xDD);
        Put(Avx512F.Shuffle4x128(even04, even812, 0x88), destination, nonTemporal);
        Put(Avx512F.Shuffle4x128(odd04, odd812, 0x88), destination + stride, nonTemporal);
        Put(Avx512F.Shuffle4x128(even04, even812, 0xDD), destination + 2 * stride, nonTemporal);
        Put(Avx512F.Shuffle4x128(odd04, odd812, 0xDD), destination + 3 * stride, nonTemporal);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Put(Vector512<float> value, float* destination, bool nonTemporal)
    {
        if (nonTemporal) value.StoreAlignedNonTemporal(destination);
        else value.Store(destination);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Sum(Vector512<float> value) => Vector512.Sum(value);
}
