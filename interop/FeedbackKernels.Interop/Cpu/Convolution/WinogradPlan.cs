namespace FeedbackKernels.Interop;

/// <summary>
/// How a forward or feedback convolution by F(4x4, 3x3) is cut. With many tiles and few weights, it goes by blocks: a thread takes a
/// block of tiles through all three steps, and the transformed weights stream past. With few tiles or many weights (7x7 and 14x14 maps),
/// it goes by panels: the tiles are transformed first; then a thread takes a panel of columns, transforms its weights a few channels at a
/// time into its own L2, and the tiles stream past. Transformed weights, four times as large as the weights, never go to memory.
/// </summary>
internal struct WinogradPlan
{
    public const int Points = WinogradMap.Points;

    /// <summary>Channels of the weights that are transformed at a time: nine taps of them by a panel stay in L1.</summary>
    public const int WeightChannels = 16;

    /// <summary>By panels: channels whose transformed weights (295 KB), and tiles whose products (as many), share a 1 MiB L2.</summary>
    public const int PanelChannels = 64, PanelTiles = 64;

    /// <summary>By panels: tiles that are transformed before their panels (19 MB at 512 channels), and tiles that are handed out at a time.</summary>
    public const int SlabTiles = 256, ChunkTiles = 8;

    // Added between points of the weights and between tiles.
    private const int LineFloats = Caches.LineFloats;

    // Transformed tiles and products of a block: most of L2, beside the panels that stream past.
    private static readonly long BlockBytes = Caches.Level2 * 5 / 8;

    // With fewer blocks, threads wait for each other. With more bytes, the transformed weights leave L2 and every block reads them from
    // further away.
    private const int FewestBlocks = 12;
    private const long ManyWeightBytes = 16 * 1024 * 1024;

    public ConvGeometry Geometry;
    public PanelLayout Layout;
    public TileGrid Grid;

    /// <summary>Whether it goes by panels.</summary>
    public bool ByPanel;

    /// <summary>Whether the outputs of a block, one run of memory, are prefetched during its products.</summary>
    public bool FetchesOutputs;

    public int BlockTiles, WeightGroups, ChannelGroups;

    /// <summary>Chunks of tiles, the unit in which statistics are summed, and tiles of a chunk.</summary>
    public int Chunks, TilesPerChunk;

    /// <summary>Floats from a transformed tile, and from a point of it, to the next. In a block all points of a tile lie together, so that
    /// the transforms read and write one run of memory. One more cache line between tiles: tiles a multiple of 4 KiB apart would share one
    /// set of L1.</summary>
    public nint TileRow, TilePoint;

    /// <summary>Floats of the transformed tiles of a part of a slab, of the products of a tile, of the weights of a point.</summary>
    public nint PartFloats, ProductRow, WeightPoint;

    public static WinogradPlan Of(in ConvGeometry geometry, in TileSet tiles)
    {
        PanelLayout layout = tiles.Panels(geometry.OutputChannels);
        int tall = tiles.MaxRows(layout.FullWidth), channels = geometry.InputChannels, columns = layout.Columns;
        long tileBytes = Points * (long)(channels + columns) * sizeof(float);
        var grid = new TileGrid(geometry.N, geometry.P, geometry.Q);
        int blockTiles = (int)Math.Max(1, BlockBytes / tileBytes / tall) * tall;
        bool byPanel = grid.Tiles < FewestBlocks * blockTiles || Points * (long)channels * columns * sizeof(float) > ManyWeightBytes;
        var plan = new WinogradPlan
        {
            Geometry = geometry,
            Layout = layout,
            Grid = grid,
            ByPanel = byPanel,
            FetchesOutputs = !byPanel && !grid.IsMixed,
            BlockTiles = blockTiles,
            WeightGroups = Rounding.DivideUp32(channels, WeightChannels),
            ChannelGroups = Rounding.DivideUp32(channels, PanelChannels),
            TilesPerChunk = byPanel ? PanelTiles : blockTiles,
            TileRow = byPanel ? PanelChannels : Points * (nint)channels + LineFloats,
            TilePoint = byPanel ? PanelTiles * PanelChannels + LineFloats : channels,
            ProductRow = Points * (nint)(byPanel ? layout.FullWidth : columns) + LineFloats,
            WeightPoint = (byPanel ? PanelChannels * (nint)layout.FullWidth : (nint)channels * columns) + LineFloats,
        };
        plan.PartFloats = plan.ChannelGroups * Points * plan.TilePoint;
        plan.Chunks = Rounding.DivideUp32(grid.Tiles, plan.TilesPerChunk);
        return plan;
    }

    public readonly nint WorkerProducts => TilesPerChunk * ProductRow;

    public readonly long WeightFloats(int threads) => Points * (long)WeightPoint * (ByPanel ? threads : 1);

    public readonly long TileFloats(int threads) => ByPanel
        ? Math.Min(SlabTiles / PanelTiles, Rounding.DivideUp32(Grid.Tiles, PanelTiles)) * (long)PartFloats
        : threads * BlockTiles * (long)TileRow;

    public readonly long ProductFloats(int threads) => threads * (long)WorkerProducts;
}
