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
    // Half of a 1 MiB L2: panels of weights that stay there while pixels stream past.
    private const long PanelGroupBytes = 512 * 1024;

    // Long enough (about 40 us) to pay for handing out an item, short enough that the last one is not waited for.
    private const double ItemFlops = 4e6;

    public CpuKernels* Kernels;
    public float* Input;
    public float* Output;
    public float* Panels;
    public PanelLayout Layout;

    public int N, InputRows, InputColumns, InputChannels;
    public int P, Q, TapRows, TapColumns, Step, OriginRow, OriginColumn;

    /// <summary>Floats from a pixel, row, image of the input and output to the next.</summary>
    public nint InputRowStride, InputImageStride, OutputPixelStride, OutputRowStride, OutputImageStride;

    public bool Accumulate;
    public EpilogueArguments Epilogue;

    /// <summary>Statistics of a chunk of output pixels: shift, sum, square sum, each of all columns. Null when not wanted.</summary>
    public float* ChunkStatistics;

    private int _panelsPerGroup, _rowsPerItem, _columnsPerItem;

    private readonly int RowItems => (P + _rowsPerItem - 1) / _rowsPerItem;

    private readonly int ColumnItems => (Q + _columnsPerItem - 1) / _columnsPerItem;

    private readonly int PanelGroups => (Layout.Count + _panelsPerGroup - 1) / _panelsPerGroup;

    /// <inheritdoc/>
    public readonly int Chunks => N * RowItems * ColumnItems;

    private readonly int Items => Chunks * PanelGroups;

    private readonly nint PanelRows => (nint)TapRows * TapColumns * InputChannels;

    /// <summary>Cuts the work into items. Called once the sizes are set, before anything else is asked.</summary>
    public void Plan()
    {
        FlattenPixels();
        long panelBytes = Math.Max(1, PanelRows) * Layout.FullWidth * sizeof(float);
        _panelsPerGroup = (int)Math.Clamp(PanelGroupBytes / panelBytes, 1, Layout.Count);
        double pixelFlops = 2.0 * Math.Max(1, PanelRows) * Math.Min(_panelsPerGroup * Layout.FullWidth, Layout.Columns);
        double pixels = Math.Max(1, ItemFlops / pixelFlops);
        int tile = Kernels->Tiles.MaxRows;
        _rowsPerItem = (int)Math.Clamp(pixels / Q, 1, P);
        _columnsPerItem = _rowsPerItem > 1 || Q <= 4 * tile
            ? Q
            : (int)Math.Min(Q, Math.Ceiling(pixels / tile) * tile);
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
        // Groups of panels vary slowest: all threads stream pixels past the same few panels.
        int group = item / Chunks, chunk = item % Chunks;
        int endPanel = Math.Min((group + 1) * _panelsPerGroup, Layout.Count);
        for (int panel = group * _panelsPerGroup; panel < endPanel; panel++) RunPanel(panel, chunk);
    }

    private readonly void RunPanel(int panel, int chunk)
    {
        (int n, int firstRow, int endRow, int firstColumn, int endColumn) = ChunkBounds(chunk);
        int width = Layout.Width(panel);
        int tallest = Kernels->Tiles.MaxRowsFor(width);
        int length = endColumn - firstColumn;
        int tiles = (length + tallest - 1) / tallest;
        TapGroup* groups = stackalloc TapGroup[TapColumns];
        for (int i = 0; i < tiles; i++)
        {
            // Tiles of nearly equal height: a row of 32 pixels is 11 + 11 + 10, not 14 + 14 + 4.
            int column = firstColumn + (int)((long)length * i / tiles);
            int rows = firstColumn + (int)((long)length * (i + 1) / tiles) - column;
            int groupCount = GroupTaps(column, rows, groups);
            for (int p = firstRow; p < endRow; p++)
            {
                bool first = i == 0 && p == firstRow;
                RunTile(panel, n, p, column, rows, groups, groupCount, chunk, first);
            }
        }
    }

    private readonly void RunTile(
        int panel, int n, int p, int column, int rows, TapGroup* groups, int groupCount, int chunk, bool firstOfChunk)
    {
        int width = Layout.Width(panel), valid = Layout.ValidColumns(panel), firstOutput = Layout.FirstColumn(panel);
        float* output = Output + n * OutputImageStride + p * OutputRowStride + column * OutputPixelStride + firstOutput;
        float* scratch = stackalloc float[valid < width ? rows * width : 1];
        int row = p * Step - OriginRow;
        int firstTap = Math.Max(0, -row), endTap = Math.Min(TapRows, InputRows - row);

        var tile = default(TileArguments);
        tile.C = valid < width ? scratch : output;
        tile.CRow = valid < width ? width : OutputPixelStride;
        bool started = Accumulate;
        if (valid < width && Accumulate) CopyTile(output, OutputPixelStride, scratch, width, rows, valid);
        if (!started && (groupCount == 0 || endTap <= firstTap || groups[0].Rows < rows))
        {
            ClearTile(tile.C, tile.CRow, rows, valid < width ? width : valid);
            started = true;
        }

        if (endTap > firstTap)
        {
            tile.ARow = (nint)Step * InputChannels;
            tile.AInner = 1;
            tile.AMiddle = InputRowStride;
            tile.BInner = width;
            tile.BMiddle = (nint)TapColumns * InputChannels * width;
            tile.Middle = endTap - firstTap;
            tile.Outer = 1;
            float* image = Input + n * InputImageStride + (row + firstTap) * InputRowStride;
            float* weights = Panels + PanelRows * firstOutput + firstTap * tile.BMiddle;
            float* result = tile.C;
            for (int g = 0; g < groupCount; g++)
            {
                TapGroup group = groups[g];
                int inputColumn = (column + group.FirstRow) * Step + group.FirstTap - OriginColumn;
                tile.A = image + (nint)inputColumn * InputChannels;
                tile.B = weights + (nint)group.FirstTap * InputChannels * width;
                tile.C = result + group.FirstRow * tile.CRow;
                tile.Inner = (nint)group.Taps * InputChannels;
                tile.Accumulate = started;
                Kernels->Tiles.Run(group.Rows, width, &tile);
                started = true;
            }
        }

        if (valid < width) CopyTile(scratch, width, output, OutputPixelStride, rows, valid);
        FinishTile(output, rows, valid, firstOutput, chunk, firstOfChunk);
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
            int first = at >= 0 ? 0 : (int)((-at + Step - 1) / Step);
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

    /// <summary>A 1x1 convolution of stride 1 sees no rows and images: all pixels of the batch become one row.</summary>
    private void FlattenPixels()
    {
        long pixels = (long)N * P * Q;
        bool flat = TapRows == 1 && TapColumns == 1 && Step == 1 && OriginRow == 0 && OriginColumn == 0
            && P == InputRows && Q == InputColumns && pixels <= int.MaxValue
            && OutputRowStride == Q * OutputPixelStride && OutputImageStride == P * OutputRowStride;
        if (!flat) return;
        Q = InputColumns = (int)pixels;
        N = P = InputRows = 1;
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

    private struct TapGroup
    {
        public int FirstTap, Taps, FirstRow, Rows;

        public readonly bool Continues(int firstRow, int rows, int tap) =>
            firstRow == FirstRow && rows == Rows && tap == FirstTap + Taps;
    }
}
