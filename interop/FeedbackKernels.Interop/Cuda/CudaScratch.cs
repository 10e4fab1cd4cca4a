namespace FeedbackKernels.Interop;

/// <summary>What a backend uses device memory of its own for.</summary>
internal enum ScratchPurpose
{
    /// <summary>Two sums for each channel, of each chunk of rows or each tile.</summary>
    ChannelPartials,

    /// <summary>The number of rows of each tile, where tiles differ.</summary>
    TileCounts,

    /// <summary>Two vectors of one element a channel, between the kernels of a batch norm's backward pass.</summary>
    ChannelVectors,

    /// <summary>Partial sums of a weight gradient, one of each split.</summary>
    SplitK,

    /// <summary>Responses of a mirror step.</summary>
    MirrorResponse,

    /// <summary>W - Bᵀ of a mirror step, Float32.</summary>
    MirrorDifference,

    /// <summary>The same in the type of the operands.</summary>
    MirrorOperand,

    /// <summary>Correlation of a mirror step that corrects B.</summary>
    MirrorCorrelation,

    /// <summary>Float32 weights, rounded to the type of the operands.</summary>
    RoundedWeights,

    /// <summary>Inner products of each block, and their sum.</summary>
    AlignmentSums,
}

/// <summary>
/// Device memory between the kernels of one operation. It grows to the largest operation so far, so a training step that has run once
/// allocates nothing afterwards.
/// </summary>
internal sealed class CudaScratch(CudaHeap heap) : IDisposable
{
    private readonly (CudaMemory? Memory, long Bytes)[] _blocks = new (CudaMemory?, long)[Enum.GetValues<ScratchPurpose>().Length];
    private bool _disposed;

    /// <summary>Memory of at least this size. Its contents are undefined, and lost at the next call for the same purpose.</summary>
    public nint Get(ScratchPurpose purpose, long bytes)
    {
        // The context outlives the backend while a buffer exists: it would allocate memory that nobody frees.
        ObjectDisposedException.ThrowIf(_disposed, typeof(CudaBackend));
        ref (CudaMemory? Memory, long Bytes) block = ref _blocks[(int)purpose];
        if (block.Bytes < bytes)
        {
            // The old block is freed after the work that is queued or recorded.
            block.Memory?.Dispose();
            block = default;
            block = (heap.Allocate(bytes, $"the backend's own {purpose}"), bytes);
        }

        return block.Memory!.DangerousGetHandle();
    }

    public void Dispose()
    {
        _disposed = true;
        for (int i = 0; i < _blocks.Length; i++)
        {
            _blocks[i].Memory?.Dispose();
            _blocks[i] = default;
        }
    }
}
