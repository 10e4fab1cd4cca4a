using System.Runtime.Intrinsics.X86;

namespace FeedbackKernels.Interop;

/// <summary>
/// Copies weights into panels [panel][tap row][tap column][input channel][panel width], the order in which a tile reads them. The
/// transposition of backprop and the flip of a feedback convolution happen only here: the kernels cannot tell B from Wᵀ.
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

    // Channels of an item. Rows of the source are read as runs over all panels, a few pages at a time.
    private const int BlockChannels = 64;

    private readonly int Blocks => Rounding.DivideUp32(InputChannels, BlockChannels);

    private readonly nint PanelRows => (nint)TapRows * TapColumns * InputChannels;

    /// <summary>W, [R][S][C][K], of a forward pass.</summary>
    public static WeightPacking Forward(CpuKernels* kernels, in ConvShape shape, float* w, in PanelLayout layout) => new()
    {
        Kernels = kernels,
        Source = w,
        Layout = layout,
        InputChannels = shape.C,
        TapRows = shape.R,
        TapColumns = shape.S,
        TapRowStride = (nint)shape.S * shape.C * shape.K,
        TapColumnStride = (nint)shape.C * shape.K,
        ChannelStride = shape.K,
        ColumnStride = 1,
    };

    /// <summary>The taps of a residue class of a feedback pass, from the last one down: B, [R][S][K][C], or W read transposed.</summary>
    public static WeightPacking Feedback(
        CpuKernels* kernels, in ConvShape shape, in ResidueClass rows, in ResidueClass columns, float* weights, FeedbackLayout order,
        in PanelLayout layout)
    {
        bool transposed = order == FeedbackLayout.Forward;
        nint tapColumnFloats = (nint)shape.C * shape.K, tapRowFloats = shape.S * tapColumnFloats;
        return new WeightPacking
        {
            Kernels = kernels,
            Source = weights + rows.LastTap * tapRowFloats + columns.LastTap * tapColumnFloats,
            Layout = layout,
            InputChannels = shape.K,
            TapRows = rows.Taps,
            TapColumns = columns.Taps,
            TapRowStride = -shape.Stride * tapRowFloats,
            TapColumnStride = -shape.Stride * tapColumnFloats,
            ChannelStride = transposed ? 1 : shape.C,
            ColumnStride = transposed ? shape.K : 1,
        };
    }

    public readonly int Items => WorkItems.Checked((long)TapRows * TapColumns * Blocks);

    public readonly long PanelFloats => (long)PanelRows * Layout.PaddedColumns;

    public readonly void Run(int item, int worker)
    {
        int tap = item / Blocks, first = item % Blocks * BlockChannels, count = Math.Min(BlockChannels, InputChannels - first);
        int tapRow = tap / TapColumns, tapColumn = tap % TapColumns, panel = 0;
        nint row = (nint)tap * InputChannels + first;
        if (ColumnStride == 1) panel = CopyFullPanels(tapRow, tapColumn, row, first, count);
        for (; panel < Layout.Count; panel++)
        {
            float* destination = Panels + PanelRows * Layout.FirstColumn(panel) + row * Layout.Width(panel);
            PackTap(panel, tapRow, tapColumn, first, count, destination);
        }
    }

    /// <returns>Number of full panels.</returns>
    private readonly int CopyFullPanels(int tapRow, int tapColumn, nint row, int first, int count)
    {
        var copy = new StripArguments
        {
            Source = Source + tapRow * TapRowStride + tapColumn * TapColumnStride + first * ChannelStride,
            SourceStride = ChannelStride,
            Pixels = count,
            Strips = Layout.WholePanels,
            Floats = Layout.FullWidth,
            Destination = Panels + row * Layout.FullWidth,
            StripStride = PanelRows * Layout.FullWidth,
        };
        Kernels->CopyStrip(&copy);
        return copy.Strips;
    }

    /// <summary>Packs some channels of one tap of a panel: [channels][panel width].</summary>
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

    /// <summary>Prefetches what <see cref="PackTap"/> will read, for all taps. The rows are too short and too far apart for the hardware
    /// prefetcher.</summary>
    public readonly void Fetch(int panel, int firstChannel, int channels)
    {
        if (!Sse.IsSupported) return;
        bool byChannel = ColumnStride == 1;
        int rows = byChannel ? channels : Layout.ValidColumns(panel), floats = byChannel ? Layout.ValidColumns(panel) : channels;
        nint stride = byChannel ? ChannelStride : ColumnStride;
        for (int tap = 0; tap < TapRows * TapColumns; tap++)
        {
            float* row = Source + tap / TapColumns * TapRowStride + tap % TapColumns * TapColumnStride
                + firstChannel * ChannelStride + Layout.FirstColumn(panel) * ColumnStride;
            for (int i = 0; i < rows; i++, row += stride) Caches.Fetch(row, floats);
        }
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
