namespace FeedbackKernels.Interop;

/// <summary>
/// How a gather is cut into items. An item is a chunk of output pixels (some rows, or some columns of a row) by a group of panels of
/// the weights. The plan depends on the geometry, the tiles and the sizes of the caches, never on the number of threads.
/// </summary>
internal struct GatherPlan
{
    // Half of L2, for panels of weights that stay there while pixels stream past.
    private static readonly long PanelGroupBytes = Caches.Level2 / 2;

    // A panel up to this size is streamed past a chunk of pixels that stays in L2 instead. All panels are one group then, and each pixel
    // is read from memory once.
    private static readonly long SmallPanelBytes = Caches.Level2 / 4;

    // The part of L2 for a chunk of input pixels.
    private static readonly long ChunkInputBytes = Caches.Level2 * 7 / 16;

    // A quarter of the L3 of a server core complex. A larger output has left the caches before anything reads it.
    private const long NonTemporalBytes = 8 * 1024 * 1024;

    // Half as much for the feedback pass of a strided 1x1 convolution. It computes few of the pixels; the others are zeros, whose cache
    // lines no tile has fetched.
    private const long SparseNonTemporalBytes = NonTemporalBytes / 2;

    // An item lasts about 10 us, which pays for handing it out, and has enough tiles to reuse a panel that is in cache. There are enough
    // chunks for the threads to end at nearly the same time.
    private const double ChunkFlops = 4e6;
    private const int ChunkTiles = 8, FewestChunks = 16;

    // Pixels this many bytes apart fall into one set of L1, which holds fewer of them than a tile has rows.
    private const int SetBytes = 4096;

    // The chunks are divided into this many segments. Each segment goes through all groups of panels before the next one starts.
    private const int MostSegments = 8;

    public ConvGeometry Geometry;
    public PanelLayout Layout;

    /// <summary>Whether a worker copies the strided pixels of a chunk before its tiles read them.</summary>
    public bool Gathers;

    /// <summary>Whether a worker collects the results of a chunk and then writes them to strided pixels.</summary>
    public bool Scatters;

    /// <summary>Whether a worker copies the pixels of a chunk to where they fall into different sets of L1, or gathers them there.</summary>
    public bool Spreads;

    /// <summary>Whether the output is large enough, and its pixels far enough aligned, for stores that bypass the caches.</summary>
    public bool SuitsNonTemporal;

    /// <summary>The same for an output of which only strided pixels are computed.</summary>
    public bool SuitsSparseNonTemporal;

    public int PanelsPerGroup, RowsPerItem, ColumnsPerItem, RowItems, ColumnItems, PanelGroups;

    /// <summary>Chunks of output pixels, the unit in which statistics are summed.</summary>
    public int Chunks;

    public int Items, Segments;

    /// <summary>The plan of a gather as it is.</summary>
    /// <exception cref="NotSupportedException">There would be more items than 32 bits count.</exception>
    public static GatherPlan Of(in ConvGeometry geometry, in TileSet tiles)
    {
        var plan = new GatherPlan { Geometry = geometry, Layout = tiles.Panels(geometry.OutputChannels) };
        plan.Cut(tiles);
        return plan;
    }

    /// <summary>
    /// The plan of a pointwise gather: all pixels of the batch are one row. Strided pixels are copied on the way, because the short rows
    /// of a map would make low tiles, and pixels a power of two apart share sets of L1.
    /// </summary>
    /// <exception cref="NotSupportedException">There would be more items than 32 bits count.</exception>
    public static GatherPlan Pointwise(in ConvGeometry geometry, in TileSet tiles)
    {
        var plan = new GatherPlan
        {
            Geometry = geometry.AsOneRow(),
            Layout = tiles.Panels(geometry.OutputChannels),
            Gathers = !geometry.InputIsContiguous,
            Scatters = !geometry.OutputIsContiguous,
        };
        plan.Cut(tiles);
        return plan;
    }

    // One cache line more than the channels.
    public readonly nint SpreadPixel => Geometry.InputChannels + Caches.LineFloats;

    /// <summary>Floats of the copied pixels of a chunk; 0 where tiles read them in place.</summary>
    public readonly long SpreadFloats => Spreads ? (long)RowsPerItem * ColumnsPerItem * SpreadPixel : 0;

    public readonly nint ProductPixel => Layout.PaddedColumns + Caches.LineFloats;

    /// <summary>Floats of the collected results of a chunk; 0 where tiles write to the output.</summary>
    public readonly long ProductFloats => Scatters ? ColumnsPerItem * ProductPixel : 0;

    public readonly int FirstChunk(int segment) => (int)((long)Chunks * segment / Segments);

    /// <summary>The image, rows and columns of a chunk.</summary>
    public readonly (int N, int FirstRow, int EndRow, int FirstColumn, int EndColumn) Bounds(int chunk)
    {
        int n = chunk / (RowItems * ColumnItems), rest = chunk % (RowItems * ColumnItems);
        int rowItem = rest / ColumnItems, columnItem = rest % ColumnItems;
        return (
            n,
            rowItem * RowsPerItem, Math.Min((rowItem + 1) * RowsPerItem, Geometry.P),
            columnItem * ColumnsPerItem, Math.Min((columnItem + 1) * ColumnsPerItem, Geometry.Q));
    }

    private void Cut(in TileSet tiles)
    {
        (int p, int q, int step, bool oneTap) = (Geometry.P, Geometry.Q, Geometry.Step, Geometry.TapRows * Geometry.TapColumns == 1);
        long depth = Math.Max(1, Geometry.Depth), panelBytes = depth * Layout.FullWidth * sizeof(float);
        bool oneGroup = panelBytes <= SmallPanelBytes && oneTap;
        PanelsPerGroup = oneGroup ? Layout.Count : (int)Math.Clamp(PanelGroupBytes / panelBytes, 1, Layout.Count);
        int tile = tiles.MaxRows(Layout.FullWidth);
        double pixelFlops = 2.0 * depth * Math.Min(PanelsPerGroup * Layout.FullWidth, Layout.Columns);
        double pixels = ChunkInputBytes / ((double)step * step * Geometry.InputChannels * sizeof(float));
        // Where panels leave L2 before the next chunk needs them, chunks are as large as L2 allows.
        bool rereadsPanels = oneGroup && panelBytes * Layout.Count > SmallPanelBytes;
        if (!rereadsPanels) pixels = Math.Min(pixels, Math.Max(ChunkTiles * tile, ChunkFlops / pixelFlops));
        pixels = Math.Min(pixels, (double)Geometry.N * p * q / FewestChunks);
        int most = (int)Math.Max(1, pixels / tile) * tile;
        RowsPerItem = Math.Clamp(most / q, 1, p);
        ColumnsPerItem = RowsPerItem > 1 || q < most + tile ? q : most;

        RowItems = Rounding.DivideUp32(p, RowsPerItem);
        ColumnItems = Rounding.DivideUp32(q, ColumnsPerItem);
        PanelGroups = Rounding.DivideUp32(Layout.Count, PanelsPerGroup);
        Chunks = WorkItems.Checked((long)Geometry.N * RowItems * ColumnItems);
        Items = WorkItems.Checked((long)Chunks * PanelGroups);
        Segments = Math.Min(MostSegments, Chunks);

        // Copying pays where several panels read the copy.
        Spreads = Gathers
            || (oneTap && Geometry.NeverPadded && (nint)step * Geometry.InputChannels * sizeof(float) % SetBytes == 0 && PanelsPerGroup > 1);
        // Every row of every tile starts on a vector, and tiles write whole cache lines: halves that are written at different times would
        // each cost a read from memory.
        SuitsNonTemporal = !Scatters && Geometry.OutputBytes >= NonTemporalBytes
            && Layout.FullWidth % Caches.LineFloats == 0 && Geometry.OutputPixelStride % tiles.Lanes == 0;
        SuitsSparseNonTemporal = Scatters && oneGroup && Geometry.OutputBytes >= SparseNonTemporalBytes && Layout.Columns % Caches.LineFloats == 0;
    }
}
