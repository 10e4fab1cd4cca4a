using System.Runtime.Intrinsics.X86;

namespace FeedbackKernels.Interop;

/// <summary>A tensor of pixels that Winograd's transforms read in square patches, one every four rows and columns.</summary>
internal unsafe struct WinogradMap
{
    /// <summary>Rows and columns of outputs of a tile of F(4x4, 3x3).</summary>
    public const int TileSize = 4;

    /// <summary>Rows and columns of inputs of a tile.</summary>
    public const int PatchSize = TileSize + 2;

    /// <summary>Products of a tile.</summary>
    public const int Points = PatchSize * PatchSize;

    private const int LineFloats = 16;

    // A row of fewer channels is a stream that the machine's own prefetching follows.
    private const int FewChannels = 64;

    public float* Pixels;
    public int Rows, Columns, Channels;
    public nint RowStride, ImageStride;

    /// <summary>Rows and columns of a patch, and how far the first one begins before the map.</summary>
    public int Patch, OriginRow, OriginColumn;

    /// <summary>Tiles of an image.</summary>
    public int TilesDown, TilesAcross;

    /// <summary>A pixel outside.</summary>
    public float* Zeros;

    /// <summary>A map of contiguous images, cut into tiles of an output of <paramref name="p"/> by <paramref name="q"/>.</summary>
    public static WinogradMap Of(float* pixels, int rows, int columns, int channels, int p, int q, float* zeros) => new()
    {
        Pixels = pixels,
        Rows = rows,
        Columns = columns,
        Channels = channels,
        RowStride = (nint)columns * channels,
        ImageStride = (nint)rows * columns * channels,
        Patch = PatchSize,
        TilesDown = (p + TileSize - 1) / TileSize,
        TilesAcross = (q + TileSize - 1) / TileSize,
        Zeros = zeros,
    };

    /// <summary>Image of a tile and the first of its output rows and columns.</summary>
    public readonly (int Image, int Row, int Column) Place(int tile)
    {
        int inImage = tile % (TilesDown * TilesAcross);
        return (tile / (TilesDown * TilesAcross), inImage / TilesAcross * TileSize, inImage % TilesAcross * TileSize);
    }

    /// <summary>Addresses of the pixels of a tile's patch, row by row.</summary>
    public readonly void Locate(int tile, float** pixels)
    {
        (int n, int row, int column) = Place(tile);
        row -= OriginRow;
        column -= OriginColumn;
        int firstRow = Math.Max(0, -row), endRow = Math.Min(Patch, Rows - row);
        int firstColumn = Math.Max(0, -column), endColumn = Math.Min(Patch, Columns - column);
        if (endRow - firstRow < Patch || endColumn - firstColumn < Patch)
        {
            for (int i = 0; i < Patch * Patch; i++) pixels[i] = Zeros;
        }

        float* line = Pixels + n * ImageStride + (row + firstRow) * RowStride + (nint)(column + firstColumn) * Channels;
        nint pixel = Channels;
        for (int a = firstRow; a < endRow; a++, line += RowStride)
        {
            float* address = line;
            for (int b = firstColumn; b < endColumn; b++, address += pixel) pixels[a * Patch + b] = address;
        }
    }

    /// <summary>
    /// Asks for the pixels that the next tile does not share with this one. The transforms do little between one cache miss
    /// and the next, so waiting for memory would be most of their time.
    /// </summary>
    public readonly void FetchAhead(int tile)
    {
        if (!Sse.IsSupported || Channels < FewChannels) return;
        (int n, int row, int column) = Place(tile + 1);
        int first = Math.Max(0, column + Patch - TileSize - OriginColumn), end = Math.Min(Columns, column + Patch - OriginColumn);
        float* image = Pixels + n * ImageStride;
        for (int h = Math.Max(0, row - OriginRow); h < Math.Min(Rows, row - OriginRow + Patch); h++)
        {
            float* line = image + h * RowStride + (nint)first * Channels, last = image + h * RowStride + (nint)end * Channels;
            for (; line < last; line += LineFloats) Sse.Prefetch0(line);
        }
    }
}
