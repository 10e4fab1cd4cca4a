namespace FeedbackKernels.Interop;

/// <summary>
/// Computes the weight gradient of a 3x3 convolution of stride 1 as the adjoint of F(4x4, 3x3) in the weights: where the forward pass is
/// Aᵀ[(G w Gᵀ) ⊙ (Bᵀ x B)]A, the gradient is dW = Gᵀ[sum over tiles of (Bᵀ x B) ⊙ (A dy Aᵀ)]G, 36 products for a tile instead of 144. For
/// each of the 36 points, the sum over tiles is a product of (channels x tiles) by (tiles x columns).
/// </summary>
internal unsafe struct WinogradGradientConvolution : IParallelJob
{
    private const int Points = WinogradGradientPlan.Points, ChunkTiles = WinogradGradientPlan.ChunkTiles, ChannelParts = WinogradGradientPlan.ChannelParts;

    public CpuKernels* Kernels;
    public WinogradGradientPlan Plan;

    /// <summary>x in patches of 6x6 and dy in patches of 4x4, over one grid of tiles.</summary>
    public WinogradMap Input, Error;
    public float* Dw;

    /// <summary>Memory for transformed x [36][tile][channel], transformed dy [36][panel][tile][width] and sums [36][channel][column].</summary>
    public float* Tiles, Errors, Sums;

    private Phase _phase;
    private int _firstTile, _slabTiles;

    private enum Phase
    {
        Split,
        Transform,
        Multiply,
        Gradient,
    }

    private readonly int AllTiles => Plan.Grid.Tiles;

    private readonly int Items => _phase switch
    {
        Phase.Split => Plan.Splits,
        Phase.Transform => Rounding.DivideUp32(_slabTiles, ChunkTiles),
        Phase.Multiply => Points * ChannelParts,
        _ => Plan.Channels,
    };

    /// <summary>Computes the gradient.</summary>
    public void Run(WorkerPool pool)
    {
        if (Plan.Splits > 1) RunPhase(pool, Phase.Split);
        else
        {
            for (_firstTile = 0; _firstTile < AllTiles; _firstTile += Plan.SlabTiles)
            {
                _slabTiles = Math.Min(Plan.SlabTiles, AllTiles - _firstTile);
                RunPhase(pool, Phase.Transform);
                RunPhase(pool, Phase.Multiply);
            }
        }

        RunPhase(pool, Phase.Gradient);
    }

    public readonly void Run(int item, int worker)
    {
        switch (_phase)
        {
            case Phase.Split:
                SumSplit(item, worker);
                break;
            case Phase.Transform:
                TransformChunk(item);
                break;
            case Phase.Multiply:
                Multiply(item / ChannelParts, item % ChannelParts, ChannelParts, first: _firstTile == 0);
                break;
            default:
                TransformGradient(item);
                break;
        }
    }

    /// <summary>Sums the tiles of a split, slab by slab, in the thread's own part of the buffers.</summary>
    private readonly void SumSplit(int split, int worker)
    {
        int first = (int)((long)AllTiles * split / Plan.Splits), end = (int)((long)AllTiles * (split + 1) / Plan.Splits);
        WinogradGradientConvolution own = this;
        own.Tiles += worker * Points * Plan.InputPoint;
        own.Errors += worker * Points * Plan.ErrorPoint;
        own.Sums += split * Plan.SplitFloats;
        for (own._firstTile = first; own._firstTile < end; own._firstTile += Plan.SlabTiles)
        {
            own._slabTiles = Math.Min(Plan.SlabTiles, end - own._firstTile);
            for (int chunk = 0; chunk * ChunkTiles < own._slabTiles; chunk++) own.TransformChunk(chunk);
            for (int point = 0; point < Points; point++) own.Multiply(point, 0, 1, first: own._firstTile == first, own.FetchNextSlab(point));
        }
    }

    private void RunPhase(WorkerPool pool, Phase phase)
    {
        _phase = phase;
        pool.Run(Items, ref this);
    }

    private readonly void TransformChunk(int chunk)
    {
        float** lines = stackalloc float*[WinogradMap.PatchSize];
        var t = new WinogradArguments { Lines = lines };
        for (int i = chunk * ChunkTiles, end = Math.Min(i + ChunkTiles, _slabTiles), tiles; i < end; i += tiles)
        {
            TilePlace place = Input.Grid.Place(_firstTile + i);
            tiles = WinogradMap.TilesOf(place, end - i);
            TransformInput(place, tiles, i, &t);
            TransformError(place, tiles, i, &t);
        }
    }

    private readonly void TransformInput(in TilePlace place, int tiles, int inSlab, WinogradArguments* t)
    {
        Input.Locate(place, tiles, firstChannel: 0, t);
        t->Destination = Tiles + inSlab * Plan.InputTile;
        t->DestinationStride = Plan.InputPoint;
        t->TileStride = Plan.InputTile;
        t->Channels = Plan.Channels;
        Kernels->WinogradInput.Run(place.Kind, t);
    }

    private readonly void TransformError(in TilePlace place, int tiles, int inSlab, WinogradArguments* t)
    {
        t->DestinationStride = Plan.ErrorPoint;
        for (int panel = 0; panel < Plan.Layout.Count; panel++)
        {
            int width = Plan.Layout.Width(panel), column = Plan.Layout.FirstColumn(panel);
            Error.Locate(place, tiles, column, t);
            t->Destination = Errors + (nint)Plan.SlabTiles * column + (nint)inSlab * width;
            t->TileStride = t->Channels = width;
            Kernels->WinogradError.Run(place.Kind, t);
        }
    }

    /// <summary>Adds the products of a slab's tiles at one point to the sums, for one part of the channels.</summary>
    private readonly void Multiply(int point, int part, int parts, bool first, TileFetch fetch = default)
    {
        int firstChannel = Plan.Channels * part / parts, channels = Plan.Channels * (part + 1) / parts - firstChannel;
        (int firstTile, int endTile) = Input.Grid.TilesWith(point);
        firstTile = Math.Max(firstTile - _firstTile, 0);
        endTile = Math.Min(endTile - _firstTile, _slabTiles);
        if (endTile <= firstTile)
        {
            if (first) new Span<float>(Sums + point * Plan.SumPoint + (nint)firstChannel * Plan.Layout.Columns, channels * Plan.Layout.Columns).Clear();
            return;
        }

        var t = new TileArguments
        {
            ARow = 1,
            AInner = Plan.InputTile,
            CRow = Plan.Layout.Columns,
            Inner = endTile - firstTile,
            Middle = 1,
            Outer = 1,
            Tiles = 1,
            Ahead = GatherConvolution.PanelAheadBytes,
            Accumulate = !first,
            Fetch = fetch,
        };
        for (int panel = 0; panel < Plan.Layout.Count; panel++)
        {
            int width = Plan.Layout.Width(panel), column = Plan.Layout.FirstColumn(panel);
            t.B = Errors + point * Plan.ErrorPoint + (nint)Plan.SlabTiles * column + (nint)firstTile * width;
            int tall = Kernels->Tiles.MaxRows(width), strips = Rounding.DivideUp32(channels, tall);
            for (int strip = 0; strip < strips; strip++)
            {
                int channel = firstChannel + channels * strip / strips, rows = firstChannel + channels * (strip + 1) / strips - channel;
                t.A = Tiles + point * Plan.InputPoint + firstTile * Plan.InputTile + channel;
                t.C = Sums + point * Plan.SumPoint + (nint)channel * Plan.Layout.Columns + column;
                t.NextC = t.Accumulate && strip + 1 < strips ? t.C + (nint)rows * Plan.Layout.Columns : null;
                Kernels->Tiles.Run(rows, width, &t);
                t.Fetch.Skip(1);
            }
        }
    }

    /// <summary>What the products of a point prefetch of the next slab, which may be the first slab of the next split: x in the first half of
    /// the points, dy in the second half.</summary>
    private readonly TileFetch FetchNextSlab(int point)
    {
        const int half = Points / 2;
        int next = _firstTile + _slabTiles, tiles = Kernels->Tiles.Count(Plan.Channels, Plan.Layout);
        float* pixels = (point < half ? Input : Error).NewPixels(next, Math.Min(Plan.SlabTiles, AllTiles - next), out long floats);
        TileFetch fetch = TileFetch.Over(half * tiles, pixels, floats);
        fetch.Skip(point % half * tiles);
        return fetch;
    }

    private readonly void TransformGradient(int channel)
    {
        nint offset = (nint)channel * Plan.Layout.Columns;
        for (int split = 1; split < Plan.Splits; split++)
        {
            for (int point = 0; point < Points; point++)
            {
                float* total = Sums + point * Plan.SumPoint + offset;
                var sum = new MapArguments { X = total + split * Plan.SplitFloats, Y = total };
                Kernels->Add(&sum, Plan.Layout.Columns);
            }
        }

        var t = new WinogradArguments
        {
            Source = Sums + offset,
            SourceStride = Plan.SumPoint,
            Destination = Dw + offset,
            DestinationStride = (nint)Plan.Channels * Plan.Layout.Columns,
            Channels = Plan.Layout.Columns,
        };
        Kernels->WinogradGradient(&t);
    }
}
