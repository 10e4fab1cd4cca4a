namespace FeedbackKernels.Interop;

/// <summary>An elementwise operation, cut into runs of elements.</summary>
internal unsafe struct MapJob : IParallelJob
{
    // 64 KiB of one operand: two or three of them stay in L2.
    private const int ItemFloats = 16 * 1024;

    public delegate*<MapArguments*, long, void> Kernel;
    public MapArguments Arguments;
    public long Length;

    public readonly int Items => WorkItems.Checked((Length + ItemFloats - 1) / ItemFloats);

    public readonly void Run(int item, int worker)
    {
        long first = (long)item * ItemFloats;
        MapArguments part = Arguments.From(first);
        Kernel(&part, Math.Min(ItemFloats, Length - first));
    }
}

/// <summary>An elementwise update of many segments of a slab, each cut into runs of elements: one distribution of work for them all,
/// since most parameters of a net (biases, batch norms) are too small for one of their own.</summary>
internal unsafe struct SlabJob : IParallelJob
{
    // As of a map.
    private const int ItemFloats = 16 * 1024;

    public delegate*<MapArguments*, long, void> Kernel;
    public MapArguments Arguments;
    public SlabSegment* Segments;

    /// <summary>Number of the first item of each segment, and of all items at the end.</summary>
    public int* FirstItems;
    public int Count;

    /// <summary>Fills <see cref="FirstItems"/> and returns the number of items.</summary>
    public readonly int CountItems()
    {
        long items = 0;
        for (int i = 0; i < Count; i++)
        {
            FirstItems[i] = WorkItems.Checked(items);
            items += Rounding.DivideUp(Segments[i].Length, ItemFloats);
        }

        return FirstItems[Count] = WorkItems.Checked(items);
    }

    public readonly void Run(int item, int worker)
    {
        int at = new ReadOnlySpan<int>(FirstItems, Count).BinarySearch(item);
        SlabSegment* segment = Segments + (at < 0 ? ~at - 1 : at);
        long first = (long)(item - FirstItems[segment - Segments]) * ItemFloats;
        MapArguments part = Arguments.From(segment->Offset + first);
        part.Step.WeightDecay = segment->WeightDecay;
        part.Step.Shrink = segment->Shrink;
        Kernel(&part, Math.Min(ItemFloats, segment->Length - first));
    }
}

/// <summary>A kernel over [rows][channels], cut into chunks of rows. The chunks depend on the shape alone.</summary>
internal unsafe struct ChannelJob : IParallelJob
{
    // 128 KiB of one operand: what the passes down the columns of a chunk find in L2.
    private const int ChunkFloats = 32 * 1024;

    public delegate*<ChannelArguments*, long, long, void> Kernel;
    public ChannelArguments Arguments;
    public long Rows;

    /// <summary>Results of the chunks, [chunks][ResultsPerChunk][channels]; null where there are none.</summary>
    public float* ChunkResults;
    public int ResultsPerChunk;

    public readonly long ChunkRows => Math.Max(1, ChunkFloats / Arguments.Channels);

    public readonly int Chunks => WorkItems.Checked((Rows + ChunkRows - 1) / ChunkRows);

    public readonly int RowsOf(int chunk) => (int)Math.Min(ChunkRows, Rows - chunk * ChunkRows);

    public readonly void Run(int item, int worker)
    {
        ChannelArguments a = Arguments;
        if (ChunkResults != null)
        {
            // The last two are sums; a shift, where there is one, goes first.
            float* results = ChunkResults + (nint)item * ResultsPerChunk * a.Channels;
            if (ResultsPerChunk == 3)
            {
                a.Shift = results;
                results += a.Channels;
            }

            a.Sum = results;
            a.SecondSum = results + a.Channels;
        }

        Kernel(&a, item * ChunkRows, RowsOf(item));
    }
}

/// <summary>
/// An elementwise operation between a tensor in forward layout, [R][S][C][K], and tensors in feedback layout,
/// [R][S][K][C]: blocks of the first are transposed into scratch, where the map finds them as its X. The same map can go
/// over tensors in forward layout on the way.
/// </summary>
internal unsafe struct TransposedMapJob : IParallelJob
{
    // A block of 64 by 64: 16 KiB of scratch in L1, and rows long enough to be worth a call on both sides.
    private const int BlockK = 64, BlockC = 64;

    public CpuKernels* Kernels;
    public delegate*<MapArguments*, long, void> Kernel;

    /// <summary>Y and Z are in feedback layout; X is not used.</summary>
    public MapArguments Arguments;

    /// <summary>X, Y and Z in forward layout; absent where nothing is done there.</summary>
    public MapArguments ForwardArguments;
    public float* Forward;
    public int Taps, C, K;

    private readonly int BlocksOfK => (K + BlockK - 1) / BlockK;

    private readonly int BlocksOfC => (C + BlockC - 1) / BlockC;

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

    // The rows of a block are so short, and so far apart, that no stream predicts them: they are fetched a block ahead.
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

    /// <summary>Channels by columns of one tap.</summary>
    private readonly record struct Block(int Tap, int FirstK, int FirstC, int Rows, int Columns);
}

/// <summary>
/// Merges the statistics of chunks, in order and in double precision (Chan, Golub, LeVeque 1979: the squares of two sets
/// add up with the square of the distance of their means).
/// </summary>
internal unsafe struct StatisticsMerge : IParallelJob
{
    private const int ItemChannels = 32;

    /// <summary>[chunks][3][channels]: shift, sum of deviations, sum of their squares.</summary>
    public float* Chunks;

    /// <summary>Rows of each chunk.</summary>
    public int* ChunkRows;
    public int Count, Channels;
    public StatisticsPointers Statistics;

    public readonly int Items => (Channels + ItemChannels - 1) / ItemChannels;

    public readonly void Run(int item, int worker)
    {
        for (int k = item * ItemChannels; k < Math.Min((item + 1) * ItemChannels, Channels); k++)
        {
            double mean = 0, squares = 0;
            long rows = 0;
            for (int chunk = 0; chunk < Count; chunk++)
            {
                float* results = Chunks + (nint)chunk * 3 * Channels + k;
                double sum = results[Channels], chunkRows = ChunkRows[chunk];
                double distance = results[0] + sum / chunkRows - mean;
                double chunkSquares = Math.Max(0, results[2 * Channels] - sum * sum / chunkRows);
                rows += ChunkRows[chunk];
                squares += chunkSquares + distance * distance * chunkRows * (rows - chunkRows) / rows;
                mean += distance * chunkRows / rows;
            }

            StatisticsWriter.Store(Statistics, k, rows, mean, squares);
        }
    }
}
