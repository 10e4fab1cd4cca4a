namespace FeedbackKernels.Interop;

/// <summary>
/// Copies weights into panels [panel][tap row][tap column][input channel][panel width], the order in which a tile reads
/// them. The transposition of backprop and the flip of a feedback convolution happen here and nowhere else: what follows
/// cannot tell B from Wᵀ.
/// </summary>
internal unsafe struct WeightPacking : IParallelJob
{
    public CpuKernels* Kernels;
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
        int width = Layout.Width(panel);
        nint panelRows = (nint)TapRows * TapColumns * InputChannels;
        float* destination = Panels + panelRows * Layout.FirstColumn(panel) + (nint)tapRow * TapColumns * InputChannels * width;
        for (int tapColumn = 0; tapColumn < TapColumns; tapColumn++, destination += (nint)InputChannels * width)
            PackTap(panel, tapRow, tapColumn, 0, InputChannels, destination);
    }

    /// <summary>Some channels of one tap of a panel: [channels][panel width].</summary>
    public readonly void PackTap(int panel, int tapRow, int tapColumn, int firstChannel, int channels, float* destination)
    {
        int width = Layout.Width(panel), valid = Layout.ValidColumns(panel);
        float* tap = Source + tapRow * TapRowStride + tapColumn * TapColumnStride
            + firstChannel * ChannelStride + Layout.FirstColumn(panel) * ColumnStride;
        if (ColumnStride == 1) CopyRows(tap, channels, destination, width, valid);
        else Kernels->Transpose(tap, ColumnStride, valid, channels, destination, width);
        if (valid == width) return;
        for (int c = 0; c < channels; c++) new Span<float>(destination + (nint)c * width + valid, width - valid).Clear();
    }

    private readonly void CopyRows(float* source, int channels, float* destination, int width, int valid)
    {
        for (int c = 0; c < channels; c++, source += ChannelStride, destination += width)
        {
            var row = new MapArguments { X = source, Y = destination };
            Kernels->Copy(&row, valid);
        }
    }
}
