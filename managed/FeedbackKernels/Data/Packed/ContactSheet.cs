using SkiaSharp;

namespace FeedbackKernels.Data;

/// <summary>A picture of some images of a packed file, each above the name of its class.</summary>
public static class ContactSheet
{
    private const int TileSide = 128, LabelHeight = 18, Gap = 6, TilesInRow = 10, TrainRows = 6, TestRows = 2;
    private const float FontSize = 12;

    /// <summary>Draws images from all over both halves, the training images first, and writes a PNG file.</summary>
    /// <param name="file">The packed file.</param>
    /// <param name="path">The PNG file.</param>
    /// <returns>Nothing if the labels are drawn; the class names of each row of tiles, separated by commas, if the machine has no font for
    /// them.</returns>
    /// <exception cref="IOException">A file cannot be read or written.</exception>
    /// <exception cref="InvalidDataException">An image is damaged.</exception>
    public static IReadOnlyList<string> Write(PackedFile file, string path)
    {
        ArgumentNullException.ThrowIfNull(file);
        ArgumentException.ThrowIfNullOrEmpty(path);
        (PackedImages Half, int Index)[] shown = [.. Spread(file.Train, TrainRows * TilesInRow), .. Spread(file.Test, TestRows * TilesInRow)];
        int columns = Math.Min(TilesInRow, shown.Length), rows = (shown.Length + TilesInRow - 1) / TilesInRow;
        using var bitmap = new SKBitmap(new SKImageInfo(
            Gap + columns * (TileSide + Gap), Gap + rows * (TileSide + LabelHeight + Gap), SKColorType.Rgba8888, SKAlphaType.Opaque));
        using var canvas = new SKCanvas(bitmap);
        using var decoder = new ImageDecoder();
        using var font = new SKFont(SKTypeface.Default, FontSize);
        using var ink = new SKPaint { Color = SKColors.Black, IsAntialias = true };
        canvas.Clear(SKColors.White);
        bool hasLetters = font.ContainsGlyphs("aA0");
        for (int i = 0; i < shown.Length; i++)
        {
            (PackedImages half, int index) = shown[i];
            int left = Gap + i % TilesInRow * (TileSide + Gap), top = Gap + i / TilesInRow * (TileSide + LabelHeight + Gap);
            DrawImage(bitmap, decoder, half, index, left, top);
            if (hasLetters) DrawLabel(canvas, font, ink, NameOf((half, index)), left, top + TileSide);
        }

        canvas.Flush();
        using SKData png = bitmap.Encode(SKEncodedImageFormat.Png, 100);
        File.WriteAllBytes(path, png.ToArray());
        return hasLetters ? [] : [.. shown.Chunk(TilesInRow).Select(row => string.Join(", ", row.Select(NameOf)))];
    }

    /// <summary>Images of a half at even distances.</summary>
    private static IEnumerable<(PackedImages, int)> Spread(PackedImages half, int most)
    {
        int count = Math.Min(half.Count, most);
        return Enumerable.Range(0, count).Select(i => (half, (int)((long)i * half.Count / count)));
    }

    private static string NameOf((PackedImages Half, int Index) image) => image.Half.ClassNames[image.Half.Label(image.Index)];

    /// <summary>The image as large as fits into a tile, in its middle.</summary>
    private static void DrawImage(SKBitmap sheet, ImageDecoder decoder, PackedImages half, int index, int left, int top)
    {
        var encoded = new byte[half.Length(index)];
        half.Read([index], encoded);
        ImageHeader header = ImageDecoder.ReadHeader(encoded);
        int longest = Math.Max(header.Rows, header.Columns);
        int rows = Math.Max(1, (int)((long)header.Rows * TileSide / longest)), columns = Math.Max(1, (int)((long)header.Columns * TileSide / longest));
        var pixels = new byte[3 * rows * columns];
        decoder.Decode(encoded, new CropResize(new PixelBox(0, 0, header.Rows, header.Columns), rows, columns, new PixelBox(0, 0, rows, columns), Flip: false), pixels);
        (int firstRow, int firstColumn) = (top + (TileSide - rows) / 2, left + (TileSide - columns) / 2);
        Span<byte> target = sheet.GetPixelSpan();
        for (int row = 0; row < rows; row++)
        {
            for (int column = 0; column < columns; column++)
            {
                Span<byte> pixel = target.Slice((firstRow + row) * sheet.RowBytes + 4 * (firstColumn + column), 4);
                pixels.AsSpan(3 * (row * columns + column), 3).CopyTo(pixel);
                pixel[3] = byte.MaxValue;
            }
        }
    }

    /// <summary>The name, cut where it is too long for a tile.</summary>
    private static void DrawLabel(SKCanvas canvas, SKFont font, SKPaint ink, string name, int left, int top)
    {
        const string More = "...";
        string label = name;
        for (int length = name.Length - 1; font.MeasureText(label) > TileSide && length > 0; length--) label = name[..length] + More;
        canvas.DrawText(label, left + TileSide / 2f, top + LabelHeight - 5, SKTextAlign.Center, font, ink);
    }
}
