using System.Text;
using FeedbackKernels.Interop;
using SkiaSharp;

namespace FeedbackKernels.Data;

/// <summary>An image as it is stored in a packed file.</summary>
/// <param name="Bytes">The encoded image.</param>
/// <param name="Header">Its format and size.</param>
/// <param name="Sums">Sums over its pixels.</param>
internal sealed record EncodedImage(byte[] Bytes, ImageHeader Header, PixelSums Sums);

/// <summary>Prepares images for a packed file: decodes, resizes and encodes. One for each thread.</summary>
/// <param name="preparation">How images are resized and encoded.</param>
/// <param name="seed">Seed of the choice of images that are raw.</param>
internal sealed class PackEncoder(ImagePreparation preparation, ulong seed) : IDisposable
{
    private const uint RawChoice = 2;
    private const int Channels = 3;

    private readonly ImageDecoder _decoder = new();

    /// <summary>Prepares an image.</summary>
    /// <param name="bytes">The image as the source has it.</param>
    /// <param name="number">Its number in the source, training images first.</param>
    /// <exception cref="InvalidDataException">It cannot be decoded, or only in part, or it cannot be stored.</exception>
    public EncodedImage Encode(byte[] bytes, long number)
    {
        ImageHeader header = ImageDecoder.ReadHeader(bytes);
        PackEncoding encoding = IsRaw(number) ? PackEncoding.Raw : preparation.Encode;
        if (encoding == PackEncoding.Keep) return Measure(bytes, header);
        (int rows, int columns) = preparation.Resize(header.Rows, header.Columns);
        byte[] pnm = Decode(bytes, header, RequireSize(header with { Format = ImageFormat.Pnm, Rows = rows, Columns = columns, IsGrey = false }));
        Span<byte> pixels = pnm.AsSpan(pnm.Length - rows * columns * Channels);
        if (encoding == PackEncoding.Jpeg)
        {
            byte[] jpeg = ToJpeg(pixels, rows, columns, preparation.Quality ?? ImagePreparation.UsualQuality);
            return Measure(jpeg, new ImageHeader(ImageFormat.Jpeg, rows, columns, IsGrey: false));
        }

        var sums = new PixelSums();
        sums.Add(pixels);
        return new EncodedImage(pnm, new ImageHeader(ImageFormat.Pnm, rows, columns, IsGrey: false), sums);
    }

    /// <summary>Frees the decoder.</summary>
    public void Dispose() => _decoder.Dispose();

    /// <summary>Whether an image is one of the share that is raw.</summary>
    private bool IsRaw(long number)
    {
        if (preparation.Encode == PackEncoding.Raw) return true;
        // The number is a key, not a counter, so that the choice does not depend on how many images there are.
        PhiloxBlock random = new RandomKey(seed, RandomPurpose.PackedFiles, RawChoice, (uint)number).Block(0);
        return random.X / 4294967296.0 < preparation.RawShare;
    }

    // All pixels are decoded even if the bytes are kept: the statistics need them, and damage is found now, not during training.
    private EncodedImage Measure(byte[] bytes, in ImageHeader header)
    {
        RequireSize(header);
        var sums = new PixelSums();
        RequireWhole(_decoder.DecodeRows(bytes, (_, row) => sums.Add(row)));
        return new EncodedImage(bytes, header, sums);
    }

    /// <summary>Decodes and resizes to a PNM image.</summary>
    private byte[] Decode(byte[] bytes, in ImageHeader header, in ImageHeader wanted)
    {
        byte[] head = Encoding.ASCII.GetBytes($"P6\n{wanted.Columns} {wanted.Rows}\n255\n");
        long length = head.Length + (long)wanted.Rows * wanted.Columns * Channels;
        if (length > Array.MaxLength) throw new InvalidDataException($"{wanted.Rows}x{wanted.Columns} pixels are {length} bytes, at most {Array.MaxLength} can be stored; resize the images");
        var pnm = new byte[length];
        head.CopyTo(pnm, 0);
        Memory<byte> pixels = pnm.AsMemory(head.Length);
        if ((wanted.Rows, wanted.Columns) == (header.Rows, header.Columns))
        {
            int bytesOfRow = wanted.Columns * Channels;
            RequireWhole(_decoder.DecodeRows(bytes, (number, row) => row.CopyTo(pixels.Span.Slice(number * bytesOfRow, bytesOfRow))));
        }
        else
        {
            var crop = new CropResize(
                new PixelBox(0, 0, header.Rows, header.Columns), wanted.Rows, wanted.Columns, new PixelBox(0, 0, wanted.Rows, wanted.Columns), Flip: false);
            RequireWhole(_decoder.Decode(bytes, crop, pixels.Span));
        }

        return pnm;
    }

    private static ImageHeader RequireSize(in ImageHeader header) => header is { Rows: <= PackedFormat.MostSide, Columns: <= PackedFormat.MostSide }
        ? header
        : throw new InvalidDataException($"{header.Rows}x{header.Columns} pixels, at most {PackedFormat.MostSide} a side can be stored; resize the images");

    private static void RequireWhole(string? damage)
    {
        if (damage is not null) throw new InvalidDataException(damage);
    }

    private static byte[] ToJpeg(ReadOnlySpan<byte> pixels, int rows, int columns, int quality)
    {
        var info = new SKImageInfo(columns, rows, SKColorType.Rgba8888, SKAlphaType.Opaque);
        using var bitmap = new SKBitmap(info);
        Span<byte> target = bitmap.GetPixelSpan();
        for (int row = 0; row < rows; row++)
        {
            Span<byte> line = target.Slice(row * bitmap.RowBytes, columns * 4);
            ReadOnlySpan<byte> source = pixels.Slice(row * columns * Channels, columns * Channels);
            for (int column = 0; column < columns; column++)
                (line[4 * column], line[4 * column + 1], line[4 * column + 2], line[4 * column + 3]) = (source[3 * column], source[3 * column + 1], source[3 * column + 2], 255);
        }

        using SKPixmap pixmap = bitmap.PeekPixels();
        using SKData data = pixmap.Encode(new SKJpegEncoderOptions(quality))
            ?? throw new InvalidDataException($"{rows}x{columns} pixels cannot be encoded as JPEG");
        return data.ToArray();
    }
}
