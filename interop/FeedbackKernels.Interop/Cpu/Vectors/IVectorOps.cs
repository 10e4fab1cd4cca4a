namespace FeedbackKernels.Interop;

/// <summary>
/// The vector operations of the CPU kernels, for one vector type. A kernel is generic over the raw vector type and its operations, so
/// that the JIT sees intrinsics on local variables. (A struct around the vector would be easier to read, but the JIT spills a tile of
/// more than 16 such structs: measured 0.25 of peak against 0.99.)
/// </summary>
internal unsafe interface IVectorOps<T>
{
    /// <summary>Floats in a vector.</summary>
    static abstract int Count { get; }

    /// <summary>Vector registers of the instruction set, which limit the height of a tile.</summary>
    static abstract int Registers { get; }

    static abstract T Zero { get; }

    static abstract T Load(float* source);

    static abstract void Store(T value, float* destination);

    /// <summary>Stores without using the caches, if the machine supports it. The destination is aligned to the vector.</summary>
    static abstract void StoreNonTemporal(T value, float* destination);

    static abstract T Broadcast(float value);

    /// <summary>Prefetches the cache line at an address, which need not be mapped.</summary>
    static abstract void Prefetch(void* address);

    static abstract T Add(T a, T b);

    static abstract T Subtract(T a, T b);

    static abstract T Multiply(T a, T b);

    static abstract T Divide(T a, T b);

    /// <summary>a * b + c, fused if the machine has fused multiply-add.</summary>
    static abstract T MultiplyAdd(T a, T b, T c);

    /// <summary>max(0, value); NaN stays NaN.</summary>
    static abstract T Relu(T value);

    /// <summary>value where test > 0, else 0.</summary>
    static abstract T KeepWherePositive(T value, T test);

    static abstract T Exp(T value);

    /// <summary>ifAbove where value > bound, or value is NaN and bound is not; else otherwise.</summary>
    static abstract T SelectIfAbove(T value, T bound, T ifAbove, T otherwise);

    /// <summary>Transposes a square block of <see cref="Count"/> rows by as many columns; strides in floats. With nonTemporal the columns are stored
    /// past the caches, each from an address that is a multiple of the vector; operations that store no whole vectors do not tell the
    /// difference.</summary>
    static abstract void Transpose(float* source, nint sourceStride, float* destination, nint destinationStride, bool nonTemporal);

    /// <summary>Sum over the lanes.</summary>
    static abstract float Sum(T value);
}
