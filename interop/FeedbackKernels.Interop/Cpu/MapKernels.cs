using System.Runtime.CompilerServices;

namespace FeedbackKernels.Interop;

/// <summary>The numbers of an <see cref="SgdStep"/>, as jobs carry them: its gradient factor is in the scale already.</summary>
internal struct SgdFactors(in SgdStep step)
{
    public float LearningRate = step.LearningRate, Momentum = step.Momentum, WeightDecay = step.WeightDecay;
    public float GradientScale = step.GradientScale, Shrink = step.Shrink;
    public bool Nesterov = step.Nesterov;
}

/// <summary>Operands of the elementwise kernels. Each map defines which of them it reads and writes.</summary>
internal unsafe struct MapArguments
{
    public float* X, Y, Z;
    public float Alpha, Beta;
    public SgdFactors Step;

    /// <summary>The same operands from element <paramref name="first"/> on.</summary>
    public readonly MapArguments From(long first)
    {
        MapArguments moved = this;
        moved.Move(first);
        return moved;
    }

    /// <summary>Moves to the operands from element <paramref name="first"/> on.</summary>
    public void Move(long first)
    {
        if (X != null) X += first;
        if (Y != null) Y += first;
        if (Z != null) Z += first;
    }
}

/// <summary>An elementwise operation, on the vector of elements at an index.</summary>
internal unsafe interface IMap
{
    static abstract void Apply<TVector, TOps>(MapArguments* a, long i) where TOps : unmanaged, IVectorOps<TVector>;
}

/// <summary>The loop of all elementwise operations: whole vectors, then the remaining elements one by one.</summary>
internal static unsafe class MapKernel<TVector, TOps, TMap>
    where TVector : unmanaged
    where TOps : unmanaged, IVectorOps<TVector>
    where TMap : unmanaged, IMap
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Run(MapArguments* a, long length)
    {
        long i = 0;
        for (; i + TOps.Count <= length; i += TOps.Count) TMap.Apply<TVector, TOps>(a, i);
        for (; i < length; i++) TMap.Apply<float, ScalarOps>(a, i);
    }
}

internal static unsafe class Maps
{
    /// <summary>y += x.</summary>
    public readonly struct Add : IMap
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static void Apply<TVector, TOps>(MapArguments* a, long i) where TOps : unmanaged, IVectorOps<TVector> =>
            TOps.Store(TOps.Add(TOps.Load(a->Y + i), TOps.Load(a->X + i)), a->Y + i);
    }

    /// <summary>y = relu(x).</summary>
    public readonly struct Relu : IMap
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static void Apply<TVector, TOps>(MapArguments* a, long i) where TOps : unmanaged, IVectorOps<TVector> =>
            TOps.Store(TOps.Relu(TOps.Load(a->X + i)), a->Y + i);
    }

    /// <summary>z = y where x > 0, else 0.</summary>
    public readonly struct ReluBackward : IMap
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static void Apply<TVector, TOps>(MapArguments* a, long i) where TOps : unmanaged, IVectorOps<TVector> =>
            TOps.Store(TOps.KeepWherePositive(TOps.Load(a->Y + i), TOps.Load(a->X + i)), a->Z + i);
    }

    /// <summary>y = sigmoid(x).</summary>
    public readonly struct Sigmoid : IMap
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static void Apply<TVector, TOps>(MapArguments* a, long i) where TOps : unmanaged, IVectorOps<TVector> =>
            TOps.Store(Elementwise.Sigmoid<TVector, TOps>(TOps.Load(a->X + i)), a->Y + i);
    }

    /// <summary>z = y * x * (1 - x).</summary>
    public readonly struct SigmoidBackward : IMap
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static void Apply<TVector, TOps>(MapArguments* a, long i) where TOps : unmanaged, IVectorOps<TVector>
        {
            TVector x = TOps.Load(a->X + i);
            TVector slope = TOps.Multiply(x, TOps.Subtract(TOps.Broadcast(1), x));
            TOps.Store(TOps.Multiply(TOps.Load(a->Y + i), slope), a->Z + i);
        }
    }

    /// <summary>y = x.</summary>
    public readonly struct Copy : IMap
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static void Apply<TVector, TOps>(MapArguments* a, long i) where TOps : unmanaged, IVectorOps<TVector> =>
            TOps.Store(TOps.Load(a->X + i), a->Y + i);
    }

    /// <summary>y = alpha.</summary>
    public readonly struct Fill : IMap
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static void Apply<TVector, TOps>(MapArguments* a, long i) where TOps : unmanaged, IVectorOps<TVector> =>
            TOps.Store(TOps.Broadcast(a->Alpha), a->Y + i);
    }

    /// <summary>y = x, with stores that bypass the caches. Vectors of y are aligned.</summary>
    public readonly struct CopyNonTemporal : IMap
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static void Apply<TVector, TOps>(MapArguments* a, long i) where TOps : unmanaged, IVectorOps<TVector> =>
            TOps.StoreNonTemporal(TOps.Load(a->X + i), a->Y + i);
    }

    /// <summary>y = alpha, with stores that bypass the caches. Vectors of y are aligned.</summary>
    public readonly struct FillNonTemporal : IMap
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static void Apply<TVector, TOps>(MapArguments* a, long i) where TOps : unmanaged, IVectorOps<TVector> =>
            TOps.StoreNonTemporal(TOps.Broadcast(a->Alpha), a->Y + i);
    }

    /// <summary>SGD on parameter y with gradient x and velocity z; see <see cref="SgdStep"/>.</summary>
    public readonly struct Sgd : IMap
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static void Apply<TVector, TOps>(MapArguments* a, long i) where TOps : unmanaged, IVectorOps<TVector>
        {
            TVector momentum = TOps.Broadcast(a->Step.Momentum);
            TVector parameter = TOps.Load(a->Y + i);
            TVector gradient = TOps.MultiplyAdd(
                TOps.Broadcast(a->Step.WeightDecay), parameter, TOps.Multiply(TOps.Broadcast(a->Step.GradientScale), TOps.Load(a->X + i)));
            TVector velocity = TOps.MultiplyAdd(momentum, TOps.Load(a->Z + i), gradient);
            TVector move = a->Step.Nesterov ? TOps.MultiplyAdd(momentum, velocity, gradient) : velocity;
            parameter = TOps.MultiplyAdd(TOps.Broadcast(-a->Step.LearningRate), move, parameter);
            TOps.Store(TOps.Multiply(TOps.Broadcast(a->Step.Shrink), parameter), a->Y + i);
            TOps.Store(velocity, a->Z + i);
        }
    }

    /// <summary>y = alpha * x.</summary>
    public readonly struct ScaleTo : IMap
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static void Apply<TVector, TOps>(MapArguments* a, long i) where TOps : unmanaged, IVectorOps<TVector> =>
            TOps.Store(TOps.Multiply(TOps.Broadcast(a->Alpha), TOps.Load(a->X + i)), a->Y + i);
    }

    /// <summary>y = alpha * x + beta * z.</summary>
    public readonly struct Combine : IMap
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static void Apply<TVector, TOps>(MapArguments* a, long i) where TOps : unmanaged, IVectorOps<TVector>
        {
            TVector scaled = TOps.Multiply(TOps.Broadcast(a->Alpha), TOps.Load(a->X + i));
            TOps.Store(TOps.MultiplyAdd(TOps.Broadcast(a->Beta), TOps.Load(a->Z + i), scaled), a->Y + i);
        }
    }

    /// <summary>y = alpha * sign(x), or alpha * abs(z) * sign(x) where z is given.</summary>
    public readonly struct Sign : IMap
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static void Apply<TVector, TOps>(MapArguments* a, long i) where TOps : unmanaged, IVectorOps<TVector>
        {
            TVector x = TOps.Load(a->X + i), magnitude = TOps.Broadcast(a->Alpha);
            if (a->Z != null)
            {
                TVector z = TOps.Load(a->Z + i);
                TVector negated = TOps.Subtract(TOps.Zero, z);
                magnitude = TOps.Multiply(magnitude, TOps.Add(TOps.KeepWherePositive(z, z), TOps.KeepWherePositive(negated, negated)));
            }

            TVector positive = TOps.KeepWherePositive(magnitude, x);
            TVector negative = TOps.KeepWherePositive(magnitude, TOps.Subtract(TOps.Zero, x));
            TOps.Store(TOps.Subtract(positive, negative), a->Y + i);
        }
    }
}
