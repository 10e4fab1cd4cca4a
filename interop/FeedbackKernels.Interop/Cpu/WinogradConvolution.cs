namespace FeedbackKernels.Interop;

/// <summary>
/// A 3x3 convolution of stride 1 by Winograd's F(4x4, 3x3): 36 products a 4x4 tile of outputs instead of 144, and 25 a tile of
/// 3x3 at the end of a map that tiles of 4 do not divide. Tiles are transformed, each of the 36 points is a product of (tiles
/// x channels) by (channels x columns), and the products are transformed back. Errors are about 1e-5 of the largest output.
/// Where there are many tiles and few weights, a thread takes a block of tiles through all three steps, and the transformed
/// weights stream past. Where there are few tiles or many weights (7x7 and 14x14 maps), the tiles are transformed first; then
/// a thread takes a panel of columns, transforms its weights a few channels at a time into its own L2, and lets the tiles
/// stream past: transformed weights, four times as large as the weights, never go to memory.
/// </summary>
internal unsafe struct WinogradConvolution : IParallelJob, IChunkedConvolution
{
    private const int Points = WinogradMap.Points;

    // Channels of the weights that are transformed at a time: nine taps of them by a panel stay in L1.
    private const int WeightChannels = 16;

    // Between points of the weights, and between tiles.
    private const int LineFloats = Caches.LineFloats;

    // Transformed tiles and products of a block, in most of L2, beside the panels that stream past.
    private static readonly long BlockBytes = Caches.Level2 * 5 / 8;

    // Below so many blocks threads would wait for each other; above so many bytes the transformed weights leave L2 and are
    // read from further away for every block.
    private const int FewestBlocks = 12;
    private const long ManyWeightBytes = 16 * 1024 * 1024;

    // Of a panel: channels whose transformed weights (295 KB) and tiles whose products (as many) share a 1 MiB L2.
    private const int PanelChannels = 64, PanelTiles = 64;

    // Tiles that are transformed before their panels: 19 MB at 512 channels. And those that are handed out at a time.
    private const int SlabTiles = 256, ChunkTiles = 8;

    /// <summary>The same convolution as a direct one: sizes, operands, and what is done to outputs.</summary>
    public GatherConvolution Direct;

    /// <summary>The weights.</summary>
    public WeightPacking Packing;

    /// <summary>Transformed weights [36][panel][channel][width]; or of some channels of one panel, for each worker.</summary>
    public float* Weights;

    /// <summary>Transformed tiles: of each worker's block [tile][36][channel]; or of a slab, in the order in which panels read
    /// them, [part][channel group][36][tile][channel].</summary>
    public float* Tiles;

    /// <summary>Products [tile][36][column], of each worker: of a block and all columns, or of some tiles and a panel.</summary>
    public float* Products;

    /// <summary>The input, in patches.</summary>
    public WinogradMap Input;

    private Phase _phase;
    private int _blockTiles, _firstTile, _slabTiles;

    private enum Phase
    {
        Weights,
        Block,
        Input,
        Panel,
    }

    private readonly int AllTiles => Input.Grid.Tiles;

    private readonly bool ByPanel =>
        AllTiles < FewestBlocks * _blockTiles || Points * (long)Channels * Columns * sizeof(float) > ManyWeightBytes;

    // Whether the outputs of a block, one run of memory, are fetched during its products.
    private readonly bool FetchesOutputs => !ByPanel && !Input.Grid.IsMixed;

    private readonly int WeightGroups => Rounding.DivideUp32(Channels, WeightChannels);

    private readonly int Channels => Direct.InputChannels;

    private readonly int Columns => Direct.Layout.Columns;

    // In a block all points of a tile lie together, so that the transforms read and write one run of memory. One more cache
    // line from a tile to the next: tiles a multiple of 4 KiB apart would share one set of L1.
    private readonly nint TileRow => ByPanel ? PanelChannels : Points * (nint)Channels + LineFloats;

    private readonly nint TilePoint => ByPanel ? PanelTiles * PanelChannels + LineFloats : Channels;

    private readonly int ChannelGroups => Rounding.DivideUp32(Channels, PanelChannels);

    private readonly nint PartFloats => ChannelGroups * Points * TilePoint;

    private readonly nint ProductRow => Points * (nint)(ByPanel ? Direct.Layout.FullWidth : Columns) + LineFloats;

    private readonly nint WeightPoint => (ByPanel ? PanelChannels * (nint)Direct.Layout.FullWidth : (nint)Channels * Columns) + LineFloats;

    private readonly nint WorkerProducts => (ByPanel ? PanelTiles : _blockTiles) * ProductRow;

    public readonly long WeightFloats(int threads) => Points * (long)WeightPoint * (ByPanel ? threads : 1);

    public readonly long TileFloats(int threads) => ByPanel
        ? Math.Min(SlabTiles / PanelTiles, Rounding.DivideUp32(AllTiles, PanelTiles)) * (long)PartFloats
        : threads * _blockTiles * (long)TileRow;

    public readonly long ProductFloats(int threads) => threads * (long)WorkerProducts;

    private readonly int TilesPerChunk => ByPanel ? PanelTiles : _blockTiles;

    /// <inheritdoc/>
    public readonly int Chunks => Rounding.DivideUp32(AllTiles, TilesPerChunk);

    private readonly int PanelParts => Rounding.DivideUp32(_slabTiles, PanelTiles);

    private readonly int Items => _phase switch
    {
        Phase.Weights => Direct.Layout.Count * WeightGroups,
        Phase.Block => Chunks,
        Phase.Input => Rounding.DivideUp32(_slabTiles, ChunkTiles),
        _ => Direct.Layout.Count * PanelParts,
    };

    /// <summary>
    /// Whether a convolution is one whose passes F(4x4, 3x3) computes faster: with fewer channels or tiles, the transforms and the
    /// calls of 36 small products cost what the products save.
    /// </summary>
    public static bool Suits(in ConvShape shape, int lanes) =>
        lanes > 1 && shape is { R: 3, S: 3, Stride: 1, Padding: <= 2 } && Math.Min(shape.C, shape.K) >= 16
        && shape.C % lanes == 0 && shape.K % lanes == 0
        && Math.Min(shape.P, shape.Q) >= 7 && (long)shape.N * shape.P * shape.Q >= 512;

    public static WinogradConvolution Of(in GatherConvolution direct, in WeightPacking packing, float* zeros)
    {
        int tall = direct.Kernels->Tiles.MaxRows(direct.Layout.FullWidth);
        long tileBytes = Points * (long)(direct.InputChannels + direct.Layout.Columns) * sizeof(float);
        var grid = new TileGrid(direct.N, direct.P, direct.Q);
        var input = WinogradMap.Of(direct.Input, direct.InputRows, direct.InputColumns, direct.InputChannels, grid, zeros);
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
            TilePlace place = Input.Grid.Place(tile);
            pixels += Math.Min(place.Kind.Rows, Direct.P - place.Row) * Math.Min(place.Kind.Columns, Direct.Q - place.Column);
        }

        return pixels;
    }

    /// <inheritdoc/>
    public void Run(WorkerPool pool, float* chunkStatistics)
    {
        Direct.ChunkStatistics = chunkStatistics;
        if (!ByPanel)
        {
            RunPhase(pool, Phase.Weights);
            RunPhase(pool, Phase.Block);
            return;
        }

        for (_firstTile = 0; _firstTile < AllTiles; _firstTile += SlabTiles)
        {
            _slabTiles = Math.Min(SlabTiles, AllTiles - _firstTile);
            RunPhase(pool, Phase.Input);
            RunPhase(pool, Phase.Panel);
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
            case Phase.Input:
                int first = item * ChunkTiles;
                TransformInput(
                    _firstTile + first, Math.Min(ChunkTiles, _slabTiles - first),
                    Tiles + first / PanelTiles * PartFloats + first % PanelTiles * TileRow, PanelChannels);
                break;
            default:
                RunPanel(item / PanelParts, item % PanelParts, worker);
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
        int first = block * _blockTiles, all = Math.Min(_blockTiles, AllTiles - first);
        float* tiles = Tiles + worker * _blockTiles * TileRow, products = Products + worker * WorkerProducts;
        TransformInput(first, all, tiles, Channels);
        PanelLayout layout = Direct.Layout;
        TileArguments t = ProductOf(Channels);
        int productTiles = Points / 2 * Direct.Kernels->Tiles.Count(all, layout);
        for (int point = 0; point < Points; point++)
        {
            if (point == 0 && FetchesOutputs) t.Fetch = TileFetch.Over(productTiles, OutputOf(Input.Grid.Place(first)), 16L * all * Columns);
            if (point == Points / 2)
            {
                float* next = Input.NewPixels(first + all, Math.Min(_blockTiles, AllTiles - first - all), out long floats);
                t.Fetch = TileFetch.Over(productTiles, next, floats);
            }

            (int firstTile, int count) = TilesWith(point, first, all);
            float* left = tiles + firstTile * TileRow + (nint)point * Channels;
            float* product = products + firstTile * ProductRow + (nint)point * Columns;
            for (int panel = 0; panel < layout.Count; panel++)
            {
                int column = layout.FirstColumn(panel);
                t.A = left;
                t.B = Weights + point * WeightPoint + (nint)Channels * column;
                t.C = product + column;
                Multiply(&t, count, layout.Width(panel));
            }
        }

        TransformOutput(first, all, products, 0, Columns, block);
    }

    private readonly void RunPanel(int panel, int part, int worker)
    {
        int width = Direct.Layout.Width(panel), inSlab = part * PanelTiles, all = Math.Min(PanelTiles, _slabTiles - inSlab);
        float* weights = Weights + worker * Points * WeightPoint, products = Products + worker * WorkerProducts;
        float* tiles = Tiles + part * PartFloats;
        for (int channel = 0; channel < Channels; channel += PanelChannels)
        {
            int channels = Math.Min(PanelChannels, Channels - channel);
            for (int c = 0; c < channels; c += WeightChannels)
            {
                int next = channel + c + WeightChannels;
                if (next < Channels) Packing.Fetch(panel, next, Math.Min(WeightChannels, Channels - next));
                TransformWeights(panel, channel + c, Math.Min(WeightChannels, channels - c), weights + (nint)c * width);
            }

            TileArguments t = ProductOf(channels);
            t.Accumulate = channel > 0;
            for (int point = 0; point < Points; point++, tiles += TilePoint)
            {
                (int first, int count) = TilesWith(point, _firstTile + inSlab, all);
                t.A = tiles + first * TileRow;
                t.C = products + first * ProductRow + (nint)point * width;
                t.B = weights + point * WeightPoint;
                MultiplyAndFetch(&t, count, width, tiles + TilePoint);
            }
        }

        TransformOutput(_firstTile + inSlab, all, products, Direct.Layout.FirstColumn(panel), width, (_firstTile + inSlab) / PanelTiles);
    }

    private readonly TileArguments ProductOf(int channels) => new()
    {
        ARow = TileRow,
        AInner = 1,
        CRow = ProductRow,
        Inner = channels,
        Middle = 1,
        Outer = 1,
        Ahead = GatherConvolution.PanelAheadBytes,
    };

    /// <summary>Those of some tiles that have a point: the first of them, counted from firstTile, and how many.</summary>
    private readonly (int First, int Count) TilesWith(int point, int firstTile, int count)
    {
        (int first, int end) = Input.Grid.TilesWith(point);
        first = Math.Max(first - firstTile, 0);
        return (first, Math.Max(0, Math.Min(end - firstTile, count) - first));
    }

    /// <summary>The products of some tiles, in register tiles of nearly equal height.</summary>
    private readonly void Multiply(TileArguments* t, int tiles, int width)
    {
        if (tiles == 0) return;
        int tall = Direct.Kernels->Tiles.MaxRows(width), strips = Rounding.DivideUp32(tiles, tall), rows = tiles / strips, higher = tiles % strips;
        RunStrips(t, higher, rows + 1, width);
        RunStrips(t, strips - higher, rows, width);
    }

    private readonly void RunStrips(TileArguments* t, int strips, int rows, int width)
    {
        if (strips == 0) return;
        t->Tiles = strips;
        t->ATile = rows * t->ARow;
        t->CTile = rows * t->CRow;
        Direct.Kernels->Tiles.Run(rows, width, t);
        t->A += strips * t->ATile;
        t->C += strips * t->CTile;
        t->Fetch.Skip(strips);
    }

    /// <summary>The same one by one: meanwhile each fetches a part of the tiles of the next point, which come from a third level
    /// of cache or from memory, and the sums that the next one adds to.</summary>
    private readonly void MultiplyAndFetch(TileArguments* t, int tiles, int width, float* nextTiles)
    {
        int tall = Direct.Kernels->Tiles.MaxRows(width), strips = Rounding.DivideUp32(tiles, tall);
        byte* fetch = (byte*)nextTiles, end = fetch + TilePoint * sizeof(float);
        t->Tiles = 1;
        for (int i = 0, first = 0; i < strips; i++)
        {
            int next = tiles * (i + 1) / strips, rows = next - first;
            t->Ahead = fetch < end ? (nint)(fetch - (byte*)t->B) : GatherConvolution.PanelAheadBytes;
            t->NextC = t->Accumulate ? t->C + rows * t->CRow : null;
            Direct.Kernels->Tiles.Run(rows, width, t);
            fetch += t->Inner * width * sizeof(float);
            t->A += rows * t->ARow;
            t->C += rows * t->CRow;
            first = next;
        }
    }

    private readonly void TransformWeights(int item)
    {
        int panel = item / WeightGroups, first = item % WeightGroups * WeightChannels, width = Direct.Layout.Width(panel);
        float* destination = Weights + (nint)Channels * Direct.Layout.FirstColumn(panel) + (nint)first * width;
        int next = first + WeightChannels;
        if (next < Channels) Packing.Fetch(panel, next, Math.Min(WeightChannels, Channels - next));
        TransformWeights(panel, first, Math.Min(WeightChannels, Channels - first), destination);
    }

    /// <summary>Packs some channels of a panel, all taps, and transforms them while they are in L1.</summary>
    private readonly void TransformWeights(int panel, int first, int count, float* destination)
    {
        int width = Direct.Layout.Width(panel);
        float* taps = stackalloc float[9 * WeightChannels * width];
        for (int tap = 0; tap < 9; tap++) Packing.PackTap(panel, tap / 3, tap % 3, first, count, taps + tap * count * width);
        var t = new WinogradArguments
        {
            Source = taps,
            SourceStride = count * width,
            Destination = destination,
            DestinationStride = WeightPoint,
            // Channel and column are one run of memory.
            Channels = count * width,
        };
        Direct.Kernels->WinogradWeights(&t);
    }

    /// <summary>Some tiles, so many of the channels at a time.</summary>
    private readonly void TransformInput(int first, int count, float* destination, int groupChannels)
    {
        float** lines = stackalloc float*[WinogradMap.PatchSize];
        var t = new WinogradArguments { Lines = lines, DestinationStride = TilePoint, TileStride = TileRow };
        for (int i = 0, tiles; i < count; i += tiles)
        {
            TilePlace place = Input.Grid.Place(first + i);
            tiles = WinogradMap.TilesOf(place, count - i);
            t.Destination = destination + i * TileRow;
            for (int channel = 0; channel < Channels; channel += groupChannels, t.Destination += Points * TilePoint)
            {
                Input.Locate(place, tiles, channel, &t);
                t.Channels = Math.Min(groupChannels, Channels - channel);
                Direct.Kernels->WinogradInput.Run(place.Kind, &t);
            }
        }
    }

    private readonly void TransformOutput(int first, int count, float* products, int firstColumn, int columns, int chunk)
    {
        var t = new WinogradArguments
        {
            SourceStride = columns,
            TileStride = ProductRow,
            DestinationStride = Direct.OutputRowStride,
            PixelStride = Direct.OutputPixelStride,
            Accumulate = Direct.Accumulate,
            Channels = columns,
            StatisticsStride = Columns,
        };
        bool statistics = Direct.ChunkStatistics != null, maps = Direct.Epilogue.Maps;
        TilePlace place = Input.Grid.Place(first);
        for (int i = 0, tiles; i < count; i += tiles)
        {
            // The transform adds up the statistics itself once the chunk has its shift, from its first tile, unless they are
            // those of something that is still to be done to its outputs.
            bool sums = statistics && !maps && i > 0;
            tiles = statistics && !maps && i == 0 ? 1 : Math.Min(place.InRow, count - i);
            t.Source = products + i * ProductRow;
            t.Destination = OutputOf(place) + firstColumn;
            t.Rows = Math.Min(place.Kind.Rows, Direct.P - place.Row);
            t.Columns = Math.Min(tiles * place.Kind.Columns, Direct.Q - place.Column);
            t.Shift = sums ? Direct.ChunkStatistics + (nint)chunk * 3 * Columns + firstColumn : null;
            TileKind kind = place.Kind;
            place = Input.Grid.Place(Math.Min(first + i + tiles, AllTiles - 1));
            if (!FetchesOutputs) t.Next = OutputOf(place) + firstColumn;
            Direct.Kernels->WinogradOutput.Run(kind, &t);
            for (int a = 0; a < t.Rows && !sums; a++)
                Direct.FinishTile(t.Destination + a * t.DestinationStride, t.Columns, columns, firstColumn, chunk, firstOfChunk: i == 0 && a == 0);
        }
    }

    private readonly float* OutputOf(in TilePlace place) =>
        Direct.Output + place.Image * Direct.OutputImageStride + place.Row * Direct.OutputRowStride + place.Column * Direct.OutputPixelStride;
}
