namespace FeedbackKernels.Interop;

/// <summary>
/// Copies weights into panels [panel][tap row][tap column][input channel][panel width], the order in which a tile reads
/// them. The transposition of backprop and the flip of a feedback convolution happen here and nowhere else: what follows
/// cannot tell B from Wᵀ.
/// </summary>
internal unsafe struct WeightPacking : IParallelJob
{
    public float* Source;
    public float* Panels;
    public PanelLayout Layout;
    public int InputChannels;
    public int TapRows, TapColumns;

    /// <summary>Floats from a tap row, tap column, input channel, column of the source to the next; may be negative.</summary>
    public nint TapRowStride, TapColumnStride, ChannelStride, ColumnStride;

    public readonly int Items => Layout.Count * TapRows;

    public readonly long PanelFloats => (long)TapRows * TapColumns * InputChannels * Layout.PaddedColumns;

    public readonly void Run(int item, int worker)
    {
        int panel = item / TapRows, tapRow = item % TapRows;
        int width = Layout.Width(panel), valid = Layout.ValidColumns(panel), first = Layout.FirstColumn(panel);
        nint panelRows = (nint)TapRows * TapColumns * InputChannels;
        float* destination = Panels + panelRows * first + (nint)tapRow * TapColumns * InputChannels * width;
        for (int tapColumn = 0; tapColumn < TapColumns; tapColumn++)
        {
            float* tap = Source + tapRow * TapRowStride + tapColumn * TapColumnStride + first * ColumnStride;
            if (ColumnStride == 1) CopyRows(tap, destination, width, valid);
            else CopyTransposed(tap, destination, width, valid);
            destination += (nint)InputChannels * width;
        }
    }

    private readonly void CopyRows(float* source, float* destination, int width, int valid)
    {
        for (int c = 0; c < InputChannels; c++, source += ChannelStride, destination += width)
        {
            new ReadOnlySpan<float>(source, valid).CopyTo(new Span<float>(destination, valid));
            if (valid < width) new Span<float>(destination + valid, width - valid).Clear();
        }
    }

    private readonly void CopyTransposed(float* source, float* destination, int width, int valid)
    {
        // Channels in blocks: a block of source lines stays in L1 while its columns are picked out of it.
        const int Block = 16;
        for (int block = 0; block < InputChannels; block += Block)
        {
            int end = Math.Min(block + Block, InputChannels);
            for (int column = 0; column < valid; column++)
            {
                float* from = source + column * ColumnStride;
                for (int c = block; c < end; c++) destination[(nint)c * width + column] = from[c * ChannelStride];
            }

            if (valid == width) continue;
            for (int c = block; c < end; c++) new Span<float>(destination + (nint)c * width + valid, width - valid).Clear();
        }
    }
}
