namespace FeedbackKernels.Interop;

/// <summary>
/// The weight gradient of a 3x3 convolution of stride 1 as the adjoint of F(4x4, 3x3) in the weights: where the forward pass
/// is Aᵀ[(G w Gᵀ) ⊙ (Bᵀ x B)]A, the gradient is dW = Gᵀ[sum over tiles of (Bᵀ x B) ⊙ (A dy Aᵀ)]G: 36 products a tile instead
/// of 144. For each of the 36 points the sum over tiles is a product of (channels x tiles) by (tiles x columns).
/// Where the sums are small, the tiles are cut into shares: a thread transforms the tiles of a share, slab by slab, and adds
/// their products to sums of the share's own, so that nothing travels from thread to thread. Where they are large, all
/// threads work on one slab after another together, first on its transforms, then on its points. Shares and slabs are cut by
/// the shape alone, and added up in order.
/// </summary>
internal unsafe struct WinogradWeightGradient : IParallelJob
{
    private const int Points = WinogradMap.Points;

    // Transformed x and dy of a slab: in a quarter of a third level of cache; for a thread alone in half of its L2 where the sums
    // fit beside them, else in more, because short slabs read and write the sums more often.
    private const long SlabBytes = 8 * 1024 * 1024, OwnSlabBytes = 2 * 1024 * 1024;
    private const int FewestSlabTiles = 64;

    // Shares, and tiles of one: every share writes sums of its own, which are read once more. Above so many bytes of them the
    // threads work on one set.
    private const int FewestShares = 4, MostShares = 8, ShareTiles = 256;
    private const long ShareBytes = 1536 * 1024;

    // Tiles that an item transforms.
    private const int ChunkTiles = 8;

    // One more cache line from a point to the next, and from a tile to the next: streams a multiple of 4 KiB apart would
    // share one set of L1.
    private const int LineFloats = Caches.LineFloats;

    // Items that the points of a slab are cut into, for each point: parts of the channels.
    private const int ChannelParts = 2;

    public CpuKernels* Kernels;
    public PanelLayout Layout;

    /// <summary>x in patches of 6x6, dy in patches of 4x4, over one grid of tiles.</summary>
    public WinogradMap Input, Error;
    public float* Dw;

    /// <summary>Transformed x [36][tile][channel], transformed dy [36][panel][tile][width], sums [36][channel][column].</summary>
    public float* Tiles, Errors, Sums;

    private Phase _phase;
    private int _firstTile, _slabTiles;

    private enum Phase
    {
        Share,
        Transform,
        Multiply,
        Gradient,
    }

    private readonly int AllTiles => Input.Grid.Tiles;

    private readonly int Shares => AllTiles < FewestShares || SumBytes > ShareBytes ? 1 : Math.Clamp(AllTiles / ShareTiles, FewestShares, MostShares);

    private readonly long SumBytes => SumShare * sizeof(float);

    private readonly int MostTiles
    {
        get
        {
            long tileBytes = Points * (long)(Input.Channels + Layout.Columns) * sizeof(float);
            long slabBytes = Shares == 1 ? SlabBytes : SumBytes <= Caches.Level2 / 3 ? Caches.Level2 / 2 : OwnSlabBytes;
            return (int)Math.Min(AllTiles, Math.Max(FewestSlabTiles, slabBytes / tileBytes / ChunkTiles * ChunkTiles));
        }
    }

    private readonly nint InputTile => Input.Channels + LineFloats;

    private readonly nint InputPoint => MostTiles * InputTile + LineFloats;

    private readonly nint ErrorPoint => (nint)MostTiles * Layout.PaddedColumns + LineFloats;

    private readonly nint SumPoint => (nint)Input.Channels * Layout.Columns + LineFloats;

    private readonly nint SumShare => Points * SumPoint;

    public readonly long TileFloats(int threads) => Points * (long)InputPoint * (Shares > 1 ? threads : 1);

    public readonly long ErrorFloats(int threads) => Points * (long)ErrorPoint * (Shares > 1 ? threads : 1);

    public readonly long SumFloats => Shares * (long)SumShare;

    private readonly int Items => _phase switch
    {
        Phase.Share => Shares,
        Phase.Transform => Rounding.DivideUp32(_slabTiles, ChunkTiles),
        Phase.Multiply => Points * ChannelParts,
        _ => Input.Channels,
    };

    /// <summary>Carries it out.</summary>
    public void Run(WorkerPool pool)
    {
        if (Shares > 1) RunPhase(pool, Phase.Share);
        else
        {
            for (_firstTile = 0; _firstTile < AllTiles; _firstTile += MostTiles)
            {
                _slabTiles = Math.Min(MostTiles, AllTiles - _firstTile);
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
            case Phase.Share:
                SumShareOfImages(item, worker);
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

    /// <summary>All tiles of a share, slab by slab, in the thread's own part of the buffers.</summary>
    private readonly void SumShareOfImages(int share, int worker)
    {
        int first = (int)((long)AllTiles * share / Shares), end = (int)((long)AllTiles * (share + 1) / Shares);
        WinogradWeightGradient own = this;
        own.Tiles += worker * Points * InputPoint;
        own.Errors += worker * Points * ErrorPoint;
        own.Sums += share * SumShare;
        for (own._firstTile = first; own._firstTile < end; own._firstTile += MostTiles)
        {
            own._slabTiles = Math.Min(MostTiles, end - own._firstTile);
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
        t->Destination = Tiles + inSlab * InputTile;
        t->DestinationStride = InputPoint;
        t->TileStride = InputTile;
        t->Channels = Input.Channels;
        Kernels->WinogradInput.Run(place.Kind, t);
    }

    private readonly void TransformError(in TilePlace place, int tiles, int inSlab, WinogradArguments* t)
    {
        t->DestinationStride = ErrorPoint;
        for (int panel = 0; panel < Layout.Count; panel++)
        {
            int width = Layout.Width(panel), column = Layout.FirstColumn(panel);
            Error.Locate(place, tiles, column, t);
            t->Destination = Errors + (nint)MostTiles * column + (nint)inSlab * width;
            t->TileStride = t->Channels = width;
            Kernels->WinogradError.Run(place.Kind, t);
        }
    }

    /// <summary>Adds the products of a slab's tiles at one point to the sums, for one of some parts of the channels.</summary>
    private readonly void Multiply(int point, int part, int parts, bool first, TileFetch fetch = default)
    {
        int firstChannel = Input.Channels * part / parts, channels = Input.Channels * (part + 1) / parts - firstChannel;
        (int firstTile, int endTile) = Input.Grid.TilesWith(point);
        firstTile = Math.Max(firstTile - _firstTile, 0);
        endTile = Math.Min(endTile - _firstTile, _slabTiles);
        if (endTile <= firstTile)
        {
            if (first) new Span<float>(Sums + point * SumPoint + (nint)firstChannel * Layout.Columns, channels * Layout.Columns).Clear();
            return;
        }

        var t = new TileArguments
        {
            ARow = 1,
            AInner = InputTile,
            CRow = Layout.Columns,
            Inner = endTile - firstTile,
            Middle = 1,
            Outer = 1,
            Tiles = 1,
            Ahead = 1024,
            Accumulate = !first,
            Fetch = fetch,
        };
        for (int panel = 0; panel < Layout.Count; panel++)
        {
            int width = Layout.Width(panel), column = Layout.FirstColumn(panel);
            t.B = Errors + point * ErrorPoint + (nint)MostTiles * column + (nint)firstTile * width;
            int tall = Kernels->Tiles.MaxRows(width), strips = Rounding.DivideUp32(channels, tall);
            for (int strip = 0; strip < strips; strip++)
            {
                int channel = firstChannel + channels * strip / strips, rows = firstChannel + channels * (strip + 1) / strips - channel;
                t.A = Tiles + point * InputPoint + firstTile * InputTile + channel;
                t.C = Sums + point * SumPoint + (nint)channel * Layout.Columns + column;
                t.NextC = t.Accumulate && strip + 1 < strips ? t.C + (nint)rows * Layout.Columns : null;
                Kernels->Tiles.Run(rows, width, &t);
                t.Fetch.Skip(1);
            }
        }
    }

    /// <summary>What a point's products fetch of the next slab, be it that of the next share: of x in the first half of the points,
    /// of dy in the second.</summary>
    private readonly TileFetch FetchNextSlab(int point)
    {
        const int half = Points / 2;
        int next = _firstTile + _slabTiles, tiles = Kernels->Tiles.Count(Input.Channels, Layout);
        float* pixels = (point < half ? Input : Error).NewPixels(next, Math.Min(MostTiles, AllTiles - next), out long floats);
        TileFetch fetch = TileFetch.Over(half * tiles, pixels, floats);
        fetch.Skip(point % half * tiles);
        return fetch;
    }

    private readonly void TransformGradient(int channel)
    {
        nint offset = (nint)channel * Layout.Columns;
        for (int share = 1; share < Shares; share++)
        {
            for (int point = 0; point < Points; point++)
            {
                float* total = Sums + point * SumPoint + offset;
                var sum = new MapArguments { X = total + share * SumShare, Y = total };
                Kernels->Add(&sum, Layout.Columns);
            }
        }

        var t = new WinogradArguments
        {
            Source = Sums + offset,
            SourceStride = SumPoint,
            Destination = Dw + offset,
            DestinationStride = (nint)Input.Channels * Layout.Columns,
            Channels = Layout.Columns,
        };
        Kernels->WinogradGradient(&t);
    }
}
