namespace FeedbackKernels.Interop;

/// <summary>
/// An elementwise operation between a tensor in forward layout, [R][S][C][K], and tensors in feedback layout, [R][S][K][C]. Blocks of the
/// first are transposed into a buffer, which the map reads as its X. The same map can also run over tensors in forward layout, in the
/// same pass.
/// </summary>
internal unsafe struct TransposedMapJob : IParallelJob
{
    // A block of 64 by 64: a buffer of 16 KiB in L1, and rows long enough for a call on both sides.
    private const int BlockK = 64, BlockC = 64;

    public CpuKernels* Kernels;
    public delegate*<MapArguments*, long, void> Kernel;

    /// <summary>Y and Z are in feedback layout; X is not used.</summary>
    public MapArguments Arguments;

    /// <summary>X, Y and Z in forward layout; absent if the map does not run there.</summary>
    public MapArguments ForwardArguments;
    public float* Forward;
    public int Taps, C, K;

    private readonly int BlocksOfK => Rounding.DivideUp32(K, BlockK);

    private readonly int BlocksOfC => Rounding.DivideUp32(C, BlockC);

    public readonly int Items => WorkItems.Checked((long)Taps * BlocksOfK);

    public readonly void Run(int item, int worker)
    {
        float* scratch = stackalloc float[BlockK * BlockC];
        Block block = BlockOf(item, 0);
        for (int i = 1; i <= BlocksOfC; i++)
        {
            Block next = i < BlocksOfC ? BlockOf(item, i) : item + 1 < Items ? BlockOf(item + 1, 0) : default;
            RunBlock(block, next, scratch);
            block = next;
        }
    }

    private readonly Block BlockOf(int item, int i)
    {
        int firstK = item % BlocksOfK * BlockK, firstC = i * BlockC;
        return new Block(item / BlocksOfK, firstK, firstC, Math.Min(BlockK, K - firstK), Math.Min(BlockC, C - firstC));
    }

    private readonly void RunBlock(in Block block, in Block next, float* scratch)
    {
        Kernels->Transpose(Forward + ForwardAt(block, 0), K, block.Columns, block.Rows, scratch, BlockC);
        MapArguments row = ForwardArguments.From(ForwardAt(block, 0));
        for (int c = 0; c < block.Columns; c++)
        {
            if (c < next.Columns) FetchForward(ForwardAt(next, c), next.Rows);
            if (ForwardArguments.Y == null) continue;
            Kernel(&row, block.Rows);
            row.Move(K);
        }

        row = Arguments.From(FeedbackAt(block, 0));
        for (int k = 0; k < block.Rows; k++)
        {
            if (k < next.Rows) FetchFeedback(FeedbackAt(next, k), next.Columns);
            row.X = scratch + k * BlockC;
            Kernel(&row, block.Columns);
            row.Move(C);
        }
    }

    private readonly long ForwardAt(in Block block, int c) => ((long)block.Tap * C + block.FirstC + c) * K + block.FirstK;

    private readonly long FeedbackAt(in Block block, int k) => ((long)block.Tap * K + block.FirstK + k) * C + block.FirstC;

    // The rows of a block are too short and too far apart for the hardware prefetcher. They are prefetched a block ahead.
    private readonly void FetchForward(long at, int floats)
    {
        Fetch(Forward, at, floats);
        Fetch(ForwardArguments.Y, at, floats);
        Fetch(ForwardArguments.Z, at, floats);
    }

    private readonly void FetchFeedback(long at, int floats)
    {
        Fetch(Arguments.Y, at, floats);
        Fetch(Arguments.Z, at, floats);
    }

    private static void Fetch(float* tensor, long at, int floats)
    {
        if (tensor != null) Caches.FetchIntoLevel2(tensor + at, floats);
    }

    /// <summary>A block of input channels by output channels of one tap.</summary>
    private readonly record struct Block(int Tap, int FirstK, int FirstC, int Rows, int Columns);
}
