namespace FeedbackKernels.Interop;

/// <summary>
/// How a weight gradient is cut into items: a split of the images (split-K: the reduction runs over pixels), a group of input channels and
/// a group of panels of dW's columns. Splits depend on the shape alone and are added in order, so the sum does not depend on the number of
/// threads. Only the groups, which divide no sum, do.
/// </summary>
internal readonly struct WeightGradientPlan
{
    /// <summary>Channels of a strip of x: one cache line of a pixel, the rows of one tall tile or of several low ones.</summary>
    public const int StripFloats = 16;

    // The pixels of a block, a panel of dy and a strip of x, stay in L1 while all taps pass over them, and leave a fifth of it to dW.
    private static readonly long BlockBytes = Caches.Level1 * 4 / 5;

    // For a dW of this size, reading and writing it once for each block costs more than reading panels from L2. Blocks are twice as long
    // then if L2 holds twice as much, and otherwise longer by a quarter, which fills L1.
    private const long LargeWeightBytes = 1024 * 1024, LargeBlockLevel2 = 1024 * 1024;

    // Panels of dy that are copied together, neighbours in memory: few enough to leave most of L2 to other data.
    private static readonly long ErrorBytes = Caches.Level2 / 4;

    // Strips of x that an item takes at a time: half of L2.
    private static readonly long GroupBytes = Caches.Level2 / 2;

    // Most memory for the sums of splits, most splits, and fewest pixels of one. Each split is one more pass over dW, a few percent of the
    // time that this many pixels take.
    private const long PartialBytes = 4 * 1024 * 1024;
    private const int MostSplits = 16, SplitPixels = 1536;

    // Items for each thread, if there are not more splits than that. Every group of panels packs x for itself, and every group of channels
    // dy, which costs more than threads that end at different times. The smaller of the two is packed several times.
    private const int ItemsPerThread = 1;

    public readonly ConvShape Shape;
    public readonly PanelLayout Layout;

    /// <summary>Whether only the pixels that a 1x1 filter reads are packed, as one row.</summary>
    public readonly bool Pointwise;

    /// <summary>Whether the rows of tiles are the (tap column, channel) pairs of a filter row, over rows of x padded with zeros. For few
    /// channels, which do not fill a tile.</summary>
    public readonly bool ByFilterRow;

    /// <summary>Splits of the images.</summary>
    public readonly int Splits;

    public readonly int PanelGroups, ChannelGroups, RowsPerBlock, ImagesPerBlock;

    public readonly int Items;

    /// <summary>Rows of dW that are divided among the strips: the channels of a tap, or the (tap column, channel) pairs of a filter row. And
    /// rows of a strip.</summary>
    public readonly int TileRows, StripRows;

    /// <summary>Strips of x, and most strips of a group of channels.</summary>
    public readonly int Strips, MostStrips;

    /// <summary>Packed pixels between the inputs of neighbouring outputs, and packed rows of a block.</summary>
    public readonly int Step, PackedRows;

    /// <summary>Floats of a packed row. And floats from a strip of x, or a panel of dy, to the next: one more cache line than they have,
    /// because neighbours a multiple of 4 KiB apart would share one set of L1.</summary>
    public readonly nint PackedRowFloats, StripStride, ErrorStride;

    /// <summary>Floats from the strips of a block to its panels of dy, and panels that are copied together.</summary>
    public readonly nint ErrorOffset;
    public readonly int ErrorPanels;

    /// <summary>Whether the pixels of the next block are prefetched in front of the tiles' loops, and whether only a part of their channels
    /// is. Tiles with few registers do not prefetch in their loops. An item of only some panels would prefetch what it does not read.</summary>
    public readonly bool FetchesPixels, FetchesParts;

    /// <exception cref="NotSupportedException">There would be more items than 32 bits count.</exception>
    public WeightGradientPlan(in ConvShape shape, in TileSet tiles, int threads, bool pointwise)
    {
        (Shape, Layout, Pointwise) = (shape, tiles.Panels(shape.K), pointwise);
        ByFilterRow = FillsNoStrip(shape);
        StripRows = tiles.MaxRows(Layout.FullWidth) is > StripFloats / 2 and var tall ? Math.Min(tall, StripFloats) : StripFloats;
        TileRows = ByFilterRow ? shape.S * shape.C : shape.C;
        Strips = Rounding.DivideUp32(TileRows, StripRows);
        Step = Pointwise ? 1 : shape.Stride;

        long weightBytes = shape.WeightLength * sizeof(float);
        long worthwhile = Math.Max(1, (long)shape.N * shape.P * shape.Q / SplitPixels);
        Splits = (int)Math.Clamp(PartialBytes / weightBytes + 1, 1, Math.Min(worthwhile, Math.Min(shape.N, MostSplits)));
        int pixels = (int)(BlockBytes / ((StripFloats + Layout.FullWidth) * sizeof(float)));
        if (weightBytes >= LargeWeightBytes) pixels = Caches.Level2 >= LargeBlockLevel2 ? 2 * pixels : pixels * 5 / 4;
        RowsPerBlock = Math.Clamp(pixels / shape.Q, 1, shape.P);
        ImagesPerBlock = Math.Clamp(pixels / (RowsPerBlock * shape.Q), 1, Rounding.DivideUp32(shape.N, Splits));
        PackedRows = Pointwise ? RowsPerBlock : (RowsPerBlock - 1) * shape.Stride + shape.R;
        PackedRowFloats = ByFilterRow ? (nint)(shape.W + 2 * shape.Padding) * shape.C : (nint)(Pointwise ? shape.Q : shape.W) * StripFloats;
        StripStride = ImagesPerBlock * PackedRows * PackedRowFloats + StripFloats;
        ErrorStride = (nint)ImagesPerBlock * RowsPerBlock * shape.Q * Layout.FullWidth + StripFloats;
        ErrorPanels = (int)Math.Clamp(ErrorBytes / (ErrorStride * sizeof(float)), 1, Layout.Count);

        long groupStrips = Math.Max(1, GroupBytes / (StripStride * sizeof(float)));
        ChannelGroups = ByFilterRow ? 1 : (int)Rounding.DivideUp(Strips, groupStrips);
        if (!ByFilterRow && (Pointwise ? shape.C > shape.K : shape.InputLength > shape.OutputLength))
            ChannelGroups = Math.Clamp(Rounding.DivideUp32(ItemsPerThread * threads, Splits), ChannelGroups, Math.Max(ChannelGroups, Strips));
        int parts = Splits * ChannelGroups;
        PanelGroups = Math.Clamp(Rounding.DivideUp32(ItemsPerThread * threads, parts), 1, Layout.Count);
        Items = WorkItems.Checked((long)Splits * PanelGroups * ChannelGroups);
        MostStrips = Rounding.DivideUp32(Strips, ChannelGroups);
        ErrorOffset = ByFilterRow ? StripStride : MostStrips * StripStride;
        FetchesPixels = !tiles.FetchesAhead && PanelGroups == 1;
        FetchesParts = FetchesPixels && ChannelGroups > 1;
    }

    /// <summary>Whether a filter has too few channels to fill a strip of x.</summary>
    public static bool FillsNoStrip(in ConvShape shape) => shape.C < StripFloats || (shape.C < 2 * StripFloats && shape.S > 1);

    /// <summary>Floats of the sums of all splits but the first, [splits - 1][R*S*C][K]. The first split sums into dW.</summary>
    public long PartialFloats => (Splits - 1) * Shape.WeightLength;

    /// <summary>Floats of the packed blocks of one worker.</summary>
    public long BlockFloats => ErrorOffset + (long)ErrorPanels * ErrorStride;

    /// <summary>The first row of a group of channels. Groups are cut between strips, so that all strips but the last are full: tiles of one
    /// height need one call.</summary>
    public int FirstGroupRow(int channelGroup) => Math.Min((int)((long)Strips * channelGroup / ChannelGroups) * StripRows, TileRows);

    public int GroupRows(int channelGroup) => FirstGroupRow(channelGroup + 1) - FirstGroupRow(channelGroup);
}
