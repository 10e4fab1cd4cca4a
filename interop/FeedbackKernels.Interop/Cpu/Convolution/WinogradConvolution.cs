namespace FeedbackKernels.Interop;

/// <summary>
/// Computes a 3x3 convolution of stride 1 by Winograd's F(4x4, 3x3): 36 products for a 4x4 tile of outputs instead of 144, and 25 for a
/// 3x3 tile at the end of a map that tiles of 4 do not divide. Tiles are transformed, each of the 36 points is a product of (tiles x
/// channels) by (channels x columns), and the products are transformed back. Errors are about 1e-5 of the largest output.
/// </summary>
internal unsafe struct WinogradConvolution : IParallelJob, IChunkedConvolution
{
    private const int Points = WinogradPlan.Points, PanelChannels = WinogradPlan.PanelChannels, PanelTiles = WinogradPlan.PanelTiles;
    private const int WeightChannels = WinogradPlan.WeightChannels, SlabTiles = WinogradPlan.SlabTiles, ChunkTiles = WinogradPlan.ChunkTiles;

    public WinogradPlan Plan;
    public ConvOutput Output;

    /// <summary>The weights.</summary>
    public WeightPacking Packing;

    /// <summary>The input, in patches.</summary>
    public WinogradMap Input;

    /// <summary>Memory for transformed weights: [36][panel][channel][width], or some channels of one panel for each worker.</summary>
    public float* Weights;

    /// <summary>Memory for transformed tiles: a block for each worker, [tile][36][channel], or a slab in the order in which panels read it,
    /// [part][channel group][36][tile][channel].</summary>
    public float* Tiles;

    /// <summary>Memory for products, [tile][36][column], for each worker: a block by all columns, or some tiles by a panel.</summary>
    public float* Products;

    private readonly CpuKernels* _kernels;
    private readonly PanelLayout _layout;
    private Phase _phase;
    private int _firstTile, _slabTiles;

    public WinogradConvolution(
        CpuKernels* kernels, in WinogradPlan plan, float* input, in ConvOutput output, in WeightPacking packing, float* zeros)
    {
        _kernels = kernels;
        _layout = plan.Layout;
        Plan = plan;
        Output = output;
        Packing = packing;
        ConvGeometry geometry = plan.Geometry;
        Input = WinogradMap.Of(input, geometry.InputRows, geometry.InputColumns, geometry.InputChannels, plan.Grid, zeros);
        Input.OriginRow = geometry.OriginRow;
        Input.OriginColumn = geometry.OriginColumn;
    }

    private enum Phase
    {
        Weights,
        Block,
        Input,
        Panel,
    }

    /// <inheritdoc/>
    public readonly int Chunks => Plan.Chunks;

    private readonly int AllTiles => Plan.Grid.Tiles;

    private readonly int Channels => Plan.Geometry.InputChannels;

    private readonly int Columns => _layout.Columns;

    private readonly int PanelParts => Rounding.DivideUp32(_slabTiles, PanelTiles);

    private readonly int Items => _phase switch
    {
        Phase.Weights => _layout.Count * Plan.WeightGroups,
        Phase.Block => Chunks,
        Phase.Input => Rounding.DivideUp32(_slabTiles, ChunkTiles),
        _ => _layout.Count * PanelParts,
    };

    /// <inheritdoc/>
    public readonly int ChunkPixels(int chunk)
    {
        int pixels = 0, end = Math.Min((chunk + 1) * Plan.TilesPerChunk, AllTiles);
        for (int tile = chunk * Plan.TilesPerChunk; tile < end; tile++)
        {
            TilePlace place = Input.Grid.Place(tile);
            pixels += Math.Min(place.Kind.Rows, Plan.Geometry.P - place.Row) * Math.Min(place.Kind.Columns, Plan.Geometry.Q - place.Column);
        }

        return pixels;
    }

    /// <inheritdoc/>
    public void Run(WorkerPool pool, float* chunkStatistics)
    {
        Output.ChunkStatistics = chunkStatistics;
        if (!Plan.ByPanel)
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
                    Tiles + first / PanelTiles * Plan.PartFloats + first % PanelTiles * Plan.TileRow, PanelChannels);
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
        int first = block * Plan.BlockTiles, all = Math.Min(Plan.BlockTiles, AllTiles - first);
        float* tiles = Tiles + worker * Plan.BlockTiles * Plan.TileRow, products = Products + worker * Plan.WorkerProducts;
        TransformInput(first, all, tiles, Channels);
        PanelLayout layout = _layout;
        TileArguments t = ProductOf(Channels);
        int productTiles = Points / 2 * _kernels->Tiles.Count(all, layout);
        for (int point = 0; point < Points; point++)
        {
            if (point == 0 && Plan.FetchesOutputs) t.Fetch = TileFetch.Over(productTiles, OutputOf(Input.Grid.Place(first)), 16L * all * Columns);
            if (point == Points / 2)
            {
                float* next = Input.NewPixels(first + all, Math.Min(Plan.BlockTiles, AllTiles - first - all), out long floats);
                t.Fetch = TileFetch.Over(productTiles, next, floats);
            }

            (int firstTile, int count) = TilesWith(point, first, all);
            float* left = tiles + firstTile * Plan.TileRow + (nint)point * Channels;
            float* product = products + firstTile * Plan.ProductRow + (nint)point * Columns;
            for (int panel = 0; panel < layout.Count; panel++)
            {
                int column = layout.FirstColumn(panel);
                t.A = left;
                t.B = Weights + point * Plan.WeightPoint + (nint)Channels * column;
                t.C = product + column;
                Multiply(&t, count, layout.Width(panel));
            }
        }

        TransformOutput(first, all, products, 0, Columns, block);
    }

    private readonly void RunPanel(int panel, int part, int worker)
    {
        int width = _layout.Width(panel), inSlab = part * PanelTiles, all = Math.Min(PanelTiles, _slabTiles - inSlab);
        float* weights = Weights + worker * Points * Plan.WeightPoint, products = Products + worker * Plan.WorkerProducts;
        float* tiles = Tiles + part * Plan.PartFloats;
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
            for (int point = 0; point < Points; point++, tiles += Plan.TilePoint)
            {
                (int first, int count) = TilesWith(point, _firstTile + inSlab, all);
                t.A = tiles + first * Plan.TileRow;
                t.C = products + first * Plan.ProductRow + (nint)point * width;
                t.B = weights + point * Plan.WeightPoint;
                MultiplyAndFetch(&t, count, width, tiles + Plan.TilePoint);
            }
        }

        TransformOutput(_firstTile + inSlab, all, products, _layout.FirstColumn(panel), width, (_firstTile + inSlab) / PanelTiles);
    }

    private readonly TileArguments ProductOf(int channels) => new()
    {
        ARow = Plan.TileRow,
        AInner = 1,
        CRow = Plan.ProductRow,
        Inner = channels,
        Middle = 1,
        Outer = 1,
        Ahead = GatherConvolution.PanelAheadBytes,
    };

    /// <summary>The tiles among [firstTile, firstTile + count) that have a point: the first of them, counted from firstTile, and how many.</summary>
    private readonly (int First, int Count) TilesWith(int point, int firstTile, int count)
    {
        (int first, int end) = Input.Grid.TilesWith(point);
        first = Math.Max(first - firstTile, 0);
        return (first, Math.Max(0, Math.Min(end - firstTile, count) - first));
    }

    /// <summary>Multiplies some tiles, in register tiles of nearly equal height.</summary>
    private readonly void Multiply(TileArguments* t, int tiles, int width)
    {
        if (tiles == 0) return;
        int tall = _kernels->Tiles.MaxRows(width), strips = Rounding.DivideUp32(tiles, tall), rows = tiles / strips, higher = tiles % strips;
        RunStrips(t, higher, rows + 1, width);
        RunStrips(t, strips - higher, rows, width);
    }

    private readonly void RunStrips(TileArguments* t, int strips, int rows, int width)
    {
        if (strips == 0) return;
        t->Tiles = strips;
        t->ATile = rows * t->ARow;
        t->CTile = rows * t->CRow;
        _kernels->Tiles.Run(rows, width, t);
        t->A += strips * t->ATile;
        t->C += strips * t->CTile;
        t->Fetch.Skip(strips);
    }

    /// <summary>The same one by one. Each register tile prefetches a part of the tiles of the next point, which come from L3 or from memory,
    /// and the sums that the next register tile adds to.</summary>
    private readonly void MultiplyAndFetch(TileArguments* t, int tiles, int width, float* nextTiles)
    {
        int tall = _kernels->Tiles.MaxRows(width), strips = Rounding.DivideUp32(tiles, tall);
        byte* fetch = (byte*)nextTiles, end = fetch + Plan.TilePoint * sizeof(float);
        t->Tiles = 1;
        for (int i = 0, first = 0; i < strips; i++)
        {
            int next = tiles * (i + 1) / strips, rows = next - first;
            t->Ahead = fetch < end ? (nint)(fetch - (byte*)t->B) : GatherConvolution.PanelAheadBytes;
            t->NextC = t->Accumulate ? t->C + rows * t->CRow : null;
            _kernels->Tiles.Run(rows, width, t);
            fetch += t->Inner * width * sizeof(float);
            t->A += rows * t->ARow;
            t->C += rows * t->CRow;
            first = next;
        }
    }

    private readonly void TransformWeights(int item)
    {
        int panel = item / Plan.WeightGroups, first = item % Plan.WeightGroups * WeightChannels, width = _layout.Width(panel);
        float* destination = Weights + (nint)Channels * _layout.FirstColumn(panel) + (nint)first * width;
        int next = first + WeightChannels;
        if (next < Channels) Packing.Fetch(panel, next, Math.Min(WeightChannels, Channels - next));
        TransformWeights(panel, first, Math.Min(WeightChannels, Channels - first), destination);
    }

    /// <summary>Packs all taps of some channels of a panel and transforms them while they are in L1.</summary>
    private readonly void TransformWeights(int panel, int first, int count, float* destination)
    {
        int width = _layout.Width(panel);
        float* taps = stackalloc float[9 * WeightChannels * width];
        for (int tap = 0; tap < 9; tap++) Packing.PackTap(panel, tap / 3, tap % 3, first, count, taps + tap * count * width);
        var t = new WinogradArguments
        {
            Source = taps,
            SourceStride = count * width,
            Destination = destination,
            DestinationStride = Plan.WeightPoint,
            // Channels and columns are one run of memory.
            Channels = count * width,
        };
        _kernels->WinogradWeights(&t);
    }

    /// <summary>Transforms the input of some tiles, <paramref name="groupChannels"/> channels at a time.</summary>
    private readonly void TransformInput(int first, int count, float* destination, int groupChannels)
    {
        float** lines = stackalloc float*[WinogradMap.PatchSize];
        var t = new WinogradArguments { Lines = lines, DestinationStride = Plan.TilePoint, TileStride = Plan.TileRow };
        for (int i = 0, tiles; i < count; i += tiles)
        {
            TilePlace place = Input.Grid.Place(first + i);
            tiles = WinogradMap.TilesOf(place, count - i);
            t.Destination = destination + i * Plan.TileRow;
            for (int channel = 0; channel < Channels; channel += groupChannels, t.Destination += Points * Plan.TilePoint)
            {
                Input.Locate(place, tiles, channel, &t);
                t.Channels = Math.Min(groupChannels, Channels - channel);
                _kernels->WinogradInput.Run(place.Kind, &t);
            }
        }
    }

    private readonly void TransformOutput(int first, int count, float* products, int firstColumn, int columns, int chunk)
    {
        var t = new WinogradArguments
        {
            SourceStride = columns,
            TileStride = Plan.ProductRow,
            DestinationStride = Output.RowStride,
            PixelStride = Output.PixelStride,
            Accumulate = Output.Accumulate,
            Channels = columns,
            StatisticsStride = Columns,
        };
        bool statistics = Output.ChunkStatistics != null, maps = Output.Epilogue.Maps;
        TilePlace place = Input.Grid.Place(first);
        for (int i = 0, tiles; i < count; i += tiles)
        {
            // The transform adds to the statistics itself once the first tile has given the chunk its shift, unless the epilogue still
            // changes the outputs.
            bool sums = statistics && !maps && i > 0;
            tiles = statistics && !maps && i == 0 ? 1 : Math.Min(place.InRow, count - i);
            t.Source = products + i * Plan.ProductRow;
            t.Destination = OutputOf(place) + firstColumn;
            t.Rows = Math.Min(place.Kind.Rows, Plan.Geometry.P - place.Row);
            t.Columns = Math.Min(tiles * place.Kind.Columns, Plan.Geometry.Q - place.Column);
            t.Shift = sums ? Output.ChunkStatistics + (nint)chunk * 3 * Columns + firstColumn : null;
            TileKind kind = place.Kind;
            place = Input.Grid.Place(Math.Min(first + i + tiles, AllTiles - 1));
            if (!Plan.FetchesOutputs) t.Next = OutputOf(place) + firstColumn;
            _kernels->WinogradOutput.Run(kind, &t);
            for (int a = 0; a < t.Rows && !sums; a++)
                Output.Finish(t.Destination + a * t.DestinationStride, t.Columns, columns, firstColumn, chunk, firstOfChunk: i == 0 && a == 0);
        }
    }

    private readonly float* OutputOf(in TilePlace place) => Output.At(place.Image, place.Row, place.Column);
}
