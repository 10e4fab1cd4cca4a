namespace FeedbackKernels.Interop;

/// <summary>
/// A 3x3 convolution of stride 1 by Winograd's F(4x4, 3x3): 36 products a 4x4 tile of outputs instead of 144. Tiles are
/// transformed, each of the 36 points is a product of (tiles x channels) by (channels x columns), and the products are
/// transformed back. Errors are about 1e-5 of the largest output.
/// </summary>
internal unsafe struct WinogradConvolution : IParallelJob, IChunkedConvolution
{
    private const int TileSize = WinogradMap.TileSize, Points = WinogradMap.Points;

    // Channels of the weights that are transformed at a time: nine taps of them by a panel stay in L1.
    private const int WeightChannels = 16;

    // Between points of the weights, and between tiles.
    private const int LineFloats = 16;

    // Transformed tiles and products of a block, in most of a 1 MiB L2, beside the panels that stream past.
    private const long BlockBytes = 640 * 1024;

    // Below so many blocks threads would wait for each other, and the transformed weights would be read too often: the
    // phases are then shared by all threads, over slabs of tiles that fit a third level of cache.
    private const int FewestBlocks = 12;
    private const int SlabTiles = 256, ChunkTiles = 8;

    /// <summary>The same convolution as a direct one: sizes, operands, and what is done to outputs.</summary>
    public GatherConvolution Direct;

    /// <summary>The weights.</summary>
    public WeightPacking Packing;

    /// <summary>Transformed weights [36][panel][channel][width].</summary>
    public float* Weights;

    /// <summary>Transformed tiles [tile][36][channel] and products [tile][36][column]; one of each a worker, or one in all.</summary>
    public float* Tiles, Products;

    /// <summary>The input, in patches.</summary>
    public WinogradMap Input;

    private Phase _phase;
    private int _blockTiles, _firstTile, _slabTiles;

    private enum Phase
    {
        Weights,
        Block,
        Input,
        Multiply,
        Output,
    }

    private readonly int AllTiles => Direct.N * Input.TilesDown * Input.TilesAcross;

    private readonly bool Shared => AllTiles < FewestBlocks * _blockTiles;

    private readonly int WeightGroups => (Channels + WeightChannels - 1) / WeightChannels;

    private readonly int Channels => Direct.InputChannels;

    private readonly int Columns => Direct.Layout.Columns;

    // All points of a tile lie together, so that the transforms read and write one run of memory. One more cache line from a
    // tile to the next: tiles a multiple of 4 KiB apart would share one set of L1.
    private readonly nint TileRow => Points * (nint)Channels + LineFloats;

    private readonly nint ProductRow => Points * (nint)Columns + LineFloats;

    private readonly int BufferTiles => Shared ? Math.Min(SlabTiles, AllTiles) : _blockTiles;

    private readonly nint WeightPoint => (nint)Channels * Columns + LineFloats;

    private readonly int Buffers(int threads) => Shared ? 1 : threads;

    public readonly long WeightFloats => Points * (long)WeightPoint;

    public readonly long TileFloats(int threads) => BufferTiles * (long)TileRow * Buffers(threads);

    public readonly long ProductFloats(int threads) => BufferTiles * (long)ProductRow * Buffers(threads);

    private readonly int TilesPerChunk => Shared ? ChunkTiles : _blockTiles;

    /// <inheritdoc/>
    public readonly int Chunks => (AllTiles + TilesPerChunk - 1) / TilesPerChunk;

    private readonly int Items => _phase switch
    {
        Phase.Weights => Direct.Layout.Count * WeightGroups,
        Phase.Block => Chunks,
        Phase.Multiply => Points,
        _ => (_slabTiles + ChunkTiles - 1) / ChunkTiles,
    };

    /// <summary>
    /// Whether a convolution is one that F(4x4, 3x3) computes faster: with fewer channels or tiles, the transforms and the
    /// calls of 36 small products cost what the products save. The weight gradient's products have as few rows as there are
    /// channels.
    /// </summary>
    public static bool Suits(in ConvShape shape, ConvPass pass, int lanes)
    {
        int fewest = pass == ConvPass.WeightGradient ? 32 : 16;
        return lanes > 1 && shape is { R: 3, S: 3, Stride: 1, Padding: <= 2 } && Math.Min(shape.C, shape.K) >= fewest
            && shape.C % lanes == 0 && shape.K % lanes == 0
            && Math.Min(shape.P, shape.Q) >= 7 && (long)shape.N * shape.P * shape.Q >= 512;
    }

    public static WinogradConvolution Of(in GatherConvolution direct, in WeightPacking packing, float* zeros)
    {
        int tall = direct.Kernels->Tiles.MaxRows;
        long tileBytes = Points * (long)(direct.InputChannels + direct.Layout.Columns) * sizeof(float);
        var input = WinogradMap.Of(
            direct.Input, direct.InputRows, direct.InputColumns, direct.InputChannels, direct.P, direct.Q, zeros);
        input.OriginRow = direct.OriginRow;
        input.OriginColumn = direct.OriginColumn;
        return new WinogradConvolution
        {
            Direct = direct,
            Packing = packing,
            Input = input,
            _blockTiles = (int)Math.Max(1, BlockBytes / tileBytes / tall) * tall,
        };
    }

    /// <inheritdoc/>
    public readonly int ChunkPixels(int chunk)
    {
        int pixels = 0, end = Math.Min((chunk + 1) * TilesPerChunk, AllTiles);
        for (int tile = chunk * TilesPerChunk; tile < end; tile++)
        {
            (_, int row, int column) = Input.Place(tile);
            pixels += Math.Min(TileSize, Direct.P - row) * Math.Min(TileSize, Direct.Q - column);
        }

        return pixels;
    }

    /// <inheritdoc/>
    public void Run(WorkerPool pool, float* chunkStatistics)
    {
        Direct.ChunkStatistics = chunkStatistics;
        RunPhase(pool, Phase.Weights);
        if (!Shared)
        {
            RunPhase(pool, Phase.Block);
            return;
        }

        for (_firstTile = 0; _firstTile < AllTiles; _firstTile += SlabTiles)
        {
            _slabTiles = Math.Min(SlabTiles, AllTiles - _firstTile);
            RunPhase(pool, Phase.Input);
            RunPhase(pool, Phase.Multiply);
            RunPhase(pool, Phase.Output);
        }
    }

    public readonly void Run(int item, int worker)
    {
        switch (_phase)
        {
            case Phase.Weights:
                TransformWeights(item);
                break;
            case Phase.Block:
                RunBlock(item, worker);
                break;
            case Phase.Multiply:
                Multiply(item, Tiles, Products, _slabTiles);
                break;
            default:
                int first = item * ChunkTiles, count = Math.Min(ChunkTiles, _slabTiles - first);
                if (_phase == Phase.Input) TransformInput(_firstTile + first, count, Tiles + first * TileRow);
                else TransformOutput(_firstTile + first, count, Products + first * ProductRow, (_firstTile + first) / ChunkTiles);
                break;
        }
    }

    private void RunPhase(WorkerPool pool, Phase phase)
    {
        _phase = phase;
        pool.Run(Items, ref this);
    }

    private readonly void RunBlock(int block, int worker)
    {
        int first = block * _blockTiles, count = Math.Min(_blockTiles, AllTiles - first);
        float* tiles = Tiles + worker * BufferTiles * TileRow, products = Products + worker * BufferTiles * ProductRow;
        TransformInput(first, count, tiles);
        for (int point = 0; point < Points; point++) Multiply(point, tiles, products, count);
        TransformOutput(first, count, products, block);
    }

    /// <summary>Packs some channels of a panel, all taps, and transforms them while they are in L1.</summary>
    private readonly void TransformWeights(int item)
    {
        PanelLayout layout = Direct.Layout;
        int panel = item / WeightGroups, first = item % WeightGroups * WeightChannels, count = Math.Min(WeightChannels, Channels - first);
        int width = layout.Width(panel);
        float* taps = stackalloc float[9 * WeightChannels * width];
        for (int tap = 0; tap < 9; tap++) Packing.PackTap(panel, tap / 3, tap % 3, first, count, taps + tap * count * width);
        var t = new WinogradArguments
        {
            Source = taps,
            SourceStride = count * width,
            Destination = Weights + (nint)Channels * layout.FirstColumn(panel) + (nint)first * width,
            DestinationStride = WeightPoint,
            // Channel and column are one run of memory.
            Channels = count * width,
        };
        Direct.Kernels->WinogradWeights(&t);
    }

    private readonly void TransformInput(int first, int count, float* destination)
    {
        float** pixels = stackalloc float*[Points];
        var t = new WinogradArguments { Pixels = pixels, DestinationStride = Channels, Channels = Channels };
        for (int i = 0; i < count; i++)
        {
            Input.Locate(first + i, pixels);
            if (first + i + 1 < AllTiles) Input.FetchAhead(first + i);
            t.Destination = destination + i * TileRow;
            Direct.Kernels->WinogradInput(&t);
        }
    }

    private readonly void Multiply(int point, float* tiles, float* products, int count)
    {
        PanelLayout layout = Direct.Layout;
        TileSet kernels = Direct.Kernels->Tiles;
        var t = new TileArguments
        {
            ARow = TileRow,
            AInner = 1,
            CRow = ProductRow,
            Inner = Channels,
            Middle = 1,
            Outer = 1,
            Ahead = GatherConvolution.PanelAheadBytes,
        };
        int tall = kernels.MaxRows, whole = count / tall, rest = count % tall;
        t.ATile = tall * TileRow;
        t.CTile = tall * ProductRow;
        for (int panel = 0; panel < layout.Count; panel++)
        {
            int column = layout.FirstColumn(panel), width = layout.Width(panel);
            t.A = tiles + (nint)point * Channels;
            t.B = Weights + point * WeightPoint + (nint)Channels * column;
            t.C = products + (nint)point * Columns + column;
            t.BInner = width;
            t.Tiles = whole;
            if (whole > 0) kernels.Run(tall, width, &t);
            if (rest == 0) continue;
            t.A += whole * t.ATile;
            t.C += whole * t.CTile;
            t.Tiles = 1;
            kernels.Run(rest, width, &t);
        }
    }

    private readonly void TransformOutput(int first, int count, float* products, int chunk)
    {
        var t = new WinogradArguments
        {
            SourceStride = Columns,
            DestinationStride = Direct.OutputRowStride,
            PixelStride = Direct.OutputPixelStride,
            Accumulate = Direct.Accumulate,
            Channels = Columns,
        };
        for (int i = 0; i < count; i++)
        {
            (int n, int row, int column) = Input.Place(first + i);
            t.Source = products + i * ProductRow;
            t.Destination = Direct.Output + n * Direct.OutputImageStride + row * Direct.OutputRowStride + column * Direct.OutputPixelStride;
            t.Rows = Math.Min(TileSize, Direct.P - row);
            t.Columns = Math.Min(TileSize, Direct.Q - column);
            // The transform adds up the statistics itself once the chunk has its shift, unless they are those of something
            // that is still to be done to its outputs.
            bool sums = Direct.ChunkStatistics != null && !Direct.Epilogue.Maps && i > 0;
            t.Shift = sums ? Direct.ChunkStatistics + (nint)chunk * 3 * Columns : null;
            Direct.Kernels->WinogradOutput(&t);
            for (int a = 0; a < t.Rows && !sums; a++)
                Direct.FinishTile(t.Destination + a * t.DestinationStride, t.Columns, Columns, 0, chunk, firstOfChunk: i == 0 && a == 0);
        }
    }
}
