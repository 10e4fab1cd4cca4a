namespace FeedbackKernels.Interop;

/// <summary>A kernel over [rows][channels], cut into chunks of rows. The chunks depend on the shape alone.</summary>
internal unsafe struct ChannelJob : IParallelJob
{
    // 128 KiB of one operand, which stay in L2 while the passes go down the columns of a chunk.
    private const int ChunkFloats = 32 * 1024;

    public delegate*<ChannelArguments*, long, long, void> Kernel;
    public ChannelArguments Arguments;
    public long Rows;

    /// <summary>Results of the chunks, [chunks][ResultsPerChunk][channels]; null where there are none.</summary>
    public float* ChunkResults;
    public int ResultsPerChunk;

    public readonly long ChunkRows => Math.Max(1, ChunkFloats / Arguments.Channels);

    public readonly int Chunks => WorkItems.Checked(Rounding.DivideUp(Rows, ChunkRows));

    public readonly int RowsOf(int chunk) => (int)Math.Min(ChunkRows, Rows - chunk * ChunkRows);

    public readonly void Run(int item, int worker)
    {
        ChannelArguments a = Arguments;
        if (ChunkResults != null)
        {
            // The last two are sums. A shift, if there is one, comes first.
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
