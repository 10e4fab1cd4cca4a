namespace FeedbackKernels.Interop;

/// <summary>
/// The operations that the CPU kernels are written in, for one vector type. A kernel is generic over the raw vector type
/// and its operations: the JIT then sees plain intrinsics on locals. (Wrapping the vector in a struct of our own reads
/// better, but the JIT spills a tile of more than 16 such structs; measured 0.25 of peak against 0.99.)
/// </summary>
internal unsafe interface IVectorOps<T>
{
    /// <summary>Floats in a vector.</summary>
    static abstract int Count { get; }

    /// <summary>Vector registers that the instruction set has: bounds the height of a tile.</summary>
    static abstract int Registers { get; }

    static abstract T Zero { get; }

    static abstract T Load(float* source);

    static abstract void Store(T value, float* destination);

    /// <summary>Stores past the caches, where the machine can; the destination is aligned to the vector.</summary>
    static abstract void StoreNonTemporal(T value, float* destination);

    static abstract T Broadcast(float value);

    /// <summary>Asks for the cache line at an address, which need not be mapped.</summary>
    static abstract void Prefetch(void* address);

    static abstract T Add(T a, T b);

    static abstract T Subtract(T a, T b);

    static abstract T Multiply(T a, T b);

    static abstract T Divide(T a, T b);

    /// <summary>a * b + c, fused where the machine fuses.</summary>
    static abstract T MultiplyAdd(T a, T b, T c);

    /// <summary>max(0, value); NaN stays NaN.</summary>
    static abstract T Relu(T value);

    /// <summary>value where test > 0, else 0.</summary>
    static abstract T KeepWherePositive(T value, T test);

    static abstract T Exp(T value);

    /// <summary>ifAbove where value > bound, or value is NaN and bound is not; else otherwise.</summary>
    static abstract T SelectIfAbove(T value, T bound, T ifAbove, T otherwise);

    /// <summary>Transposes a square block of <see cref="Count"/> rows by as many columns; strides in floats.</summary>
    static abstract void Transpose(float* source, nint sourceStride, float* destination, nint destinationStride);

    /// <summary>Sum over the lanes.</summary>
    static abstract float Sum(T value);
}
