using System.Runtime.Intrinsics.X86;

namespace FeedbackKernels.Interop;

/// <summary>Rows and columns of outputs of a tile: 4, with 6 points of interpolation, or 3, with 5 of the same.</summary>
internal readonly record struct TileKind(bool Low, bool Narrow)
{
    public const int Count = 4;

    public int Rows => Low ? 3 : 4;

    public int Columns => Narrow ? 3 : 4;

    public int Index => (Low ? 2 : 0) + (Narrow ? 1 : 0);
}

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

    /// <summary>Image of a tile, the first of its output rows and columns, and its kind.</summary>
    public (int Image, int Row, int Column, TileKind Kind) Place(int tile)
    {
        bool low = tile >= _end1, narrow = tile < _end0 || tile >= _end2;
        int first = low ? (narrow ? _end2 : _end1) : narrow ? 0 : _end0;
        int across = narrow ? _narrow : _wide, down = low ? _low : _high;
        (int line, int column) = Math.DivRem(tile - first, across);
        (int image, int row) = Math.DivRem(line, down);
        return (image, low ? 4 * _high + 3 * row : 4 * row, narrow ? 4 * _wide + 3 * column : 4 * column, new TileKind(low, narrow));
    }
}

/// <summary>A tensor of pixels that Winograd's transforms read in square patches, one a tile.</summary>
internal unsafe struct WinogradMap
{
    /// <summary>Rows and columns of inputs of a tile of F(4x4, 3x3).</summary>
    public const int PatchSize = 6;

    /// <summary>Products of a tile.</summary>
    public const int Points = PatchSize * PatchSize;

    // A row of fewer channels is a stream that the machine's own prefetching follows.
    private const int FewChannels = 64;

    public float* Pixels;
    public int Rows, Columns, Channels;
    public nint RowStride, ImageStride;

    /// <summary>How many more rows and columns a patch has than its tile has outputs, and how far the first patch begins before the map.</summary>
    public int Overlap, OriginRow, OriginColumn;

    public TileGrid Grid;

    /// <summary>A pixel outside.</summary>
    public float* Zeros;

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

    /// <summary>Addresses of the pixels of a tile's patch, row by row, <see cref="PatchSize"/> a row.</summary>
    public readonly TileKind Locate(int tile, float** pixels)
    {
        (int n, int row, int column, TileKind kind) = Grid.Place(tile);
        row -= OriginRow;
        column -= OriginColumn;
        int patchRows = kind.Rows + Overlap, patchColumns = kind.Columns + Overlap;
        int firstRow = Math.Max(0, -row), endRow = Math.Min(patchRows, Rows - row);
        int firstColumn = Math.Max(0, -column), endColumn = Math.Min(patchColumns, Columns - column);
        if (endRow - firstRow < patchRows || endColumn - firstColumn < patchColumns)
        {
            for (int i = 0; i < Points; i++) pixels[i] = Zeros;
        }

        float* line = Pixels + n * ImageStride + (row + firstRow) * RowStride + (nint)(column + firstColumn) * Channels;
        nint pixel = Channels;
        for (int a = firstRow; a < endRow; a++, line += RowStride)
        {
            float* address = line;
            for (int b = firstColumn; b < endColumn; b++, address += pixel) pixels[a * PatchSize + b] = address;
        }

        return kind;
    }

    /// <summary>
    /// Asks for the pixels that a tile does not share with the one before. The transforms do little between one cache miss
    /// and the next, so waiting for memory would be most of their time.
    /// </summary>
    public readonly void FetchAhead(int tile)
    {
        if (!Sse.IsSupported || Channels < FewChannels || tile >= Grid.Tiles) return;
        (int n, int row, int column, TileKind kind) = Grid.Place(tile);
        row -= OriginRow;
        column -= OriginColumn;
        int first = Math.Max(0, column + Overlap), end = Math.Min(Columns, column + kind.Columns + Overlap);
        float* image = Pixels + n * ImageStride;
        for (int h = Math.Max(0, row); h < Math.Min(Rows, row + kind.Rows + Overlap); h++)
        {
            float* line = image + h * RowStride + (nint)first * Channels, last = image + h * RowStride + (nint)end * Channels;
            for (; line < last; line += Caches.LineFloats) Sse.Prefetch0(line);
        }
    }
}
