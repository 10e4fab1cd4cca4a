namespace FeedbackKernels.Interop;

/// <summary>What a backend keeps device memory of its own for.</summary>
internal enum ScratchPurpose
{
    /// <summary>Sums of one chunk of rows or one tile, a pair for each channel.</summary>
    ChannelPartials,

    /// <summary>Rows of one tile each, where they differ.</summary>
    TileCounts,

    /// <summary>Two numbers a channel between the passes of a batch norm's backward step.</summary>
    ChannelVectors,

    /// <summary>Partial sums of a weight gradient, one of each split.</summary>
    SplitK,

    /// <summary>Responses of a mirror step.</summary>
    MirrorResponse,

    /// <summary>A Float32 weight operand, rounded to what products take.</summary>
    RoundedWeights,

    /// <summary>Inner products of one block each, and their sum.</summary>
    AlignmentSums,
}

/// <summary>
/// Device memory between the kernels of one operation. It grows to the largest operation seen, so a training step that has
/// run once allocates nothing afterwards.
/// </summary>
internal sealed class CudaScratch(CudaHeap heap) : IDisposable
{
    private readonly (CudaMemory? Memory, long Bytes)[] _blocks = new (CudaMemory?, long)[Enum.GetValues<ScratchPurpose>().Length];
    private bool _disposed;

    /// <summary>An address with room for so many bytes; contents are undefined, and lost at the next call for the purpose.</summary>
    public nint Get(ScratchPurpose purpose, long bytes)
    {
        // A buffer that is alive keeps the context, which would give memory that nobody frees.
        ObjectDisposedException.ThrowIf(_disposed, typeof(CudaBackend));
        ref (CudaMemory? Memory, long Bytes) block = ref _blocks[(int)purpose];
        if (block.Bytes < bytes)
        {
            // The old block goes when what was queued has ended, or what is noted of a step has been launched.
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
