namespace FeedbackKernels.Interop;

/// <summary>
/// Computes a gather (see <see cref="ConvGeometry"/>) as products of tiles of pixels and panels of weights. NHWC needs no im2col: for a
/// fixed tap row, the inputs (tap column, channel) of a pixel are one run of memory. Taps on the padding are left out.
/// </summary>
internal unsafe struct GatherConvolution : IParallelJob, IChunkedConvolution
{
    // Eight steps of a tile: about the latency of L3. The prefetch runs past the end of a panel into the next one.
    public const nint PanelAheadBytes = 1024;

    // Steps of a tile during which memory answers. The cache lines of the output are prefetched this long before they are written.
    private const int AnswerSteps = 128;

    // Most bytes that a tile prefetches, an eighth of L1. With more, its own loads would wait.
    private const int MostFetchedBytes = 4096;

    public GatherPlan Plan;
    public ConvOutput Output;
    public float* Input;
    public float* Panels;

    /// <summary>Memory for the copied pixels of a chunk, <see cref="GatherPlan.SpreadFloats"/> for each worker; null where there is no copy.</summary>
    public float* Spread;

    /// <summary>Memory for the results of a chunk, <see cref="GatherPlan.ProductFloats"/> for each worker; null where they go to the output.</summary>
    public float* Products;

    // The plan's, which every tile asks for.
    private readonly CpuKernels* _kernels;
    private readonly ConvGeometry _geometry;
    private readonly PanelLayout _layout;

    // The pixels of the original maps, where the plan copies them.
    private StridedPixels _inputs, _outputs;
    private bool _nonTemporal;

    /// <param name="kernels">The kernels of the SIMD level.</param>
    /// <param name="geometry">The gather as it is.</param>
    /// <param name="plan">Its plan, which may be that of one long row.</param>
    /// <param name="input">x or dy.</param>
    /// <param name="output">Where the results go.</param>
    /// <param name="panels">Packed weights.</param>
    public GatherConvolution(
        CpuKernels* kernels, in ConvGeometry geometry, in GatherPlan plan, float* input, in ConvOutput output, float* panels)
    {
        _kernels = kernels;
        _geometry = plan.Geometry;
        _layout = plan.Layout;
        Plan = plan;
        Input = input;
        Output = output;
        Output.RowStride = _geometry.OutputRowStride;
        Output.ImageStride = _geometry.OutputImageStride;
        Panels = panels;
        _inputs = StridedPixels.InputsOf(geometry, kernels, input);
        _outputs = StridedPixels.OutputsOf(geometry, kernels, output.Start);
    }

    /// <summary>Whether the pixels between the outputs are cleared on the way. Nothing else may write them then.</summary>
    public bool ClearsBetween { get; init; }

    /// <inheritdoc/>
    public readonly int Chunks => Plan.Chunks;

    private readonly nint TilesAhead => AnswerSteps / Math.Max(1, _geometry.Depth);

    /// <inheritdoc/>
    public readonly int ChunkPixels(int chunk)
    {
        (_, int firstRow, int endRow, int firstColumn, int endColumn) = Plan.Bounds(chunk);
        return (endRow - firstRow) * (endColumn - firstColumn);
    }

    /// <inheritdoc/>
    public void Run(WorkerPool pool, float* chunkStatistics)
    {
        Output.ChunkStatistics = chunkStatistics;
        // No pass may read the output once its sums are there.
        _nonTemporal = Plan.SuitsNonTemporal && !Output.Accumulate && chunkStatistics == null && !Output.Epilogue.Maps && Output.IsAligned;
        _outputs.NonTemporal = Plan.SuitsSparseNonTemporal && ClearsBetween && Output.IsAligned;
        pool.Run(Plan.Items, ref this);
    }

    public readonly void Run(int item, int worker)
    {
        // Segments of chunks vary slowest, so that a thread that takes the items in order keeps to its part of the images. Within a
        // segment the groups of panels vary slowest, so that pixels stream past the same few panels.
        int segment = (int)((long)item * Plan.Segments / Plan.Items);
        while (Plan.FirstChunk(segment + 1) * Plan.PanelGroups <= item) segment++;
        while (Plan.FirstChunk(segment) * Plan.PanelGroups > item) segment--;
        int first = Plan.FirstChunk(segment), chunks = Plan.FirstChunk(segment + 1) - first, rest = item - first * Plan.PanelGroups;
        int group = rest / chunks, chunk = first + rest % chunks;
        PixelGrid pixels = Spread == null ? InPlace(chunk) : SpreadChunk(chunk, Spread + worker * Plan.SpreadFloats);
        int firstPanel = group * Plan.PanelsPerGroup, endPanel = Math.Min(firstPanel + Plan.PanelsPerGroup, _layout.Count);
        TileFetch fetch = FetchNext(chunk, firstPanel, endPanel, endOfGroup: rest % chunks == chunks - 1);
        if (Plan.Scatters) RunAndScatter(firstPanel, endPanel, chunk, pixels, fetch, Products + worker * Plan.ProductFloats);
        else RunPanels(firstPanel, endPanel, chunk, pixels, fetch);
    }

    private readonly void RunPanels(int firstPanel, int endPanel, int chunk, in PixelGrid pixels, TileFetch fetch)
    {
        for (int panel = firstPanel; panel < endPanel; panel++) RunPanel(panel, chunk, pixels, ref fetch);
    }

    /// <summary>What the tiles of an item prefetch for the next item: the panels of the next group, or the part of the input that the next
    /// chunk reads and this one does not.</summary>
    private readonly TileFetch FetchNext(int chunk, int firstPanel, int endPanel, bool endOfGroup)
    {
        bool panelsNext = endOfGroup && endPanel < _layout.Count;
        if (panelsNext ? _kernels->Tiles.FetchesAhead : Spread != null || chunk + 1 >= Plan.Chunks) return default;
        long tiles = 0;
        for (int panel = firstPanel; panel < endPanel; panel++) tiles += TilesOf(chunk, panel);
        int column = _layout.FirstColumn(endPanel), endColumn = _layout.FirstColumn(Math.Min(endPanel + endPanel - firstPanel, _layout.Count));
        TileFetch fetch = panelsNext
            ? TileFetch.Over(tiles, Panels + _geometry.Depth * column, (long)_geometry.Depth * (endColumn - column))
            : FetchPixels(chunk + 1, tiles);
        return fetch.Bytes <= MostFetchedBytes ? fetch : default;
    }

    /// <summary>The pixels that a chunk reads and the chunk before it does not.</summary>
    private readonly TileFetch FetchPixels(int chunk, long tiles)
    {
        (int n, int firstRow, int endRow, int firstColumn, int endColumn) = Plan.Bounds(chunk);
        int row = firstRow == 0 ? 0 : Math.Max(0, firstRow * _geometry.Step - _geometry.OriginRow + _geometry.TapRows - _geometry.Step);
        int end = Math.Min(_geometry.InputRows, (endRow - 1) * _geometry.Step - _geometry.OriginRow + _geometry.TapRows);
        float* first = Input + n * _geometry.InputImageStride + row * _geometry.InputRowStride;
        return Plan.ColumnItems == 1
            ? TileFetch.Over(tiles, first, Math.Max(0, end - row) * (long)_geometry.InputRowStride)
            : TileFetch.Over(tiles, first + (nint)firstColumn * _geometry.Step * _geometry.InputChannels, (long)(endColumn - firstColumn) * _geometry.Step * _geometry.InputChannels);
    }

    /// <summary>Tiles of a chunk for a panel.</summary>
    private readonly int TilesOf(int chunk, int panel)
    {
        (_, int firstRow, int endRow, int firstColumn, int endColumn) = Plan.Bounds(chunk);
        return (endRow - firstRow) * TilesAcross(endColumn - firstColumn, panel);
    }

    private readonly int TilesAcross(int columns, int panel) =>
        Rounding.DivideUp32(columns, _kernels->Tiles.MaxRows(_layout.Width(panel)));

    private readonly void RunAndScatter(int firstPanel, int endPanel, int chunk, in PixelGrid pixels, TileFetch fetch, float* products)
    {
        (_, _, _, int first, int end) = Plan.Bounds(chunk);
        GatherConvolution collecting = this;
        collecting.Output.Start = products - first * Plan.ProductPixel;
        collecting.Output.PixelStride = Plan.ProductPixel;
        collecting.Output.Accumulate = false;
        collecting.RunPanels(firstPanel, endPanel, chunk, pixels, fetch);
        if (ClearsBetween && firstPanel == 0) _outputs.ClearBetween(first, end);
        int column = _layout.FirstColumn(firstPanel), columns = Math.Min(_layout.FirstColumn(endPanel), _layout.Columns) - column;
        _outputs.Scatter(first, end, products + column, Plan.ProductPixel, column, columns, Output.Accumulate);
    }

    private readonly PixelGrid InPlace(int chunk)
    {
        nint pixel = (nint)_geometry.Step * _geometry.InputChannels, row = _geometry.Step * _geometry.InputRowStride;
        float* first = Input + Plan.Bounds(chunk).N * _geometry.InputImageStride - _geometry.OriginRow * _geometry.InputRowStride - (nint)_geometry.OriginColumn * _geometry.InputChannels;
        return new PixelGrid { Origin = first, PixelStride = pixel, RowStride = row };
    }

    private readonly PixelGrid SpreadChunk(int chunk, float* destination)
    {
        (int n, int firstRow, int endRow, int firstColumn, int endColumn) = Plan.Bounds(chunk);
        var grid = new PixelGrid { PixelStride = Plan.SpreadPixel, RowStride = (endColumn - firstColumn) * Plan.SpreadPixel };
        grid.Origin = destination - firstRow * grid.RowStride - firstColumn * grid.PixelStride;
        // A chunk of several rows has all their columns.
        long first = ((long)n * _geometry.P + firstRow) * _geometry.Q + firstColumn;
        _inputs.Gather(first, first + (long)(endRow - firstRow) * (endColumn - firstColumn), destination, Plan.SpreadPixel);
        return grid;
    }

    private readonly void RunPanel(int panel, int chunk, in PixelGrid pixels, ref TileFetch fetch)
    {
        (int n, int firstRow, int endRow, int firstColumn, int endColumn) = Plan.Bounds(chunk);
        int length = endColumn - firstColumn;
        int tiles = TilesAcross(length, panel);
        TapGroup* groups = stackalloc TapGroup[_geometry.TapColumns];
        var run = new TileRun { Panel = panel, Image = n, Groups = groups, Pixels = pixels };
        for (int i = 0; i < tiles; i += run.Across)
        {
            // Tiles of nearly equal height: a row of 32 pixels is 11 + 11 + 10, not 14 + 14 + 4.
            run.Column = firstColumn + FirstOf(i, tiles, length);
            run.Rows = firstColumn + FirstOf(i + 1, tiles, length) - run.Column;
            run.Across = TilesLike(run, i, tiles, length);
            run.GroupCount = GroupTaps(run.Column, run.Rows, groups);
            for (run.Row = firstRow; run.Row < endRow; run.Row += run.Down)
            {
                run.Down = run.Across == 1 ? RowsLike(run.Row, endRow) : 1;
                RunTiles(run, fetch);
                fetch.Skip(run.Across * run.Down);
            }
        }

        int firstOutput = _layout.FirstColumn(panel);
        for (int p = firstRow; p < endRow; p++)
        {
            float* row = Output.At(n, p, firstColumn) + firstOutput;
            Output.Finish(row, length, _layout.ValidColumns(panel), firstOutput, chunk, firstOfChunk: p == firstRow);
        }
    }

    private static int FirstOf(int tile, int tiles, int length) => (int)((long)length * tile / tiles);

    /// <summary>How many tiles from <paramref name="first"/> on have the same height and see all tap columns.</summary>
    private readonly int TilesLike(in TileRun run, int first, int tiles, int length)
    {
        int count = 0, column = run.Column;
        while (first + count < tiles && SeesAllTaps(column, run.Rows))
        {
            count++;
            column += run.Rows;
            int rows = FirstOf(first + count + 1, tiles, length) - FirstOf(first + count, tiles, length);
            if (rows != run.Rows) break;
        }

        return Math.Max(1, count);
    }

    private readonly bool SeesAllTaps(int column, int rows)
    {
        int first = column * _geometry.Step - _geometry.OriginColumn;
        return first >= 0 && first + (rows - 1) * _geometry.Step + _geometry.TapColumns <= _geometry.InputColumns;
    }

    /// <summary>How many output rows from <paramref name="p"/> on see all tap rows; 1 where the first does not.</summary>
    private readonly int RowsLike(int p, int end)
    {
        (int first, int last) = Taps(p);
        if (first > 0 || last < _geometry.TapRows) return 1;
        int rows = 1;
        while (p + rows < end && Taps(p + rows) == (0, _geometry.TapRows)) rows++;
        return rows;
    }

    /// <summary>The tap rows that lie on the input for an output row.</summary>
    private readonly (int First, int End) Taps(int p)
    {
        int row = p * _geometry.Step - _geometry.OriginRow;
        return (Math.Max(0, -row), Math.Min(_geometry.TapRows, _geometry.InputRows - row));
    }

    /// <summary>Tiles of equal height and taps, side by side in a row or one below the other.</summary>
    private readonly void RunTiles(in TileRun run, TileFetch fetch)
    {
        int width = _layout.Width(run.Panel), valid = _layout.ValidColumns(run.Panel), firstOutput = _layout.FirstColumn(run.Panel);
        nint outputStep = run.Across > 1 ? run.Rows * Output.PixelStride : Output.RowStride;
        float* output = Output.At(run.Image, run.Row, run.Column) + firstOutput;
        var tile = default(TileArguments);
        (int firstTap, int endTap) = Taps(run.Row);
        tile.ARow = run.Pixels.PixelStride;
        tile.AInner = 1;
        tile.AMiddle = _geometry.InputRowStride;
        tile.ATile = run.Across > 1 ? run.Rows * tile.ARow : run.Pixels.RowStride;
        tile.BMiddle = (nint)_geometry.TapColumns * _geometry.InputChannels * width;
        tile.Middle = endTap - firstTap;
        tile.Outer = 1;
        tile.Ahead = PanelAheadBytes;
        tile.A = run.Pixels.At(run.Row, run.Column) + firstTap * _geometry.InputRowStride;
        tile.B = Panels + _geometry.Depth * firstOutput + firstTap * tile.BMiddle;
        if (valid == width)
        {
            tile.C = output;
            tile.CRow = Output.PixelStride;
            tile.CTile = outputStep;
            tile.Tiles = run.Across * run.Down;
            tile.NonTemporal = _nonTemporal && run.GroupCount == 1;
            if (!tile.NonTemporal) tile.NextC = output + TilesAhead * outputStep;
            tile.Fetch = fetch;
            SumTaps(run, tile, width);
            return;
        }

        // The panel is wider than the remaining columns: each tile goes through a buffer on the stack.
        float* scratch = stackalloc float[run.Rows * width];
        tile.Tiles = 1;
        for (int i = 0; i < run.Across * run.Down; i++, output += outputStep, tile.A += tile.ATile)
        {
            if (Output.Accumulate) CopyTile(output, Output.PixelStride, scratch, width, run.Rows, valid);
            tile.C = scratch;
            tile.CRow = width;
            SumTaps(run, tile, width);
            CopyTile(scratch, width, output, Output.PixelStride, run.Rows, valid);
        }
    }

    /// <summary>Adds the groups of tap columns in order. The first group overwrites the output if it reaches all rows of the tile.</summary>
    private readonly void SumTaps(in TileRun run, TileArguments tile, int width)
    {
        bool started = Output.Accumulate;
        bool reachesAll = run.GroupCount > 0 && tile.Middle > 0 && run.Groups[0].Rows == run.Rows;
        if (!started && !reachesAll)
        {
            for (int i = 0; i < tile.Tiles; i++) ClearTile(tile.C + i * tile.CTile, tile.CRow, run.Rows, width);
            started = true;
        }

        if (tile.Middle <= 0) return;
        float* a = tile.A, b = tile.B, c = tile.C;
        for (int g = 0; g < run.GroupCount; g++)
        {
            TapGroup group = run.Groups[g];
            tile.A = a + group.FirstRow * tile.ARow + (nint)group.FirstTap * _geometry.InputChannels;
            tile.B = b + (nint)group.FirstTap * _geometry.InputChannels * width;
            tile.C = c + group.FirstRow * tile.CRow;
            tile.Inner = (nint)group.Taps * _geometry.InputChannels;
            tile.Accumulate = started;
            _kernels->Tiles.Run(group.Rows, width, &tile);
            tile.Fetch = default;
            started = true;
        }
    }

    /// <summary>
    /// Groups the tap columns of a tile by the tile rows for which they lie on the input. Neighbouring taps that reach all rows are one
    /// group, which comes first. Products with padding are in no group.
    /// </summary>
    private readonly int GroupTaps(int column, int rows, TapGroup* groups)
    {
        int count = 0, full = -1;
        for (int s = 0; s < _geometry.TapColumns; s++)
        {
            // Row i reads input column (column + i) * Step + s - OriginColumn, which must lie in [0, InputColumns).
            long at = (long)column * _geometry.Step + s - _geometry.OriginColumn;
            int first = at >= 0 ? 0 : (int)Rounding.DivideUp(-at, _geometry.Step);
            long reach = _geometry.InputColumns - 1 - at;
            int end = reach < 0 ? 0 : (int)Math.Min(rows, reach / _geometry.Step + 1);
            if (end <= first) continue;
            if (count > 0 && groups[count - 1].Continues(first, end - first, s)) groups[count - 1].Taps++;
            else groups[count++] = new TapGroup { FirstTap = s, Taps = 1, FirstRow = first, Rows = end - first };
            if (end - first == rows) full = count - 1;
        }

        if (full > 0) (groups[0], groups[full]) = (groups[full], groups[0]);
        return count;
    }

    private static void CopyTile(float* from, nint fromRow, float* to, nint toRow, int rows, int columns)
    {
        for (int i = 0; i < rows; i++, from += fromRow, to += toRow)
            new ReadOnlySpan<float>(from, columns).CopyTo(new Span<float>(to, columns));
    }

    private static void ClearTile(float* tile, nint rowStride, int rows, int columns)
    {
        for (int i = 0; i < rows; i++, tile += rowStride) new Span<float>(tile, columns).Clear();
    }

    private struct TileRun
    {
        public int Panel, Image, Row, Column, Rows, Across, Down, GroupCount;

        public TapGroup* Groups;
        public PixelGrid Pixels;
    }

    /// <summary>Addresses of the input pixels under the first tap, for the output pixels of an image.</summary>
    private struct PixelGrid
    {
        public float* Origin;
        public nint PixelStride, RowStride;

        public readonly float* At(int row, int column) => Origin + row * RowStride + column * PixelStride;
    }

    private struct TapGroup
    {
        public int FirstTap, Taps, FirstRow, Rows;

        public readonly bool Continues(int firstRow, int rows, int tap) =>
            firstRow == FirstRow && rows == Rows && tap == FirstTap + Taps;
    }
}
