namespace FeedbackKernels.Interop;

/// <summary>Size of a tile: 4 rows or columns of outputs, with 6 interpolation points, or 3, with 5 of the same points.</summary>
internal readonly record struct TileKind(bool Low, bool Narrow)
{
    public const int Count = 4;

    public int Rows => Low ? 3 : 4;

    public int Columns => Narrow ? 3 : 4;

    public int Index => (Low ? 2 : 0) + (Narrow ? 1 : 0);
}

/// <summary>The image of a tile, its first output row and column, its kind, and the number of tiles of that kind from it to the end of
/// their row.</summary>
internal readonly record struct TilePlace(int Image, int Row, int Column, TileKind Kind, int InRow);

/// <summary>
/// The division of maps of P by Q outputs into Winograd tiles. F(4, 3) has 6 products for 4 outputs, and F(3, 3) has 5 for 3. A length of
/// 14 needs 22 products as 4 + 4 + 3 + 3 and 24 as four times 4, so a map of 14x14 needs 484 instead of 576, and one of 7x7 121 instead
/// of 144. (F(2, 3), with 4 for 2, would not help from a length of 6 on.) F(3, 3) omits the point -2, so both kinds share one transform
/// of the weights. The tiles of a kind are contiguous over all images, and the kinds are ordered so that the tiles that have a point are
/// contiguous too.
/// </summary>
internal readonly struct TileGrid
{
    // The kinds in order, by rows x columns: 4x3, 4x4, 3x4, 3x3. The first two have the points (-2, any), the middle two (any, -2).
    private readonly int _high, _low, _wide, _narrow;

    // End of the tiles of the first, second and third kind.
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

    /// <summary>Divides a length of outputs into tiles of 4 and of 3 with the fewest products.</summary>
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

    /// <summary>The range of tiles that have a point of the transform.</summary>
    public (int First, int End) TilesWith(int point)
    {
        const int left = 4;
        bool noLow = point / WinogradMap.PatchSize == left, noNarrow = point % WinogradMap.PatchSize == left;
        return (noNarrow ? _end0 : 0, noLow ? _end1 : noNarrow ? _end2 : Tiles);
    }

    /// <summary>Position and kind of a tile.</summary>
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

/// <summary>A tensor of pixels that Winograd transforms read in square patches, one for each tile.</summary>
internal unsafe struct WinogradMap
{
    /// <summary>Rows and columns of inputs of a tile of F(4x4, 3x3).</summary>
    public const int PatchSize = 6;

    /// <summary>Products of a tile.</summary>
    public const int Points = PatchSize * PatchSize;

    /// <summary>Most tiles of a row whose patches are transformed together. Shared columns are transformed once, addresses are computed
    /// once, and the columns stay in L1.</summary>
    public const int StripTiles = 8;

    public float* Pixels;
    public int Rows, Columns, Channels;
    public nint RowStride, ImageStride;

    /// <summary>Rows and columns of a patch beyond the outputs of its tile, and the distance from the first patch to the map.</summary>
    public int Overlap, OriginRow, OriginColumn;

    public TileGrid Grid;

    /// <summary>A row of <see cref="ZeroFloats"/> zeros.</summary>
    public float* Zeros;

    /// <summary>Floats of the row of zeros that patches read outside the map.</summary>
    public static long ZeroFloats(int channels) => (4 * StripTiles + 2) * (long)channels;

    /// <summary>A map of contiguous images, in patches for the tiles of an output.</summary>
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

    /// <summary>The pixels of some patches that the patches before do not contain, and their floats. If all tiles are of one kind, they
    /// are one run of memory. Otherwise, and after the last tile, the result is null.</summary>
    public readonly float* NewPixels(int tile, int tiles, out long floats)
    {
        floats = Grid.IsMixed || tile >= Grid.Tiles ? 0 : 16L * tiles * Channels;
        if (floats == 0) return null;
        TilePlace place = Grid.Place(tile);
        return Pixels + place.Image * ImageStride + (place.Row - OriginRow + Overlap) * RowStride + (nint)place.Column * Channels;
    }

    /// <summary>Tiles of a strip that starts with a tile, at most <paramref name="most"/>.</summary>
    public static int TilesOf(in TilePlace first, int most) => Math.Min(Math.Min(first.InRow, StripTiles), most);

    /// <summary>Sets the addresses of the patches of a strip of tiles, from a channel on.</summary>
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
