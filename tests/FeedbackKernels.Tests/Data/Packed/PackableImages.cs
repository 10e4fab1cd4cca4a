using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using SkiaSharp;

namespace FeedbackKernels.Tests.Data.Packed;

/// <summary>Encoded images in memory.</summary>
/// <param name="classes">Number of classes.</param>
/// <param name="images">The images with their labels.</param>
internal sealed class PackableImages(int classes, params IReadOnlyList<(byte[] Bytes, int Label)> images) : IImageSource
{
    public int Count => images.Count;

    public int Channels => 3;

    public MapShape? Shape => null;

    public IReadOnlyList<string> ClassNames { get; } = [.. Enumerable.Range(0, classes).Select(k => $"class {k}")];

    public bool IsGrouped { get; init; }

    public int Label(int index) => images[index].Label;

    public int Length(int index) => images[index].Bytes.Length;

    public string NameOf(int index) => $"memory, image {index}";

    public byte[] Bytes(int index) => images[index].Bytes;

    public void Read(ReadOnlySpan<int> indices, Span<byte> destination)
    {
        foreach (int index in indices)
        {
            Bytes(index).CopyTo(destination);
            destination = destination[Bytes(index).Length..];
        }
    }

    /// <summary>Both halves of a set of small images: JPEG, PNG, WebP and raw ones in turn.</summary>
    public static DataSet SmallSet(int train = 23, int test = 9, int classes = 3) => Set(Mixed(train, classes, 0), Mixed(test, classes, 100));

    public static DataSet Set(PackableImages train, PackableImages test) => new("memory", train, test, Augmentation.CropFlip);

    /// <summary>A raw image.</summary>
    public static byte[] Pnm(int rows, int columns, params byte[] pixels) => [.. System.Text.Encoding.ASCII.GetBytes($"P6\n{columns} {rows}\n255\n"), .. pixels];

    /// <summary>A smooth image with some noise.</summary>
    public static byte[] Encoded(SKEncodedImageFormat format, int rows, int columns, int seed)
    {
        using var bitmap = new SKBitmap(new SKImageInfo(columns, rows, SKColorType.Rgba8888, SKAlphaType.Opaque));
        byte[] pixels = Pixels(rows, columns, seed);
        for (int i = 0; i < rows * columns; i++) bitmap.SetPixel(i % columns, i / columns, new SKColor(pixels[3 * i], pixels[3 * i + 1], pixels[3 * i + 2]));
        using SKData data = bitmap.Encode(format, 85);
        return data.ToArray();
    }

    public static byte[] Pixels(int rows, int columns, int seed)
    {
        var random = new Random(seed);
        var pixels = new byte[3 * rows * columns];
        for (int i = 0; i < pixels.Length; i++) pixels[i] = (byte)(i / 3 / columns * 255 / rows / 2 + i % 3 * 40 + random.Next(20));
        return pixels;
    }

    public static PackableImages Mixed(int count, int classes, int seed) => new(classes, [.. Enumerable.Range(0, count).Select(i =>
    {
        int rows = 5 + (i + seed) * 7 % 19, columns = 4 + (i + seed) * 5 % 23;
        byte[] bytes = (i % 4) switch
        {
            0 => Encoded(SKEncodedImageFormat.Jpeg, rows, columns, i + seed),
            1 => Encoded(SKEncodedImageFormat.Png, rows, columns, i + seed),
            2 => Encoded(SKEncodedImageFormat.Webp, rows, columns, i + seed),
            _ => Pnm(rows, columns, Pixels(rows, columns, i + seed)),
        };
        return (bytes, i % classes);
    })]);
}

/// <summary>Keeps what a pack tells.</summary>
internal sealed class PackLog : IPackObserver
{
    public List<string> Notes { get; } = [];

    public List<(PackStage Stage, long Done, long Total)> Steps { get; } = [];

    /// <summary>Called at each step.</summary>
    public Action<PackStage, long>? Step { get; init; }

    public void OnNote(string note) => Notes.Add(note);

    public void OnProgress(PackStage stage, long done, long total)
    {
        Steps.Add((stage, done, total));
        Step?.Invoke(stage, done);
    }
}
