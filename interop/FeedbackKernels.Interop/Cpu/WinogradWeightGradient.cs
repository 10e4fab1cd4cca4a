namespace FeedbackKernels.Interop;

/// <summary>
/// The weight gradient of a 3x3 convolution of stride 1 as the adjoint of F(4x4, 3x3) in the weights: where the forward pass
/// is Aᵀ[(G w Gᵀ) ⊙ (Bᵀ x B)]A, the gradient is dW = Gᵀ[sum over tiles of (Bᵀ x B) ⊙ (A dy Aᵀ)]G: 36 products a tile instead
/// of 144. For each of the 36 points the sum over tiles is a product of (channels x tiles) by (tiles x columns). Tiles are
/// taken in slabs, all threads together: first their transforms, then the points, whose sums go on from slab to slab, so that
/// the order of every sum is that of the tiles.
/// </summary>
internal unsafe struct WinogradWeightGradient : IParallelJob
{
    private const int Points = WinogradMap.Points;

    // Transformed x and dy of a slab, in a quarter of a third level of cache.
    private const long SlabBytes = 8 * 1024 * 1024;
    private const int FewestSlabTiles = 64;

    // Tiles that an item transforms.
    private const int ChunkTiles = 8;

    // One more cache line from a point to the next, and from a tile to the next: streams a multiple of 4 KiB apart would
    // share one set of L1.
    private const int LineFloats = 16;

    // Items that the points of a slab are cut into, for each point: parts of the channels.
    private const int ChannelParts = 2;

    public CpuKernels* Kernels;
    public PanelLayout Layout;

    /// <summary>x in patches of 6x6, dy in patches of 4x4.</summary>
    public WinogradMap Input, Error;
    public int Images;
    public float* Dw;

    /// <summary>Transformed x [36][tile][channel], transformed dy [36][panel][tile][width], sums [36][channel][column].</summary>
    public float* Tiles, Errors, Sums;

    private Phase _phase;
    private int _firstTile, _slabTiles;

    private enum Phase
    {
        Transform,
        Multiply,
        Gradient,
    }

    private readonly int AllTiles => Images * Input.TilesDown * Input.TilesAcross;

    private readonly int MostTiles
    {
        get
        {
            long tileBytes = Points * (long)(Input.Channels + Layout.Columns) * sizeof(float);
            return (int)Math.Min(AllTiles, Math.Max(FewestSlabTiles, SlabBytes / tileBytes / ChunkTiles * ChunkTiles));
        }
    }

    private readonly nint InputTile => Input.Channels + LineFloats;

    private readonly nint InputPoint => MostTiles * InputTile + LineFloats;

    private readonly nint ErrorPoint => (nint)MostTiles * Layout.PaddedColumns + LineFloats;

    private readonly nint SumPoint => (nint)Input.Channels * Layout.Columns + LineFloats;

    public readonly long TileFloats => Points * (long)InputPoint;

    public readonly long ErrorFloats => Points * (long)ErrorPoint;

    public readonly long SumFloats => Points * (long)SumPoint;

    private readonly int Items => _phase switch
    {
        Phase.Transform => (_slabTiles + ChunkTiles - 1) / ChunkTiles,
        Phase.Multiply => Points * ChannelParts,
        _ => Input.Channels,
    };

    /// <summary>Carries it out.</summary>
    public void Run(WorkerPool pool)
    {
        for (_firstTile = 0; _firstTile < AllTiles; _firstTile += MostTiles)
        {
            _slabTiles = Math.Min(MostTiles, AllTiles - _firstTile);
            RunPhase(pool, Phase.Transform);
            RunPhase(pool, Phase.Multiply);
        }

        RunPhase(pool, Phase.Gradient);
    }

    public readonly void Run(int item, int worker)
    {
        switch (_phase)
        {
            case Phase.Transform:
                TransformChunk(item);
                break;
            case Phase.Multiply:
                Multiply(item / ChannelParts, item % ChannelParts);
                break;
            default:
                TransformGradient(item);
                break;
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
            bool more = tile + 1 < AllTiles;
            Input.Locate(tile, pixels);
            if (more) Input.FetchAhead(tile);
            TransformInput(pixels, Tiles + i * InputTile);
            Error.Locate(tile, pixels);
            if (more) Error.FetchAhead(tile);
            TransformError(pixels, i);
        }
    }

    private readonly void TransformInput(float** pixels, float* destination)
    {
        var t = new WinogradArguments
        {
            Pixels = pixels,
            Destination = destination,
            DestinationStride = InputPoint,
            Channels = Input.Channels,
        };
        Kernels->WinogradInput(&t);
    }

    private readonly void TransformError(float** pixels, int tile)
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
            Kernels->WinogradError(&t);
        }
    }

    private readonly void Multiply(int point, int part)
    {
        int firstChannel = Input.Channels * part / ChannelParts, channels = Input.Channels * (part + 1) / ChannelParts - firstChannel;
        int strips = (channels + Kernels->Tiles.MaxRows - 1) / Kernels->Tiles.MaxRows;
        var t = new TileArguments
        {
            ARow = 1,
            AInner = InputTile,
            CRow = Layout.Columns,
            Inner = _slabTiles,
            Middle = 1,
            Outer = 1,
            Tiles = 1,
            Ahead = 1024,
            Accumulate = _firstTile > 0,
        };
        for (int panel = 0; panel < Layout.Count; panel++)
        {
            int width = Layout.Width(panel), column = Layout.FirstColumn(panel);
            t.B = Errors + point * ErrorPoint + (nint)MostTiles * column;
            t.BInner = width;
            for (int strip = 0; strip < strips; strip++)
            {
                int first = firstChannel + channels * strip / strips, end = firstChannel + channels * (strip + 1) / strips;
                t.A = Tiles + point * InputPoint + first;
                t.C = Sums + point * SumPoint + (nint)first * Layout.Columns + column;
                t.NextC = t.Accumulate && strip + 1 < strips ? t.C + (nint)(end - first) * Layout.Columns : null;
                Kernels->Tiles.Run(end - first, width, &t);
            }
        }
    }

    private readonly void TransformGradient(int channel)
    {
        var t = new WinogradArguments
        {
            Source = Sums + (nint)channel * Layout.Columns,
            SourceStride = SumPoint,
            Destination = Dw + (nint)channel * Layout.Columns,
            DestinationStride = (nint)Input.Channels * Layout.Columns,
            Channels = Layout.Columns,
        };
        Kernels->WinogradGradient(&t);
    }
}
