namespace FeedbackKernels.Interop;

/// <summary>Rows and columns of outputs of a tile: 4, with 6 points of interpolation, or 3, with 5 of the same.</summary>
internal readonly record struct TileKind(bool Low, bool Narrow)
{
    public const int Count = 4;

    public int Rows => Low ? 3 : 4;

    public int Columns => Narrow ? 3 : 4;

    public int Index => (Low ? 2 : 0) + (Narrow ? 1 : 0);
}

/// <summary>The image of a tile, the first of its output rows and columns, its kind, and how many tiles of the kind there are from
/// it to the end of their row.</summary>
internal readonly record struct TilePlace(int Image, int Row, int Column, TileKind Kind, int InRow);

/// <summary>
/// How Winograd's tiles cut maps of P by Q outputs. F(4, 3) has 6 products for 4 outputs and F(3, 3) has 5 for 3: a length of
/// 14 as 4 + 4 + 3 + 3 takes 22 products, as four times 4 it takes 24, so a map of 14x14 takes 484 instead of 576, and one of
/// 7x7 121 instead of 144. (F(2, 3) with 4 for 2 would never take fewer from a length of 6 on.) F(3, 3) leaves out the point
/// -2, so both kinds share one transform of the weights.
/// Tiles of a kind, of all images, follow one another, and the kinds are ordered so that those which have a point do too.
/// </summary>
internal readonly struct TileGrid
{
    // The kinds in order, by rows x columns: 4x3, 4x4, 3x4, 3x3. The first two have the points (-2, any), the middle two (any, -2).
    private readonly int _high, _low, _wide, _narrow;

    // Where the tiles of the first kind end, of the second, of the third.
    private readonly int _end0, _end1, _end2;

    public TileGrid(int images, int p, int q)
    {
        (_high, _low) = Cut(p);
        (_wide, _narrow) = Cut(q);
        _end0 = images * _high * _narrow;
        _end1 = images * _high * (_narrow + _wide);
        _end2 = _end1 + images * _low * _wide;
        Tiles = images * (_high + _low) * (_wide + _narrow);
    }

    /// <summary>Tiles of all images.</summary>
    public int Tiles { get; }

    /// <summary>Whether there are tiles of 3 rows or columns.</summary>
    public bool IsMixed => _low + _narrow > 0;

    /// <summary>Outputs along one direction, as tiles of 4 and of 3 with the fewest products in all.</summary>
    private static (int Fours, int Threes) Cut(int length)
    {
        (int Fours, int Threes) best = ((length + 3) / 4, 0);
        for (int threes = 1; threes <= 3; threes++)
        {
            int fours = Math.Max(0, (length - 3 * threes + 3) / 4);
            if (6 * fours + 5 * threes < 6 * best.Fours + 5 * best.Threes) best = (fours, threes);
        }

        return best;
    }

    /// <summary>The tiles that have a point of the transform, [first, end).</summary>
    public (int First, int End) TilesWith(int point)
    {
        const int left = 4;
        bool noLow = point / WinogradMap.PatchSize == left, noNarrow = point % WinogradMap.PatchSize == left;
        return (noNarrow ? _end0 : 0, noLow ? _end1 : noNarrow ? _end2 : Tiles);
    }

    /// <summary>Where a tile is.</summary>
    public TilePlace Place(int tile)
    {
        bool low = tile >= _end1, narrow = tile < _end0 || tile >= _end2;
        int first = low ? (narrow ? _end2 : _end1) : narrow ? 0 : _end0;
        int across = narrow ? _narrow : _wide, down = low ? _low : _high;
        (int line, int column) = Math.DivRem(tile - first, across);
        (int image, int row) = Math.DivRem(line, down);
        return new TilePlace(
            image, low ? 4 * _high + 3 * row : 4 * row, narrow ? 4 * _wide + 3 * column : 4 * column, new TileKind(low, narrow), across - column);
    }
}

/// <summary>A tensor of pixels that Winograd's transforms read in square patches, one a tile.</summary>
internal unsafe struct WinogradMap
{
    /// <summary>Rows and columns of inputs of a tile of F(4x4, 3x3).</summary>
    public const int PatchSize = 6;

    /// <summary>Products of a tile.</summary>
    public const int Points = PatchSize * PatchSize;

    /// <summary>Most tiles of a row whose patches are transformed together: what patches share and where they lie is worked
    /// out once, and their columns stay in L1.</summary>
    public const int StripTiles = 8;

    public float* Pixels;
    public int Rows, Columns, Channels;
    public nint RowStride, ImageStride;

    /// <summary>How many more rows and columns a patch has than its tile has outputs, and how far the first patch begins before the map.</summary>
    public int Overlap, OriginRow, OriginColumn;

    public TileGrid Grid;

    /// <summary>A row of zeros, <see cref="ZeroFloats"/> of them.</summary>
    public float* Zeros;

    /// <summary>Floats of the row of zeros that patches of so many channels read outside the map.</summary>
    public static long ZeroFloats(int channels) => (4 * StripTiles + 2) * (long)channels;

    /// <summary>A map of contiguous images, cut into tiles of an output.</summary>
    public static WinogradMap Of(float* pixels, int rows, int columns, int channels, in TileGrid grid, float* zeros) => new()
    {
        Pixels = pixels,
        Rows = rows,
        Columns = columns,
        Channels = channels,
        RowStride = (nint)columns * channels,
        ImageStride = (nint)rows * columns * channels,
        Overlap = 2,
        Grid = grid,
        Zeros = zeros,
    };

    /// <summary>Pixels, and floats of them, that patches from one on do not share with those before. They are one run of memory
    /// where all tiles are of one kind; elsewhere, and behind the last tile, none are given.</summary>
    public readonly float* NewPixels(int tile, int tiles, out long floats)
    {
        floats = Grid.IsMixed || tile >= Grid.Tiles ? 0 : 16L * tiles * Channels;
        if (floats == 0) return null;
        TilePlace place = Grid.Place(tile);
        return Pixels + place.Image * ImageStride + (place.Row - OriginRow + Overlap) * RowStride + (nint)place.Column * Channels;
    }

    /// <summary>Tiles of a strip that begins with a tile, at most so many.</summary>
    public static int TilesOf(in TilePlace first, int most) => Math.Min(Math.Min(first.InRow, StripTiles), most);

    /// <summary>Fills in where the patches of a strip of tiles lie, and which of their channels are asked for.</summary>
    public readonly void Locate(in TilePlace first, int tiles, int firstChannel, WinogradArguments* t)
    {
        int row = first.Row - OriginRow, column = first.Column - OriginColumn;
        int firstColumn = Math.Max(0, -column), endColumn = Math.Min(tiles * first.Kind.Columns + Overlap, Columns - column);
        float* image = Pixels + first.Image * ImageStride + (nint)(column + firstColumn) * Channels + firstChannel;
        for (int i = 0; i < PatchSize; i++) t->Lines[i] = row + i >= 0 && row + i < Rows ? image + (row + i) * RowStride : Zeros;
        t->Tiles = tiles;
        t->FirstColumn = firstColumn;
        t->EndColumn = Math.Max(firstColumn, endColumn);
        t->PixelStride = Channels;
    }
}
