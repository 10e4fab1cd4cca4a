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
    public static void Transpose(float* source, nint sourceStride, float* destination, nint destinationStride)
    {
        Vector512<float>* quads = stackalloc Vector512<float>[16];
        for (int i = 0; i < 4; i++, source += 4 * sourceStride)
        {
            Vector512<float> r0 = Vector512.Load(source), r1 = Vector512.Load(source + sourceStride);
            Vector512<float> r2 = Vector512.Load(source + 2 * sourceStride), r3 = Vector512.Load(source + 3 * sourceStride);
            Vector512<double> low01 = Avx512F.UnpackLow(r0, r1).AsDouble(), high01 = Avx512F.UnpackHigh(r0, r1).AsDouble();
            Vector512<double> low23 = Avx512F.UnpackLow(r2, r3).AsDouble(), high23 = Avx512F.UnpackHigh(r2, r3).AsDouble();
            // Quarter q of quads[4 * j + i] is column 4 * q + j of these four rows.
            quads[i] = Avx512F.UnpackLow(low01, low23).AsSingle();
            quads[4 + i] = Avx512F.UnpackHigh(low01, low23).AsSingle();
            quads[8 + i] = Avx512F.UnpackLow(high01, high23).AsSingle();
            quads[12 + i] = Avx512F.UnpackHigh(high01, high23).AsSingle();
        }

        for (int j = 0; j < 4; j++, destination += destinationStride)
        {
            Vector512<float> q0 = quads[4 * j], q1 = quads[4 * j + 1], q2 = quads[4 * j + 2], q3 = quads[4 * j + 3];
            // 0x88 takes quarters 0 and 2 of each operand, 0xDD quarters 1 and 3.
            Vector512<float> even01 = Avx512F.Shuffle4x128(q0, q1, 0x88), odd01 = Avx512F.Shuffle4x128(q0, q1, 0xDD);
            Vector512<float> even23 = Avx512F.Shuffle4x128(q2, q3, 0x88), odd23 = Avx512F.Shuffle4x128(q2, q3, 0xDD);
            Avx512F.Shuffle4x128(even01, even23, 0x88).Store(destination);
            Avx512F.Shuffle4x128(odd01, odd23, 0x88).Store(destination + 4 * destinationStride);
            Avx512F.Shuffle4x128(even01, even23, 0xDD).Store(destination + 8 * destinationStride);
            Avx512F.Shuffle4x128(odd01, odd23, 0xDD).Store(destination + 12 * destinationStride);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Sum(Vector512<float> value) => Vector512.Sum(value);
}
