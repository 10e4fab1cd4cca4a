using System.Text.Json;
using FeedbackKernels.Data;
using FeedbackKernels.Tests.KnownAnswers;
using PixelBox = FeedbackKernels.Data.PixelBox;

namespace FeedbackKernels.Tests.Data.Decoding;

/// <summary>The small images of KnownAnswers/images, and what Pillow makes of them.</summary>
internal static class KnownImages
{
    private const string Folder = "known/images/";

    public static JsonElement Answers { get; } = Known.Read("images");

    public static string[] Names { get; } =
        [.. typeof(KnownImages).Assembly.GetManifestResourceNames().Where(n => n.StartsWith(Folder, StringComparison.Ordinal)).Select(n => n[Folder.Length..]).Order()];

    public static byte[] Read(string name)
    {
        using Stream stream = typeof(KnownImages).Assembly.GetManifestResourceStream(Folder + name)!;
        var bytes = new byte[stream.Length];
        stream.ReadExactly(bytes);
        return bytes;
    }

    /// <summary>A box of an image resized as a whole, not flipped.</summary>
    public static CropResize Resize(PixelBox box, int rows, int columns) => new(box, rows, columns, new PixelBox(0, 0, rows, columns), Flip: false);

    public static PixelBox Whole(byte[] encoded)
    {
        ImageHeader header = ImageDecoder.ReadHeader(encoded);
        return new PixelBox(0, 0, header.Rows, header.Columns);
    }

    /// <summary>The pixels of a crop; nothing may be wrong with the image.</summary>
    public static byte[] Decode(ImageDecoder decoder, byte[] encoded, CropResize crop)
    {
        var pixels = new byte[3 * crop.Window.Rows * crop.Window.Columns];
        Assert.Null(decoder.Decode(encoded, crop, pixels));
        return pixels;
    }

    /// <summary>All upright pixels, as a PNM file.</summary>
    public static byte[] ToPnm(ImageDecoder decoder, byte[] encoded)
    {
        ImageHeader header = ImageDecoder.ReadHeader(encoded);
        var bytes = new List<byte>(Pnm(header.Rows, header.Columns, []));
        Assert.Null(decoder.DecodeRows(encoded, (row, pixels) => bytes.AddRange(pixels)));
        return [.. bytes];
    }

    public static byte[] Pnm(int rows, int columns, byte[] pixels, int maximum = 255, char kind = '6') =>
        [.. System.Text.Encoding.ASCII.GetBytes($"P{kind}\n{columns} {rows}\n{maximum}\n"), .. pixels];

    public static void AssertEqual(byte[] expected, byte[] found, string what, int tolerance = 0)
    {
        Assert.Equal(expected.Length, found.Length);
        for (int i = 0; i < expected.Length; i++)
        {
            if (Math.Abs(expected[i] - found[i]) > tolerance)
                Assert.Fail($"{what}: byte {i} of {expected.Length}: expected {expected[i]}, found {found[i]}, tolerance {tolerance}");
        }
    }
}
