using System.Runtime.CompilerServices;

namespace FeedbackKernels.Interop;

/// <summary>Four vectors side by side. The JIT keeps structs of at most four fields in registers.</summary>
internal struct Quad<TVector>
{
    public TVector A, B, C, D;
}

/// <summary>
/// Operations on four vectors as one. A kernel over [rows][channels] that is instantiated for them reads four cache lines of a row at a
/// time instead of one, which gives a higher memory bandwidth.
/// </summary>
internal readonly unsafe struct QuadOps<TVector, TOps> : IVectorOps<Quad<TVector>>
    where TOps : unmanaged, IVectorOps<TVector>
{
    public static int Count => 4 * TOps.Count;

    public static int Registers => TOps.Registers / 4;

    public static Quad<TVector> Zero => Broadcast(0);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Quad<TVector> Load(float* source)
    {
        Quad<TVector> q;
        q.A = TOps.Load(source);
        q.B = TOps.Load(source + TOps.Count);
        q.C = TOps.Load(source + 2 * TOps.Count);
        q.D = TOps.Load(source + 3 * TOps.Count);
        return q;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(Quad<TVector> value, float* destination)
    {
        TOps.Store(value.A, destination);
        TOps.Store(value.B, destination + TOps.Count);
        TOps.Store(value.C, destination + 2 * TOps.Count);
        TOps.Store(value.D, destination + 3 * TOps.Count);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreNonTemporal(Quad<TVector> value, float* destination) => Store(value, destination);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Quad<TVector> Broadcast(float value)
    {
        Quad<TVector> q;
        q.A = q.B = q.C = q.D = TOps.Broadcast(value);
        return q;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Prefetch(void* address) => TOps.Prefetch(address);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Quad<TVector> Add(Quad<TVector> a, Quad<TVector> b)
    {
        Quad<TVector> q;
        q.A = TOps.Add(a.A, b.A);
        q.B = TOps.Add(a.B, b.B);
        q.C = TOps.Add(a.C, b.C);
        q.D = TOps.Add(a.D, b.D);
        return q;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Quad<TVector> Subtract(Quad<TVector> a, Quad<TVector> b)
    {
        Quad<TVector> q;
        q.A = TOps.Subtract(a.A, b.A);
        q.B = TOps.Subtract(a.B, b.B);
        q.C = TOps.Subtract(a.C, b.C);
        q.D = TOps.Subtract(a.D, b.D);
        return q;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Quad<TVector> Multiply(Quad<TVector> a, Quad<TVector> b)
    {
        Quad<TVector> q;
        q.A = TOps.Multiply(a.A, b.A);
        q.B = TOps.Multiply(a.B, b.B);
        q.C = TOps.Multiply(a.C, b.C);
        q.D = TOps.Multiply(a.D, b.D);
        return q;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Quad<TVector> Divide(Quad<TVector> a, Quad<TVector> b)
    {
        Quad<TVector> q;
        q.A = TOps.Divide(a.A, b.A);
        q.B = TOps.Divide(a.B, b.B);
        q.C = TOps.Divide(a.C, b.C);
        q.D = TOps.Divide(a.D, b.D);
        return q;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Quad<TVector> MultiplyAdd(Quad<TVector> a, Quad<TVector> b, Quad<TVector> c)
    {
        Quad<TVector> q;
        q.A = TOps.MultiplyAdd(a.A, b.A, c.A);
        q.B = TOps.MultiplyAdd(a.B, b.B, c.B);
        q.C = TOps.MultiplyAdd(a.C, b.C, c.C);
        q.D = TOps.MultiplyAdd(a.D, b.D, c.D);
        return q;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Quad<TVector> Relu(Quad<TVector> value)
    {
        Quad<TVector> q;
        q.A = TOps.Relu(value.A);
        q.B = TOps.Relu(value.B);
        q.C = TOps.Relu(value.C);
        q.D = TOps.Relu(value.D);
        return q;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Quad<TVector> KeepWherePositive(Quad<TVector> value, Quad<TVector> test)
    {
        Quad<TVector> q;
        q.A = TOps.KeepWherePositive(value.A, test.A);
        q.B = TOps.KeepWherePositive(value.B, test.B);
        q.C = TOps.KeepWherePositive(value.C, test.C);
        q.D = TOps.KeepWherePositive(value.D, test.D);
        return q;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Quad<TVector> Exp(Quad<TVector> value)
    {
        Quad<TVector> q;
        q.A = TOps.Exp(value.A);
        q.B = TOps.Exp(value.B);
        q.C = TOps.Exp(value.C);
        q.D = TOps.Exp(value.D);
        return q;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Quad<TVector> SelectIfAbove(Quad<TVector> value, Quad<TVector> bound, Quad<TVector> ifAbove, Quad<TVector> otherwise)
    {
        Quad<TVector> q;
        q.A = TOps.SelectIfAbove(value.A, bound.A, ifAbove.A, otherwise.A);
        q.B = TOps.SelectIfAbove(value.B, bound.B, ifAbove.B, otherwise.B);
        q.C = TOps.SelectIfAbove(value.C, bound.C, ifAbove.C, otherwise.C);
        q.D = TOps.SelectIfAbove(value.D, bound.D, ifAbove.D, otherwise.D);
        return q;
    }

    public static void Transpose(float* source, nint sourceStride, float* destination, nint destinationStride, bool nonTemporal)
    {
        for (int i = 0; i < Count; i++)
        {
            for (int j = 0; j < Count; j++) destination[j * destinationStride + i] = source[i * sourceStride + j];
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float Sum(Quad<TVector> value) => TOps.Sum(TOps.Add(TOps.Add(value.A, value.B), TOps.Add(value.C, value.D)));
}
