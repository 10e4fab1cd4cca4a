using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using SkiaSharp;

namespace FeedbackKernels.Tests.Data;

/// <summary>Small images of several sizes in a folder for each class: JPEG, and some PNG, WebP and raw. A class has its own colour.</summary>
internal static class SmallPhotos
{
    public const int Classes = 4;

    private static readonly string[] Extensions = ["jpg", "JPEG", "jpeg", "png", "webp", "ppm"];

    /// <summary>Writes DIR/train/CLASS/* and DIR/val/CLASS/*.</summary>
    public static void Write(string folder, int train = 64, int test = 32, bool onlyJpeg = false)
    {
        foreach ((string half, int count, uint stream) in ((string, int, uint)[])[("train", train, 1), ("val", test, 2)])
        {
            for (int i = 0; i < count; i++)
            {
                string directory = Path.Combine(folder, half, $"class{i % Classes}");
                Directory.CreateDirectory(directory);
                string extension = onlyJpeg ? "jpg" : Extensions[i / Classes % Extensions.Length];
                File.WriteAllBytes(Path.Combine(directory, $"{i:D4}.{extension}"), Encode(i, stream, extension));
            }
        }
    }

    /// <summary>The encoded images, for sources in memory.</summary>
    public static EncodedImages InMemory(int count, uint stream = 1, string extension = "jpg") =>
        new([.. Enumerable.Range(0, count).Select(i => (Encode(i, stream, extension), i % Classes))]);

    private static byte[] Encode(int number, uint stream, string extension)
    {
        var random = new RandomSequence(new RandomKey(7, RandomPurpose.User, stream, (uint)number));
        int rows = 24 + random.NextInt(40), columns = 24 + random.NextInt(40);
        var pixels = new byte[rows * columns * 3];
        for (int i = 0; i < pixels.Length; i++)
        {
            int channel = i % 3, row = i / 3 / columns, column = i / 3 % columns;
            int own = channel == number % Classes % 3 ? 120 + 40 * (number % Classes / 3) : 40;
            pixels[i] = (byte)Math.Clamp(own + 2 * (row + 3 * column) % 60 + random.NextInt(40), 0, 255);
        }

        if (extension == "ppm") return [.. System.Text.Encoding.ASCII.GetBytes($"P6\n{columns} {rows}\n255\n"), .. pixels];
        using var bitmap = new SKBitmap(new SKImageInfo(columns, rows, SKColorType.Rgba8888, SKAlphaType.Opaque));
        for (int row = 0; row < rows; row++)
        {
            for (int column = 0; column < columns; column++)
            {
                int at = (row * columns + column) * 3;
                bitmap.SetPixel(column, row, new SKColor(pixels[at], pixels[at + 1], pixels[at + 2]));
            }
        }

        SKEncodedImageFormat format = extension switch { "png" => SKEncodedImageFormat.Png, "webp" => SKEncodedImageFormat.Webp, _ => SKEncodedImageFormat.Jpeg };
        using SKData data = bitmap.Encode(format, 90);
        return data.ToArray();
    }
}

/// <summary>Encoded images in memory.</summary>
internal sealed class EncodedImages(IReadOnlyList<(byte[] Encoded, int Label)> images) : IImageSource
{
    public int Count => images.Count;

    public int Channels => 3;

    public MapShape? Shape => null;

    public IReadOnlyList<string> ClassNames { get; } = ClassNamesOf(SmallPhotos.Classes);

    public List<int> Prefetched { get; } = [];

    public int Label(int index) => images[index].Label;

    public int Length(int index) => images[index].Encoded.Length;

    public void Prefetch(ReadOnlySpan<int> indices)
    {
        lock (Prefetched) Prefetched.AddRange(indices);
    }

    public void Read(ReadOnlySpan<int> indices, Span<byte> destination)
    {
        foreach (int index in indices)
        {
            images[index].Encoded.CopyTo(destination);
            destination = destination[images[index].Encoded.Length..];
        }
    }

    private static IReadOnlyList<string> ClassNamesOf(int classes) => [.. Enumerable.Range(0, classes).Select(i => $"class{i}")];
}
