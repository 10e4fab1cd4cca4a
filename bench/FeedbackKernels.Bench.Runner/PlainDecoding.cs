using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using SkiaSharp;
using PixelBox = FeedbackKernels.Data.PixelBox;

namespace FeedbackKernels.Bench;

/// <summary>Reads and decodes the crops of a source into a buffer and does nothing else with them: what a loader cannot be faster than. For one
/// thread.</summary>
internal sealed unsafe class PlainDecoding(IImageSource source, int size)
{
    private const int BatchRows = 16, PixelBytes = 4;

    private readonly RandomResizedCrop _crop = new(0.08, 1, 3.0 / 4, 4.0 / 3, size);
    private readonly int[] _image = new int[1];
    private byte[] _encoded = [], _pixels = [];

    /// <summary>Decodes the crop of an image.</summary>
    /// <param name="image">Number of the image.</param>
    /// <param name="key">Random numbers of the epoch.</param>
    /// <returns>Bytes of pixels, so that the work has a result.</returns>
    public long Decode(int image, RandomKey key)
    {
        int length = source.Length(image);
        if (_encoded.Length < length) _encoded = GC.AllocateUninitializedArray<byte>(2 * length, pinned: true);
        _image[0] = image;
        source.Read(_image, _encoded.AsSpan(0, length));
        StoredImage stored = StoredImage.Read(_encoded.AsSpan(0, length));
        var random = new RandomSequence(key with { Step = (uint)image });
        PixelBox box = _crop.Draw(stored.Upright.Rows, stored.Upright.Columns, ref random).Box;

        // Where a turned image has the box does not matter for the time.
        if (stored.Orientation.IsTransposed) box = new PixelBox(box.Column, box.Row, box.Columns, box.Rows);
        fixed (byte* encoded = _encoded) return stored.Format == ImageFormat.Pnm ? Copy(encoded, stored, box) : Decode(encoded, length, stored, box);
    }

    private long Copy(byte* encoded, in StoredImage stored, PixelBox box)
    {
        int pixel = stored.IsGrey ? 1 : 3, bytes = box.Columns * pixel;
        Reserve((long)box.Rows * bytes);
        for (int row = 0; row < box.Rows; row++)
        {
            byte* source = encoded + stored.PixelOffset + ((nint)(box.Row + row) * stored.Columns + box.Column) * pixel;
            new ReadOnlySpan<byte>(source, bytes).CopyTo(_pixels.AsSpan(row * bytes));
        }

        return (long)box.Rows * bytes;
    }

    private long Decode(byte* encoded, int length, in StoredImage stored, PixelBox box)
    {
        using SKData data = SKData.Create((nint)encoded, length);
        using SKCodec codec = SKCodec.Create(data);
        var info = new SKImageInfo(stored.Columns, stored.Rows, SKColorType.Rgba8888, SKAlphaType.Unpremul);
        if (stored.Format != ImageFormat.Jpeg)
        {
            Reserve((long)stored.Rows * stored.Columns * PixelBytes);
            fixed (byte* pixels = _pixels) codec.GetPixels(info, (nint)pixels);
            return info.BytesSize64;
        }

        int left = box.Column / stored.BlockColumns * stored.BlockColumns, rowBytes = (box.Column + box.Columns - left) * PixelBytes;
        Reserve(BatchRows * rowBytes);
        codec.StartScanlineDecode(info, new SKCodecOptions(new SKRectI(left, 0, box.Column + box.Columns, stored.Rows)));
        codec.SkipScanlines(box.Row);
        fixed (byte* pixels = _pixels)
        {
            for (int row = 0; row < box.Rows; row += BatchRows) codec.GetScanlines((nint)pixels, Math.Min(BatchRows, box.Rows - row), rowBytes);
        }

        return (long)box.Rows * rowBytes;
    }

    private void Reserve(long bytes)
    {
        if (_pixels.Length < bytes) _pixels = new byte[bytes];
    }
}
