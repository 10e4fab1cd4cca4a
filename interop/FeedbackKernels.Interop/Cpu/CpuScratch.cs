namespace FeedbackKernels.Interop;

/// <summary>Purpose of a block of scratch memory. Blocks that are in use at the same time have different purposes.</summary>
internal enum ScratchUse
{
    Panels,
    SpreadPixels,
    ProductPixels,
    ChunkResults,
    ChunkRows,
    ChannelVectors,
    SplitSums,
    GradientBlocks,
    MirrorNoise,
    MirrorResponse,
    MirrorDifference,
    MirrorCorrelation,
    NoiseColumns,
    NoiseMagnitudes,
    DoubleSums,
    SlabItems,
    WinogradWeights,
    WinogradTiles,
    WinogradProducts,
    WinogradSums,
    WinogradZeros,
}

/// <summary>Scratch memory of the CPU backend.</summary>
internal abstract unsafe class CpuScratch : IDisposable
{
    // Tiles read whole vectors, up to two past the last column.
    protected const long SlackBytes = 256;

    protected static readonly int Uses = Enum.GetValues<ScratchUse>().Length;

    /// <summary>Bytes in use at present.</summary>
    public abstract long Bytes { get; }

    /// <summary>Whether an operation must know how much it needs before it begins.</summary>
    public virtual bool IsLimited => false;

    public float* Floats(ScratchUse use, long count) => (float*)Block(use, checked(count * sizeof(float)));

    public int* Ints(ScratchUse use, long count) => (int*)Block(use, checked(count * sizeof(int)));

    public double* Doubles(ScratchUse use, long count) => (double*)Block(use, checked(count * sizeof(double)));

    /// <summary>Begins an operation: no block of the one before is in use.</summary>
    public virtual void Begin()
    {
    }

    /// <summary>Refuses an operation that needs more than there is.</summary>
    /// <exception cref="InvalidOperationException">There is less.</exception>
    public virtual void Require(long bytes)
    {
    }

    public abstract void Dispose();

    /// <summary>At least this many bytes, on a boundary of 64. A later block of the same use takes the place of this one.</summary>
    protected abstract void* Block(ScratchUse use, long bytes);
}

/// <summary>Scratch memory that grows to the needs of the largest operation and is reused. Once it has grown, a step allocates nothing.</summary>
internal sealed unsafe class GrowingScratch : CpuScratch
{
    private readonly NativeMemoryHandle?[] _blocks = new NativeMemoryHandle?[Uses];
    private readonly long[] _bytes = new long[Uses];

    public override long Bytes => _bytes.Sum();

    public override void Dispose()
    {
        foreach (NativeMemoryHandle? block in _blocks) block?.Dispose();
    }

    protected override void* Block(ScratchUse use, long bytes)
    {
        int i = (int)use;
        if (_blocks[i] is null || _bytes[i] < bytes)
        {
            _blocks[i]?.Dispose();
            _blocks[i] = new NativeMemoryHandle(bytes + SlackBytes);
            _bytes[i] = bytes;
        }

        return (void*)_blocks[i]!.DangerousGetHandle();
    }
}
