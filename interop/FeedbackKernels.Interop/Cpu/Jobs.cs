namespace FeedbackKernels.Interop;

/// <summary>An elementwise operation, cut into runs of elements.</summary>
internal unsafe struct MapJob : IParallelJob
{
    // 64 KiB of one operand: two or three of them stay in L2.
    private const int ItemFloats = 16 * 1024;

    public delegate*<MapArguments*, long, void> Kernel;
    public MapArguments Arguments;
    public long Length;

    public readonly int Items => checked((int)((Length + ItemFloats - 1) / ItemFloats));

    public readonly void Run(int item, int worker)
    {
        long first = (long)item * ItemFloats;
        MapArguments part = Arguments.From(first);
        Kernel(&part, Math.Min(ItemFloats, Length - first));
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

    public readonly int Chunks => checked((int)((Rows + ChunkRows - 1) / ChunkRows));

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

    public readonly int Items => Taps * BlocksOfK;

    public readonly void Run(int item, int worker)
    {
        int tap = item / BlocksOfK, firstK = item % BlocksOfK * BlockK;
        int rows = Math.Min(BlockK, K - firstK);
        float* block = stackalloc float[BlockK * BlockC];
        for (int firstC = 0; firstC < C; firstC += BlockC)
        {
            int columns = Math.Min(BlockC, C - firstC);
            Kernels->Transpose(Forward + ((nint)tap * C + firstC) * K + firstK, K, columns, rows, block, BlockC);
            for (int c = 0; c < columns && ForwardArguments.Y != null; c++)
            {
                MapArguments row = ForwardArguments.From(((long)tap * C + firstC + c) * K + firstK);
                Kernel(&row, rows);
            }

            for (int k = 0; k < rows; k++)
            {
                MapArguments row = Arguments.From(((long)tap * K + firstK + k) * C + firstC);
                row.X = block + k * BlockC;
                Kernel(&row, columns);
            }
        }
    }
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
    public BatchStatistics Statistics;

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
