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

/// <summary>Scratch memory that grows to the needs of the largest operation and is reused. Once it has grown, a step allocates nothing.</summary>
internal sealed unsafe class CpuScratch : IDisposable
{
    // Tiles read whole vectors, up to two past the last column.
    private const long SlackBytes = 256;

    private readonly NativeMemoryHandle?[] _blocks = new NativeMemoryHandle?[Enum.GetValues<ScratchUse>().Length];
    private readonly long[] _bytes = new long[Enum.GetValues<ScratchUse>().Length];

    /// <summary>Bytes allocated at present.</summary>
    public long Bytes => _bytes.Sum();

    public float* Floats(ScratchUse use, long count) => (float*)Block(use, checked(count * sizeof(float)));

    public int* Ints(ScratchUse use, long count) => (int*)Block(use, checked(count * sizeof(int)));

    public double* Doubles(ScratchUse use, long count) => (double*)Block(use, checked(count * sizeof(double)));

    public void Dispose()
    {
        foreach (NativeMemoryHandle? block in _blocks) block?.Dispose();
    }

    private void* Block(ScratchUse use, long bytes)
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
