namespace FeedbackKernels.Interop;

/// <summary>
/// A 3x3 convolution of stride 1 by Winograd's F(4x4, 3x3): 36 products a 4x4 tile of outputs instead of 144. Tiles are
/// transformed, each of the 36 points is a product of (tiles x channels) by (channels x columns), and the products are
/// transformed back. Errors are about 1e-5 of the largest output.
/// </summary>
internal unsafe struct WinogradConvolution : IParallelJob, IChunkedConvolution
{
    private const int TileSize = 4, PatchSize = TileSize + 2, Points = PatchSize * PatchSize;

    // One more cache line from a point to the next: 36 streams a multiple of 4 KiB apart would share one set of L1.
    private const int LineFloats = 16;

    // Transformed tiles and products of a block, in most of a 1 MiB L2, beside the panels that stream past.
    private const long BlockBytes = 640 * 1024;

    // Below so many blocks threads would wait for each other, and the transformed weights would be read too often: the
    // phases are then shared by all threads, over slabs of tiles that fit a third level of cache.
    private const int FewestBlocks = 48;
    private const int SlabTiles = 256, ChunkTiles = 8;

    /// <summary>The same convolution as a direct one: sizes, operands, and what is done to outputs.</summary>
    public GatherConvolution Direct;

    /// <summary>Transformed weights [36][panel][channel][width].</summary>
    public float* Weights;

    /// <summary>Transformed tiles [36][tile][channel] and products [36][tile][column]; one of each a worker, or one in all.</summary>
    public float* Tiles, Products;

    /// <summary>A pixel of the padding.</summary>
    public float* Zeros;

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

    private readonly int TilesDown => (Direct.P + TileSize - 1) / TileSize;

    private readonly int TilesAcross => (Direct.Q + TileSize - 1) / TileSize;

    private readonly int AllTiles => Direct.N * TilesDown * TilesAcross;

    private readonly bool Shared => AllTiles < FewestBlocks * _blockTiles;

    private readonly int Channels => Direct.InputChannels;

    private readonly int Columns => Direct.Layout.Columns;

    // Rows of channels 4 KiB apart would share a set of L1 too.
    private readonly nint TileRow => Channels + LineFloats;

    private readonly nint ProductRow => Columns + LineFloats;

    private readonly int BufferTiles => Shared ? Math.Min(SlabTiles, AllTiles) : _blockTiles;

    private readonly nint TilePoint => BufferTiles * TileRow + LineFloats;

    private readonly nint ProductPoint => BufferTiles * ProductRow + LineFloats;

    private readonly nint WeightPoint => (nint)Channels * Columns + LineFloats;

    private readonly int Buffers(int threads) => Shared ? 1 : threads;

    public readonly long WeightFloats => Points * (long)WeightPoint;

    public readonly long TileFloats(int threads) => Points * (long)TilePoint * Buffers(threads);

    public readonly long ProductFloats(int threads) => Points * (long)ProductPoint * Buffers(threads);

    private readonly int TilesPerChunk => Shared ? ChunkTiles : _blockTiles;

    /// <inheritdoc/>
    public readonly int Chunks => (AllTiles + TilesPerChunk - 1) / TilesPerChunk;

    private readonly int Items => _phase switch
    {
        Phase.Weights => Direct.Layout.Count,
        Phase.Block => Chunks,
        Phase.Multiply => Points,
        _ => (_slabTiles + ChunkTiles - 1) / ChunkTiles,
    };

    /// <summary>
    /// Whether a convolution is one that F(4x4, 3x3) computes faster: fewer channels, or a smaller map, and the transforms
    /// cost what the products save.
    /// </summary>
    public static bool Suits(in ConvShape shape, ConvPass pass, int lanes) =>
        pass != ConvPass.WeightGradient && lanes > 1 && shape is { R: 3, S: 3, Stride: 1, Padding: <= 2, C: >= 64, K: >= 64 }
        && shape.C % (2 * lanes) == 0 && shape.K % (2 * lanes) == 0
        && Math.Min(shape.P, shape.Q) >= 14 && (long)shape.N * shape.P * shape.Q >= 512;

    public static WinogradConvolution Of(in GatherConvolution direct)
    {
        int tall = direct.Kernels->Tiles.MaxRows;
        long tileBytes = Points * (long)(direct.InputChannels + direct.Layout.Columns) * sizeof(float);
        return new WinogradConvolution
        {
            Direct = direct,
            _blockTiles = (int)Math.Max(1, BlockBytes / tileBytes / tall) * tall,
        };
    }

    /// <inheritdoc/>
    public readonly int ChunkPixels(int chunk)
    {
        int pixels = 0, end = Math.Min((chunk + 1) * TilesPerChunk, AllTiles);
        for (int tile = chunk * TilesPerChunk; tile < end; tile++)
        {
            (_, int row, int column) = Place(tile);
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
        float* tiles = Tiles + worker * Points * TilePoint, products = Products + worker * Points * ProductPoint;
        TransformInput(first, count, tiles);
        for (int point = 0; point < Points; point++) Multiply(point, tiles, products, count);
        TransformOutput(first, count, products, block);
    }

    private readonly void TransformWeights(int panel)
    {
        PanelLayout layout = Direct.Layout;
        nint panelFloats = (nint)Channels * layout.Width(panel), first = (nint)Channels * layout.FirstColumn(panel);
        var t = new WinogradArguments
        {
            Source = Direct.Panels + 9 * first,
            SourceStride = panelFloats,
            Destination = Weights + first,
            DestinationStride = WeightPoint,
            // Channel and column are one run of memory.
            Channels = panelFloats,
        };
        Direct.Kernels->WinogradWeights(&t);
    }

    private readonly void TransformInput(int first, int count, float* destination)
    {
        float** pixels = stackalloc float*[Points];
        var t = new WinogradArguments { Pixels = pixels, DestinationStride = TilePoint, Channels = Channels };
        for (int i = 0; i < count; i++)
        {
            (int n, int row, int column) = Place(first + i);
            float* image = Direct.Input + n * Direct.InputImageStride;
            for (int a = 0; a < PatchSize; a++)
            {
                int h = row + a - Direct.OriginRow;
                for (int b = 0; b < PatchSize; b++)
                {
                    int w = column + b - Direct.OriginColumn;
                    bool inside = (uint)h < (uint)Direct.InputRows && (uint)w < (uint)Direct.InputColumns;
                    pixels[a * PatchSize + b] = inside ? image + h * Direct.InputRowStride + (nint)w * Channels : Zeros;
                }
            }

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
            BInner = layout.FullWidth,
            CRow = ProductRow,
            Inner = Channels,
            Middle = 1,
            Outer = 1,
            Tiles = 1,
        };
        int parts = (count + kernels.MaxRows - 1) / kernels.MaxRows;
        for (int panel = 0; panel < layout.Count; panel++)
        {
            int column = layout.FirstColumn(panel);
            t.B = Weights + point * WeightPoint + (nint)Channels * column;
            for (int part = 0; part < parts; part++)
            {
                int first = count * part / parts, end = count * (part + 1) / parts;
                t.A = tiles + point * TilePoint + first * TileRow;
                t.C = products + point * ProductPoint + first * ProductRow + column;
                kernels.Run(end - first, layout.FullWidth, &t);
            }
        }
    }

    private readonly void TransformOutput(int first, int count, float* products, int chunk)
    {
        var t = new WinogradArguments
        {
            SourceStride = ProductPoint,
            DestinationStride = Direct.OutputRowStride,
            PixelStride = Direct.OutputPixelStride,
            Accumulate = Direct.Accumulate,
            Channels = Columns,
        };
        for (int i = 0; i < count; i++)
        {
            (int n, int row, int column) = Place(first + i);
            t.Source = products + i * ProductRow;
            t.Destination = Direct.Output + n * Direct.OutputImageStride + row * Direct.OutputRowStride + column * Direct.OutputPixelStride;
            t.Rows = Math.Min(TileSize, Direct.P - row);
            t.Columns = Math.Min(TileSize, Direct.Q - column);
            Direct.Kernels->WinogradOutput(&t);
            for (int a = 0; a < t.Rows; a++)
                Direct.FinishTile(t.Destination + a * t.DestinationStride, t.Columns, Columns, 0, chunk, firstOfChunk: i == 0 && a == 0);
        }
    }

    private readonly (int N, int Row, int Column) Place(int tile)
    {
        int inImage = tile % (TilesDown * TilesAcross);
        return (tile / (TilesDown * TilesAcross), inImage / TilesAcross * TileSize, inImage % TilesAcross * TileSize);
    }
}
