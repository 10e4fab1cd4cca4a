namespace FeedbackKernels.Interop;

/// <summary>
/// How a weight gradient by Winograd is cut. Where the sums are small, the reduction over tiles is split (split-K): a thread transforms
/// the tiles of a split, slab by slab, and adds their products to the sums of that split, so that no data moves between threads. Where the
/// sums are large there is one split, and all threads work on each slab together, first on its transforms, then on its points. Splits and
/// slabs depend on the shape and the caches alone, and splits are added in order.
/// </summary>
internal readonly struct WinogradGradientPlan
{
    public const int Points = WinogradMap.Points;

    /// <summary>Tiles that an item transforms.</summary>
    public const int ChunkTiles = 8;

    /// <summary>Items of each point of a slab that all threads multiply: parts of the channels.</summary>
    public const int ChannelParts = 2;

    // Transformed x and dy of a slab: a quarter of an L3 for all threads. For one thread half of its L2 where the sums fit beside them, else
    // more, because short slabs read and write the sums more often.
    private const long SlabBytes = 8 * 1024 * 1024, OwnSlabBytes = 2 * 1024 * 1024;
    private const int FewestSlabTiles = 64;

    // Splits, and tiles of one. Every split writes its own sums, which are read once more. With more bytes of sums than this, all threads
    // work on one set.
    private const int FewestSplits = 4, MostSplits = 8, SplitTiles = 256;
    private const long MostSplitBytes = 1536 * 1024;

    // One more cache line between points and between tiles: streams a multiple of 4 KiB apart would share one set of L1.
    private const int LineFloats = Caches.LineFloats;

    public readonly PanelLayout Layout;
    public readonly TileGrid Grid;
    public readonly int Channels;

    /// <summary>Splits of the reduction.</summary>
    public readonly int Splits;

    /// <summary>Most tiles of a slab.</summary>
    public readonly int SlabTiles;

    /// <summary>Floats from a tile of transformed x to the next, and from a point to the next of transformed x, of transformed dy and of the
    /// sums; and floats of the sums of one split.</summary>
    public readonly nint InputTile, InputPoint, ErrorPoint, SumPoint, SplitFloats;

    public WinogradGradientPlan(in ConvShape shape, in TileSet tiles)
    {
        Layout = tiles.Panels(shape.K);
        Grid = new TileGrid(shape.N, shape.P, shape.Q);
        Channels = shape.C;
        SumPoint = (nint)Channels * Layout.Columns + LineFloats;
        SplitFloats = Points * SumPoint;
        long sumBytes = SplitFloats * sizeof(float), tileBytes = Points * (long)(Channels + Layout.Columns) * sizeof(float);
        Splits = Grid.Tiles < FewestSplits || sumBytes > MostSplitBytes ? 1 : Math.Clamp(Grid.Tiles / SplitTiles, FewestSplits, MostSplits);
        long slabBytes = Splits == 1 ? SlabBytes : sumBytes <= Caches.Level2 / 3 ? Caches.Level2 / 2 : OwnSlabBytes;
        SlabTiles = (int)Math.Min(Grid.Tiles, Math.Max(FewestSlabTiles, slabBytes / tileBytes / ChunkTiles * ChunkTiles));
        InputTile = Channels + LineFloats;
        InputPoint = SlabTiles * InputTile + LineFloats;
        ErrorPoint = (nint)SlabTiles * Layout.PaddedColumns + LineFloats;
    }

    public long TileFloats(int threads) => Points * (long)InputPoint * (Splits > 1 ? threads : 1);

    public long ErrorFloats(int threads) => Points * (long)ErrorPoint * (Splits > 1 ? threads : 1);

    public long SumFloats => Splits * (long)SplitFloats;
}
