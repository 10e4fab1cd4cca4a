namespace FeedbackKernels.Interop;

/// <summary>
/// Merges the statistics of chunks, in order and in double precision, by the update of Chan, Golub and LeVeque (1979): the sum of squares
/// of two sets is the sum of theirs plus a term with the squared distance of their means.
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

    public readonly int Items => Rounding.DivideUp32(Channels, ItemChannels);

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
