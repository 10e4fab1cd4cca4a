namespace FeedbackKernels.Interop;

/// <summary>A convolution that can take the statistics of its outputs on the way, chunk by chunk.</summary>
internal unsafe interface IChunkedConvolution
{
    /// <summary>Chunks of output pixels, the unit in which statistics are summed. Depends on the shape alone.</summary>
    int Chunks { get; }

    /// <summary>Output pixels of a chunk.</summary>
    int ChunkPixels(int chunk);

    /// <summary>Carries it out.</summary>
    /// <param name="pool">The threads.</param>
    /// <param name="chunkStatistics">Where shift, sum and square sum of each chunk go, each of all columns; null when not wanted.</param>
    void Run(WorkerPool pool, float* chunkStatistics);
}

/// <summary>
/// A convolution that gathers: out[n,p,q,:] = sum over tap rows r, tap columns s of in[n, p*Step + r - OriginRow,
/// q*Step + s - OriginColumn, :] times the panel of the tap. The forward pass is one; the feedback pass is one for each
/// residue class of output pixels modulo the stride, with the taps that reach it. NHWC needs no im2col: for a fixed tap
/// row, the (tap column, channel) inputs of a pixel lie in one run of memory.
/// </summary>
internal unsafe struct GatherConvolution : IParallelJob, IChunkedConvolution
{
    // Half of L2: panels of weights that stay there while pixels stream past.
    private static readonly long PanelGroupBytes = Caches.Level2 / 2;

    // A panel so small is streamed past a chunk of pixels that stays in L2 instead: all panels form one group then, and
    // each pixel is read from memory once.
    private static readonly long SmallPanelBytes = Caches.Level2 / 4;

    // What a chunk of pixels may take of L2.
    private static readonly long ChunkInputBytes = Caches.Level2 * 7 / 16;

    // A quarter of the third level of cache of a server core complex: an output that is larger will have left the caches
    // before anything reads it.
    private const long NonTemporalBytes = 8 * 1024 * 1024;

    // Half as much for an output of which a strided 1x1 convolution's feedback computes few pixels: the rest are zeros, whose
    // lines no tile has fetched.
    private const long SparseNonTemporalBytes = NonTemporalBytes / 2;

    // Eight steps of a tile: about the time that the third level of cache takes to answer. The stream goes on past the end
    // of a panel into the next one.
    public const nint PanelAheadBytes = 1024;

    // Steps of a tile in which memory answers. The lines of the output are asked for so long before they are written.
    private const int AnswerSteps = 128;

    // Most that a tile fetches, an eighth of L1: behind more, its own loads would wait for long.
    private const int MostFetchedBytes = 4096;

    // Long enough (about 10 us) to pay for handing out an item, and so many tiles that a panel is used often once it is
    // there; short enough, and so many chunks, that the last one is not waited for.
    private const double ChunkFlops = 4e6;
    private const int ChunkTiles = 8, FewestChunks = 16;

    // Pixels so many bytes apart fall into one set of L1, which holds fewer of them than a tile has rows.
    private const int SetBytes = 4096;

    // Parts of the chunks, each of which goes through all groups of panels before the next.
    private const int MostSegments = 8;

    public CpuKernels* Kernels;
    public float* Input;
    public float* Output;
    public float* Panels;
    public PanelLayout Layout;

    /// <summary>Where a worker spreads the pixels of its chunk, <see cref="SpreadFloats"/> each; null where they stay in place.</summary>
    public float* Spread;

    /// <summary>Where a worker collects its results, <see cref="ProductFloats"/> each; null where they go to the output.</summary>
    public float* Products;

    public int N, InputRows, InputColumns, InputChannels;
    public int P, Q, TapRows, TapColumns, Step, OriginRow, OriginColumn;

    /// <summary>Floats from a pixel, row, image of the input and output to the next.</summary>
    public nint InputRowStride, InputImageStride, OutputPixelStride, OutputRowStride, OutputImageStride;

    public bool Accumulate;

    /// <summary>Whether nothing else is written between the output pixels, so that what lies there may be cleared on the way.</summary>
    public bool Alone;

    public EpilogueArguments Epilogue;

    /// <summary>Statistics of a chunk of output pixels: shift, sum, square sum, each of all columns. Null when not wanted.</summary>
    public float* ChunkStatistics;

    private int _panelsPerGroup, _rowsPerItem, _columnsPerItem;

    // The pixels under the first tap; and those of the output, where a strided 1x1 convolution's feedback writes them.
    private StridedPixels _inputs, _outputs;
    private bool _gathers, _scatters;

    private readonly int RowItems => Rounding.DivideUp32(P, _rowsPerItem);

    private readonly int ColumnItems => Rounding.DivideUp32(Q, _columnsPerItem);

    private readonly int PanelGroups => Rounding.DivideUp32(Layout.Count, _panelsPerGroup);

    /// <inheritdoc/>
    public readonly int Chunks => WorkItems.Checked((long)N * RowItems * ColumnItems);

    private readonly int Items => WorkItems.Checked((long)Chunks * PanelGroups);

    private readonly nint TilesAhead => AnswerSteps / Math.Max(1, PanelRows);

    private readonly nint PanelRows => (nint)TapRows * TapColumns * InputChannels;

    // Nothing comes back to the output after its sums are there, all rows of all tiles start on vectors, and tiles write whole lines:
    // halves of them, written at different times, would each cost a read of memory.
    private readonly bool NonTemporal =>
        !Accumulate && !_scatters && ChunkStatistics == null && !Epilogue.Maps && OutputBytes >= NonTemporalBytes
        && Layout.FullWidth % Caches.LineFloats == 0 && OutputPixelStride % Kernels->Tiles.Lanes == 0 && OutputIsAligned;

    private readonly long OutputBytes => (long)N * OutputImageStride * sizeof(float);

    private readonly bool OutputIsAligned => (nint)Output % (Kernels->Tiles.Lanes * sizeof(float)) == 0;

    // Any two neighbouring tiles of a row see the same taps: all of them, always.
    private readonly bool NeverPadded =>
        OriginRow == 0 && OriginColumn == 0 && (P - 1) * Step + TapRows <= InputRows && (Q - 1) * Step + TapColumns <= InputColumns;

    // Copying pays where several panels read the copy.
    private readonly bool Spreads => _gathers
        || (TapRows * TapColumns == 1 && NeverPadded && (nint)Step * InputChannels * sizeof(float) % SetBytes == 0 && _panelsPerGroup > 1);

    private readonly nint SpreadPixel => InputChannels + Caches.LineFloats;

    /// <summary>Floats of the pixels of a chunk, spread so that they fall into different sets of L1; 0 where they are read in place.</summary>
    public readonly long SpreadFloats => Spreads ? (long)_rowsPerItem * _columnsPerItem * SpreadPixel : 0;

    private readonly nint ProductPixel => Layout.PaddedColumns + Caches.LineFloats;

    /// <summary>Floats of the results of a chunk; 0 where they go to the output.</summary>
    public readonly long ProductFloats => _scatters ? _columnsPerItem * ProductPixel : 0;

    /// <summary>Whether the pixels between the outputs are cleared on the way.</summary>
    public readonly bool ClearsBetween => _scatters && Alone && !Accumulate;

    /// <summary>Cuts the work into items. Called once the sizes are set, before anything else is asked.</summary>
    public void Plan()
    {
        _inputs = Pixels(Input, Step, InputChannels, InputRows, InputColumns);
        FlattenPixels();
        long panelBytes = Math.Max(1, PanelRows) * Layout.FullWidth * sizeof(float);
        bool oneGroup = panelBytes <= SmallPanelBytes && TapRows * TapColumns == 1;
        _panelsPerGroup = oneGroup ? Layout.Count : (int)Math.Clamp(PanelGroupBytes / panelBytes, 1, Layout.Count);
        _outputs.NonTemporal = ClearsBetween && oneGroup && Layout.Columns % Caches.LineFloats == 0 && OutputIsAligned && OutputBytes >= SparseNonTemporalBytes;
        int tile = Kernels->Tiles.MaxRows(Layout.FullWidth);
        double pixelFlops = 2.0 * Math.Max(1, PanelRows) * Math.Min(_panelsPerGroup * Layout.FullWidth, Layout.Columns);
        double pixels = ChunkInputBytes / ((double)Step * Step * InputChannels * sizeof(float));
        // Where panels leave L2 before the next chunk wants them, chunks are as large as can be.
        bool rereadsPanels = oneGroup && panelBytes * Layout.Count > SmallPanelBytes;
        if (!rereadsPanels) pixels = Math.Min(pixels, Math.Max(ChunkTiles * tile, ChunkFlops / pixelFlops));
        pixels = Math.Min(pixels, (double)N * P * Q / FewestChunks);
        int most = (int)Math.Max(1, pixels / tile) * tile;
        _rowsPerItem = Math.Clamp(most / Q, 1, P);
        _columnsPerItem = _rowsPerItem > 1 || Q < most + tile ? Q : most;
    }

    /// <inheritdoc/>
    public readonly int ChunkPixels(int chunk)
    {
        (_, int firstRow, int endRow, int firstColumn, int endColumn) = ChunkBounds(chunk);
        return (endRow - firstRow) * (endColumn - firstColumn);
    }

    /// <inheritdoc/>
    public void Run(WorkerPool pool, float* chunkStatistics)
    {
        ChunkStatistics = chunkStatistics;
        pool.Run(Items, ref this);
    }

    public readonly void Run(int item, int worker)
    {
        // Segments of chunks vary slowest: a thread that takes the items in order keeps to its part of the images. Within a
        // segment it is the groups of panels, so that pixels stream past the same few panels.
        int segment = (int)((long)item * Segments / Items);
        while (FirstChunk(segment + 1) * PanelGroups <= item) segment++;
        while (FirstChunk(segment) * PanelGroups > item) segment--;
        int first = FirstChunk(segment), chunks = FirstChunk(segment + 1) - first, rest = item - first * PanelGroups;
        int group = rest / chunks, chunk = first + rest % chunks;
        PixelGrid pixels = Spread == null ? InPlace(chunk) : SpreadChunk(chunk, Spread + worker * SpreadFloats);
        int firstPanel = group * _panelsPerGroup, endPanel = Math.Min(firstPanel + _panelsPerGroup, Layout.Count);
        TileFetch fetch = FetchNext(chunk, firstPanel, endPanel, endOfGroup: rest % chunks == chunks - 1);
        if (_scatters) RunAndScatter(firstPanel, endPanel, chunk, pixels, fetch, Products + worker * ProductFloats);
        else RunPanels(firstPanel, endPanel, chunk, pixels, fetch);
    }

    private readonly void RunPanels(int firstPanel, int endPanel, int chunk, in PixelGrid pixels, TileFetch fetch)
    {
        for (int panel = firstPanel; panel < endPanel; panel++) RunPanel(panel, chunk, pixels, ref fetch);
    }

    /// <summary>What the tiles of an item fetch for the next: the next group's panels, or what the next chunk has of the input and
    /// this one has not.</summary>
    private readonly TileFetch FetchNext(int chunk, int firstPanel, int endPanel, bool endOfGroup)
    {
        bool panelsNext = endOfGroup && endPanel < Layout.Count;
        if (panelsNext ? Kernels->Tiles.FetchesAhead : Spread != null || chunk + 1 >= Chunks) return default;
        long tiles = 0;
        for (int panel = firstPanel; panel < endPanel; panel++) tiles += TilesOf(chunk, panel);
        int column = Layout.FirstColumn(endPanel), endColumn = Layout.FirstColumn(Math.Min(endPanel + endPanel - firstPanel, Layout.Count));
        TileFetch fetch = panelsNext
            ? TileFetch.Over(tiles, Panels + PanelRows * column, (long)PanelRows * (endColumn - column))
            : FetchPixels(chunk + 1, tiles);
        return fetch.Bytes <= MostFetchedBytes ? fetch : default;
    }

    /// <summary>The pixels that a chunk does not share with the one before.</summary>
    private readonly TileFetch FetchPixels(int chunk, long tiles)
    {
        (int n, int firstRow, int endRow, int firstColumn, int endColumn) = ChunkBounds(chunk);
        int row = firstRow == 0 ? 0 : Math.Max(0, firstRow * Step - OriginRow + TapRows - Step);
        int end = Math.Min(InputRows, (endRow - 1) * Step - OriginRow + TapRows);
        float* first = Input + n * InputImageStride + row * InputRowStride;
        return ColumnItems == 1
            ? TileFetch.Over(tiles, first, Math.Max(0, end - row) * (long)InputRowStride)
            : TileFetch.Over(tiles, first + (nint)firstColumn * Step * InputChannels, (long)(endColumn - firstColumn) * Step * InputChannels);
    }

    /// <summary>Tiles that a chunk is cut into for a panel.</summary>
    private readonly int TilesOf(int chunk, int panel)
    {
        (_, int firstRow, int endRow, int firstColumn, int endColumn) = ChunkBounds(chunk);
        return (endRow - firstRow) * TilesAcross(endColumn - firstColumn, panel);
    }

    private readonly int TilesAcross(int columns, int panel) =>
        Rounding.DivideUp32(columns, Kernels->Tiles.MaxRows(Layout.Width(panel)));

    private readonly void RunAndScatter(int firstPanel, int endPanel, int chunk, in PixelGrid pixels, TileFetch fetch, float* products)
    {
        (_, _, _, int first, int end) = ChunkBounds(chunk);
        GatherConvolution collecting = this;
        collecting.Output = products - first * ProductPixel;
        collecting.OutputPixelStride = ProductPixel;
        collecting.Accumulate = false;
        collecting.RunPanels(firstPanel, endPanel, chunk, pixels, fetch);
        if (ClearsBetween && firstPanel == 0) _outputs.ClearBetween(first, end);
        int column = Layout.FirstColumn(firstPanel), columns = Math.Min(Layout.FirstColumn(endPanel), Layout.Columns) - column;
        _outputs.Scatter(first, end, products + column, ProductPixel, column, columns, Accumulate);
    }

    private readonly PixelGrid InPlace(int chunk)
    {
        nint pixel = (nint)Step * InputChannels, row = Step * InputRowStride;
        float* first = Input + ChunkBounds(chunk).N * InputImageStride - OriginRow * InputRowStride - (nint)OriginColumn * InputChannels;
        return new PixelGrid { Origin = first, PixelStride = pixel, RowStride = row };
    }

    private readonly PixelGrid SpreadChunk(int chunk, float* destination)
    {
        (int n, int firstRow, int endRow, int firstColumn, int endColumn) = ChunkBounds(chunk);
        var grid = new PixelGrid { PixelStride = SpreadPixel, RowStride = (endColumn - firstColumn) * SpreadPixel };
        grid.Origin = destination - firstRow * grid.RowStride - firstColumn * grid.PixelStride;
        // An item of several rows has all columns of them.
        long first = ((long)n * P + firstRow) * Q + firstColumn;
        _inputs.Gather(first, first + (long)(endRow - firstRow) * (endColumn - firstColumn), destination, SpreadPixel);
        return grid;
    }

    private readonly int Segments => Math.Min(MostSegments, Chunks);

    private readonly int FirstChunk(int segment) => (int)((long)Chunks * segment / Segments);

    private readonly void RunPanel(int panel, int chunk, in PixelGrid pixels, ref TileFetch fetch)
    {
        (int n, int firstRow, int endRow, int firstColumn, int endColumn) = ChunkBounds(chunk);
        int length = endColumn - firstColumn;
        int tiles = TilesAcross(length, panel);
        TapGroup* groups = stackalloc TapGroup[TapColumns];
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

        int firstOutput = Layout.FirstColumn(panel);
        for (int p = firstRow; p < endRow; p++)
        {
            float* row = Output + n * OutputImageStride + p * OutputRowStride + firstColumn * OutputPixelStride + firstOutput;
            FinishTile(row, length, Layout.ValidColumns(panel), firstOutput, chunk, firstOfChunk: p == firstRow);
        }
    }

    private static int FirstOf(int tile, int tiles, int length) => (int)((long)length * tile / tiles);

    /// <summary>Tiles from <paramref name="first"/> on that have as many rows as it and see all tap columns, as it does.</summary>
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
        int first = column * Step - OriginColumn;
        return first >= 0 && first + (rows - 1) * Step + TapColumns <= InputColumns;
    }

    /// <summary>Output rows from <paramref name="p"/> on that see the same tap rows, all of which lie inside.</summary>
    private readonly int RowsLike(int p, int end)
    {
        (int first, int last) = Taps(p);
        if (first > 0 || last < TapRows) return 1;
        int rows = 1;
        while (p + rows < end && Taps(p + rows) == (0, TapRows)) rows++;
        return rows;
    }

    /// <summary>The tap rows of an output row that fall on the input.</summary>
    private readonly (int First, int End) Taps(int p)
    {
        int row = p * Step - OriginRow;
        return (Math.Max(0, -row), Math.Min(TapRows, InputRows - row));
    }

    /// <summary>Tiles of equal height and taps: neighbours in a row, or one below the other.</summary>
    private readonly void RunTiles(in TileRun run, TileFetch fetch)
    {
        int width = Layout.Width(run.Panel), valid = Layout.ValidColumns(run.Panel), firstOutput = Layout.FirstColumn(run.Panel);
        nint outputStep = run.Across > 1 ? run.Rows * OutputPixelStride : OutputRowStride;
        float* output = Output + run.Image * OutputImageStride + run.Row * OutputRowStride + run.Column * OutputPixelStride + firstOutput;
        var tile = default(TileArguments);
        (int firstTap, int endTap) = Taps(run.Row);
        tile.ARow = run.Pixels.PixelStride;
        tile.AInner = 1;
        tile.AMiddle = InputRowStride;
        tile.ATile = run.Across > 1 ? run.Rows * tile.ARow : run.Pixels.RowStride;
        tile.BMiddle = (nint)TapColumns * InputChannels * width;
        tile.Middle = endTap - firstTap;
        tile.Outer = 1;
        tile.Ahead = PanelAheadBytes;
        tile.A = run.Pixels.At(run.Row, run.Column) + firstTap * InputRowStride;
        tile.B = Panels + PanelRows * firstOutput + firstTap * tile.BMiddle;
        if (valid == width)
        {
            tile.C = output;
            tile.CRow = OutputPixelStride;
            tile.CTile = outputStep;
            tile.Tiles = run.Across * run.Down;
            tile.NonTemporal = NonTemporal && run.GroupCount == 1;
            if (!tile.NonTemporal) tile.NextC = output + TilesAhead * outputStep;
            tile.Fetch = fetch;
            SumTaps(run, tile, width);
            return;
        }

        // Tiles wider than what is left of the columns go through scratch, one by one.
        float* scratch = stackalloc float[run.Rows * width];
        tile.Tiles = 1;
        for (int i = 0; i < run.Across * run.Down; i++, output += outputStep, tile.A += tile.ATile)
        {
            if (Accumulate) CopyTile(output, OutputPixelStride, scratch, width, run.Rows, valid);
            tile.C = scratch;
            tile.CRow = width;
            SumTaps(run, tile, width);
            CopyTile(scratch, width, output, OutputPixelStride, run.Rows, valid);
        }
    }

    /// <summary>The groups of tap columns one after another; the first overwrites what is there where it reaches all rows.</summary>
    private readonly void SumTaps(in TileRun run, TileArguments tile, int width)
    {
        bool started = Accumulate;
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
            tile.A = a + group.FirstRow * tile.ARow + (nint)group.FirstTap * InputChannels;
            tile.B = b + (nint)group.FirstTap * InputChannels * width;
            tile.C = c + group.FirstRow * tile.CRow;
            tile.Inner = (nint)group.Taps * InputChannels;
            tile.Accumulate = started;
            Kernels->Tiles.Run(group.Rows, width, &tile);
            tile.Fetch = default;
            started = true;
        }
    }

    /// <summary>The epilogue and the statistics of a tile of finished sums.</summary>
    public readonly void FinishTile(float* output, int rows, int columns, int firstOutput, int chunk, bool firstOfChunk)
    {
        bool statistics = ChunkStatistics != null;
        if (!Epilogue.Maps && !statistics) return;
        EpilogueArguments e = Epilogue;
        e.Y = output;
        e.RowStride = OutputPixelStride;
        e.Rows = rows;
        e.Columns = columns;
        if (e.Scale != null) e.Scale += firstOutput;
        if (e.Bias != null) e.Bias += firstOutput;
        if (e.Residual != null) e.Residual += output - Output;
        if (statistics)
        {
            if (firstOfChunk && e.Maps) Kernels->Epilogue(&e);
            e.Shift = ChunkStatistics + (nint)chunk * 3 * Layout.Columns + firstOutput;
            e.Sum = e.Shift + Layout.Columns;
            e.SquareSum = e.Sum + Layout.Columns;
            if (firstOfChunk)
            {
                // Any value among the data, taken as the shift, keeps the sums free of cancellation: the first one.
                new ReadOnlySpan<float>(output, columns).CopyTo(new Span<float>(e.Shift, columns));
                new Span<float>(e.Sum, columns).Clear();
                new Span<float>(e.SquareSum, columns).Clear();
                e.Scale = e.Bias = e.Residual = null;
                e.Activation = Activation.None;
            }
        }

        Kernels->Epilogue(&e);
    }

    /// <summary>
    /// The tap columns of a tile, grouped by the tile rows whose input they reach: taps that reach all rows first, as one
    /// group where they are neighbours. What falls on the padding is in no group and costs nothing.
    /// </summary>
    private readonly int GroupTaps(int column, int rows, TapGroup* groups)
    {
        int count = 0, full = -1;
        for (int s = 0; s < TapColumns; s++)
        {
            // Row i sees column (column + i) * Step + s - OriginColumn, inside from 0 to InputColumns - 1.
            long at = (long)column * Step + s - OriginColumn;
            int first = at >= 0 ? 0 : (int)(Rounding.DivideUp(-at, Step));
            long reach = InputColumns - 1 - at;
            int end = reach < 0 ? 0 : (int)Math.Min(rows, reach / Step + 1);
            if (end <= first) continue;
            if (count > 0 && groups[count - 1].Continues(first, end - first, s)) groups[count - 1].Taps++;
            else groups[count++] = new TapGroup { FirstTap = s, Taps = 1, FirstRow = first, Rows = end - first };
            if (end - first == rows) full = count - 1;
        }

        if (full > 0) (groups[0], groups[full]) = (groups[full], groups[0]);
        return count;
    }

    private readonly (int N, int FirstRow, int EndRow, int FirstColumn, int EndColumn) ChunkBounds(int chunk)
    {
        int n = chunk / (RowItems * ColumnItems), rest = chunk % (RowItems * ColumnItems);
        int rowItem = rest / ColumnItems, columnItem = rest % ColumnItems;
        return (
            n,
            rowItem * _rowsPerItem, Math.Min((rowItem + 1) * _rowsPerItem, P),
            columnItem * _columnsPerItem, Math.Min((columnItem + 1) * _columnsPerItem, Q));
    }

    /// <summary>
    /// A 1x1 convolution sees no rows and images: all pixels of the batch become one row. Those that are strided are copied
    /// on the way: short rows of a map would make low tiles, and pixels a power of two apart share sets of L1.
    /// </summary>
    private void FlattenPixels()
    {
        long pixels = (long)N * P * Q;
        if (TapRows * TapColumns != 1 || OriginRow != 0 || OriginColumn != 0 || pixels > int.MaxValue || !NeverPadded) return;
        bool inputRuns = Step == 1 && P == InputRows && Q == InputColumns;
        bool outputRuns = OutputRowStride == Q * OutputPixelStride && OutputImageStride == P * OutputRowStride;
        if (inputRuns == outputRuns && !inputRuns) return;
        _gathers = !inputRuns;
        _scatters = !outputRuns;
        if (_scatters)
        {
            int stride = (int)(OutputPixelStride / Layout.Columns), mapColumns = (int)(OutputRowStride / OutputPixelStride);
            _outputs = Pixels(Output, stride, Layout.Columns, (int)(OutputImageStride * stride / OutputRowStride), mapColumns);
        }

        Q = InputColumns = (int)pixels;
        OutputRowStride = OutputImageStride *= N;
        N = P = InputRows = Step = 1;
    }

    private readonly StridedPixels Pixels(float* map, int stride, int channels, int mapRows, int mapColumns) => new()
    {
        Kernels = Kernels,
        Map = map,
        Stride = stride,
        Channels = channels,
        MapRows = mapRows,
        MapColumns = mapColumns,
        Rows = P,
        Columns = Q,
    };

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

    /// <summary>Where the input pixels under the first tap of the output pixels of an image lie.</summary>
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
