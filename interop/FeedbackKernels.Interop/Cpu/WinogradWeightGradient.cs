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

    // Transformed x and dy of a slab: in a quarter of a third level of cache; for a thread alone in twice its L2, because
    // short slabs read and write the sums more often.
    private const long SlabBytes = 8 * 1024 * 1024, OwnSlabBytes = 2 * 1024 * 1024;
    private const int FewestSlabTiles = 64;

    // Most memory for the sums of all shares, and most shares.
    private const long SumBytes = 12 * 1024 * 1024;
    private const int MostShares = 8, FewestShares = 4;

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

    // One where there would be too few to keep threads busy.
    private readonly int Shares
    {
        get
        {
            long shares = Math.Min(MostShares, SumBytes / (Points * (long)SumPoint * sizeof(float)));
            return shares < FewestShares || AllTiles < FewestShares ? 1 : (int)Math.Min(shares, AllTiles);
        }
    }

    private readonly int MostTiles
    {
        get
        {
            long tileBytes = Points * (long)(Input.Channels + Layout.Columns) * sizeof(float);
            long slabBytes = Shares > 1 ? OwnSlabBytes : SlabBytes;
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
        Phase.Transform => (_slabTiles + ChunkTiles - 1) / ChunkTiles,
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
            for (int point = 0; point < Points; point++) own.Multiply(point, 0, 1, first: own._firstTile == first);
        }
    }

    private void RunPhase(WorkerPool pool, Phase phase)
    {
        _phase = phase;
        pool.Run(Items, ref this);
    }

    private readonly void TransformChunk(int chunk)
    {
        float** pixels = stackalloc float*[Points];
        for (int i = chunk * ChunkTiles; i < Math.Min((chunk + 1) * ChunkTiles, _slabTiles); i++)
        {
            int tile = _firstTile + i;
            TileKind kind = Input.Locate(tile, pixels);
            Input.FetchAhead(tile + 1);
            TransformInput(pixels, kind, Tiles + i * InputTile);
            Error.Locate(tile, pixels);
            Error.FetchAhead(tile + 1);
            TransformError(pixels, kind, i);
        }
    }

    private readonly void TransformInput(float** pixels, TileKind kind, float* destination)
    {
        var t = new WinogradArguments
        {
            Pixels = pixels,
            Destination = destination,
            DestinationStride = InputPoint,
            Channels = Input.Channels,
        };
        Kernels->WinogradInput.Run(kind, &t);
    }

    private readonly void TransformError(float** pixels, TileKind kind, int tile)
    {
        for (int panel = 0; panel < Layout.Count; panel++)
        {
            int width = Layout.Width(panel);
            var t = new WinogradArguments
            {
                Pixels = pixels,
                FirstChannel = Layout.FirstColumn(panel),
                Destination = Errors + (nint)MostTiles * Layout.FirstColumn(panel) + (nint)tile * width,
                DestinationStride = ErrorPoint,
                Channels = width,
            };
            Kernels->WinogradError.Run(kind, &t);
        }
    }

    /// <summary>Adds the products of a slab's tiles at one point to the sums, for one of some parts of the channels.</summary>
    private readonly void Multiply(int point, int part, int parts, bool first)
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
        };
        for (int panel = 0; panel < Layout.Count; panel++)
        {
            int width = Layout.Width(panel), column = Layout.FirstColumn(panel);
            t.B = Errors + point * ErrorPoint + (nint)MostTiles * column + (nint)firstTile * width;
            int tall = Kernels->Tiles.MaxRows(width), strips = (channels + tall - 1) / tall;
            for (int strip = 0; strip < strips; strip++)
            {
                int channel = firstChannel + channels * strip / strips, rows = firstChannel + channels * (strip + 1) / strips - channel;
                t.A = Tiles + point * InputPoint + firstTile * InputTile + channel;
                t.C = Sums + point * SumPoint + (nint)channel * Layout.Columns + column;
                t.NextC = t.Accumulate && strip + 1 < strips ? t.C + (nint)rows * Layout.Columns : null;
                Kernels->Tiles.Run(rows, width, &t);
            }
        }
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
