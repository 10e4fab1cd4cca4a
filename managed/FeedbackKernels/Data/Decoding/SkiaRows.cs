using System.Diagnostics;
using SkiaSharp;

namespace FeedbackKernels.Data;

/// <summary>
/// Gives out the rows of JPEG, PNG and WebP images with Skia's codecs. Colour profiles are ignored, and alpha is dropped without multiplying, as
/// Pillow's convert("RGB") does.
/// </summary>
internal sealed unsafe class SkiaRows
{
    /// <summary>Most pixels of an image that the codec holds in memory: progressive JPEG, interlaced PNG, and the region of other PNG and WebP images. A pixel
    /// takes 3 to 6 bytes in a progressive JPEG, and 4 in the others.</summary>
    public const long MostPixelsHeld = 1L << 26;

    private const int BatchBytes = 32 << 10;

    private readonly DecoderMemory _pixels = new();
    private readonly JpegCopy _jpeg = new();

    /// <summary>Time that the codecs took, in ticks of <see cref="Stopwatch"/>.</summary>
    public long Ticks { get; private set; }

    /// <summary>Gives out a region; rows that are missing are grey.</summary>
    /// <param name="encoded">The encoded image.</param>
    /// <param name="length">Its bytes.</param>
    /// <param name="image">What its header says.</param>
    /// <param name="region">What is wanted, in pixels at the reduced size.</param>
    /// <param name="denominator">JPEG: the image is decoded at 1/denominator of its size.</param>
    /// <param name="sink">What takes the rows.</param>
    /// <returns>Null, or what is missing.</returns>
    /// <exception cref="InvalidDataException">The image cannot be decoded, or needs too much memory.</exception>
    public string? Read(byte* encoded, int length, in StoredImage image, in DecodedRegion region, int denominator, IRowSink sink)
    {
        long start = Stopwatch.GetTimestamp();
        CheckMemory(image, region);
        if (image.Format == ImageFormat.Jpeg)
        {
            encoded = _jpeg.Of(encoded, length);
            length += JpegCopy.EndBytes;
        }

        using SKData data = SKData.Create((nint)encoded, length);
        using SKCodec codec = SKCodec.Create(data) ?? throw new InvalidDataException($"{image.Format}: the header cannot be decoded");
        if (codec.Info.Width != image.Columns || codec.Info.Height != image.Rows)
            throw new InvalidDataException($"{image.Format}: the decoder sees {codec.Info.Height} x {codec.Info.Width} pixels, the header says {image.Rows} x {image.Columns}");
        Ticks += Stopwatch.GetTimestamp() - start;
        string? missing = image.Format == ImageFormat.Jpeg ? ReadLines(codec, image, region, denominator, sink) : ReadAtOnce(codec, image, region, sink);
        _pixels.Trim();
        _jpeg.Trim();
        return image.IsCutOff ? missing ?? $"{image.Format}: the end of the data is missing (cut off); missing pixels are grey" : missing;
    }

    private static void CheckMemory(in StoredImage image, in DecodedRegion region)
    {
        long held = image.IsHeldWhole ? (long)image.Rows * image.Columns : image.Format == ImageFormat.Jpeg ? 0 : (long)region.Rows * region.Columns;
        if (held <= MostPixelsHeld) return;
        string what = image.IsHeldWhole ? $"{(image.Format == ImageFormat.Jpeg ? "a progressive" : "an interlaced")} image of {image.Rows} x {image.Columns}"
            : $"a part of {region.Rows} x {region.Columns}";
        throw new InvalidDataException($"{image.Format}: {what} pixels must be held in memory while it is decoded; wanted at most {MostPixelsHeld} pixels");
    }

    private string? ReadLines(SKCodec codec, in StoredImage image, in DecodedRegion region, int denominator, IRowSink sink)
    {
        long start = Stopwatch.GetTimestamp();
        (int rows, int columns) = ((image.Rows + denominator - 1) / denominator, (image.Columns + denominator - 1) / denominator);
        PixelLayout layout = image.IsGrey ? PixelLayout.Grey : PixelLayout.Rgbx;
        var info = new SKImageInfo(columns, rows, image.IsGrey ? SKColorType.Gray8 : SKColorType.Rgba8888, SKAlphaType.Opaque);

        // Whole blocks, so that the codec need not copy; and one more pixel of the colour channels at each side, which their interpolation looks at.
        int margin = image.IsGrey ? 0 : 2, block = Math.Max(1, image.BlockColumns / denominator);
        int left = Math.Max(0, region.FirstColumn - margin) / block * block, right = Math.Min(columns, region.EndColumn + margin);
        Begin(codec.StartScanlineDecode(info, new SKCodecOptions(new SKRectI(left, 0, right, rows))), image.Format);
        int rowBytes = (right - left) * (int)layout, batch = Math.Clamp(BatchBytes / rowBytes, 1, region.Rows);
        int offset = (region.FirstColumn - left) * (int)layout;
        byte* pixels = _pixels.Get((long)batch * rowBytes + (long)region.Reach * (int)layout + Resampler.Slack);
        if (region.FirstRow > 0) codec.SkipScanlines(region.FirstRow);
        int decoded = region.FirstRow;
        while (decoded < region.EndRow)
        {
            int wanted = Math.Min(batch, region.EndRow - decoded), found = codec.GetScanlines((nint)pixels, wanted, rowBytes);
            Ticks += Stopwatch.GetTimestamp() - start;
            for (int i = 0; i < found; i++) sink.Add(pixels + i * rowBytes + offset, layout);
            decoded += Math.Max(0, found);
            start = Stopwatch.GetTimestamp();
            if (found < wanted) break;
        }

        Ticks += Stopwatch.GetTimestamp() - start;
        return AddMissing(pixels + offset, region.Columns, layout, decoded, region.EndRow, image, sink);
    }

    private string? ReadAtOnce(SKCodec codec, in StoredImage image, in DecodedRegion region, IRowSink sink)
    {
        long start = Stopwatch.GetTimestamp();

        // WebP takes parts that begin in even rows and columns, and interpolates colour channels as JPEG does.
        int margin = image.Format == ImageFormat.WebP ? 2 : 0;
        int left = Math.Max(0, region.FirstColumn - margin) & ~1, right = Math.Min(image.Columns, region.EndColumn + margin);
        int top = Math.Max(0, region.FirstRow - margin) & ~1, bottom = Math.Min(image.Rows, region.EndRow + margin);
        var info = new SKImageInfo(image.Columns, image.Rows, SKColorType.Rgba8888, SKAlphaType.Unpremul);
        var part = new SKRectI(left, top, right, bottom);
        int rowBytes = part.Width * (int)PixelLayout.Rgbx, decoded;
        byte* pixels = _pixels.Get((long)part.Height * rowBytes + (long)region.Reach * (int)PixelLayout.Rgbx + Resampler.Slack);
        if (image.Format == ImageFormat.Png) decoded = ReadPng(codec, info, part, pixels, rowBytes);
        else decoded = ReadWebP(codec, info, part, pixels, rowBytes);
        Ticks += Stopwatch.GetTimestamp() - start;
        byte* origin = pixels + (nint)(region.FirstRow - top) * rowBytes + (region.FirstColumn - left) * (int)PixelLayout.Rgbx;
        decoded = Math.Clamp(decoded + top, region.FirstRow, region.EndRow);
        for (int row = region.FirstRow; row < decoded; row++) sink.Add(origin + (nint)(row - region.FirstRow) * rowBytes, PixelLayout.Rgbx);
        return AddMissing(origin, region.Columns, PixelLayout.Rgbx, decoded, region.EndRow, image, sink);
    }

    private static int ReadPng(SKCodec codec, SKImageInfo info, SKRectI part, byte* pixels, int rowBytes)
    {
        Begin(codec.StartIncrementalDecode(info, (nint)pixels, rowBytes, new SKCodecOptions(part)), ImageFormat.Png);
        SKCodecResult result = codec.IncrementalDecode(out int rows);
        return result == SKCodecResult.Success ? part.Height : rows;
    }

    private static int ReadWebP(SKCodec codec, SKImageInfo info, SKRectI part, byte* pixels, int rowBytes)
    {
        SKCodecResult result = codec.GetPixels(info.WithSize(part.Width, part.Height), (nint)pixels, rowBytes, new SKCodecOptions(part));
        if (result == SKCodecResult.Success) return part.Height;
        if (result is not (SKCodecResult.IncompleteInput or SKCodecResult.ErrorInInput)) Begin(result, ImageFormat.WebP);

        // The codec makes the rows that it has not decoded transparent black.
        int rows = part.Height;
        while (rows > 0 && !new ReadOnlySpan<byte>(pixels + (nint)(rows - 1) * rowBytes, rowBytes).ContainsAnyExcept((byte)0)) rows--;
        return rows;
    }

    private static void Begin(SKCodecResult result, ImageFormat format)
    {
        if (result != SKCodecResult.Success) throw new InvalidDataException($"{format}: the image cannot be decoded ({result})");
    }

    private static string? AddMissing(byte* pixels, int columns, PixelLayout layout, int decoded, int end, in StoredImage image, IRowSink sink)
    {
        if (decoded == end) return null;
        new Span<byte>(pixels, columns * (int)layout).Fill(ImageDecoder.MissingPixel);
        for (int row = decoded; row < end; row++) sink.Add(pixels, layout);
        return ImageDecoder.MissingRows(image.Format.ToString(), decoded, image.Rows);
    }
}
