using System.Runtime.CompilerServices;

namespace FeedbackKernels.Data;

/// <summary>Mean and standard deviation of each channel, of pixels from 0 to 1.</summary>
/// <param name="Means">One for each channel.</param>
/// <param name="Deviations">One for each channel, above 0; 1 for a channel that is constant.</param>
public sealed record PixelStatistics(IReadOnlyList<double> Means, IReadOnlyList<double> Deviations)
{
    /// <summary>Encoded images that are decoded for an estimate.</summary>
    public const int SampleImages = 1000;

    private const int PartBytes = 1 << 20;

    // A comparison of rules asks for those of the same source many times.
    private static readonly ConditionalWeakTable<IImageSource, PixelStatistics> Computed = [];

    /// <summary>The statistics of a source: its own if it knows them; of all pixels if the images have one size; otherwise of all
    /// pixels of <see cref="SampleImages"/> images, evenly spaced over the source.</summary>
    /// <param name="source">The images.</param>
    /// <exception cref="IOException">A file cannot be read.</exception>
    /// <exception cref="InvalidDataException">An image cannot be decoded.</exception>
    public static PixelStatistics Of(IImageSource source)
    {
        ArgumentNullException.ThrowIfNull(source);
        return source.Statistics ?? Computed.GetValue(source, images => OfCounts(images.Shape is null ? CountEncoded(images) : CountPixels(images)));
    }

    /// <summary>The statistics of pixels of which it is known how often each byte occurs in each channel.</summary>
    /// <param name="counts">[C][256].</param>
    internal static PixelStatistics OfCounts(long[,] counts)
    {
        int channels = counts.GetLength(0);
        var means = new double[channels];
        var deviations = new double[channels];
        for (int c = 0; c < channels; c++)
        {
            double pixels = 0, sum = 0, squares = 0;
            for (int value = 0; value < 256; value++) pixels += counts[c, value];
            for (int value = 0; value < 256; value++) sum += counts[c, value] * (value / 255.0);
            means[c] = sum / pixels;
            for (int value = 0; value < 256; value++) squares += counts[c, value] * Math.Pow(value / 255.0 - means[c], 2);
            // The deviation of a constant channel is 0; it is not divided.
            deviations[c] = squares > 0 ? Math.Sqrt(squares / pixels) : 1;
        }

        return new PixelStatistics(means, deviations);
    }

    /// <summary>Counts the bytes of each channel. The images are read in parts.</summary>
    private static long[,] CountPixels(IImageSource images)
    {
        int channels = images.Channels, length = images.RequireShape().Length;
        int part = Math.Min(images.Count, Math.Max(1, PartBytes / length));
        var counts = new long[channels, 256];
        var indices = new int[part];
        var pixels = new byte[part * length];
        for (int first = 0; first < images.Count; first += part)
        {
            int count = Math.Min(part, images.Count - first);
            for (int i = 0; i < count; i++) indices[i] = first + i;
            images.Read(indices.AsSpan(0, count), pixels);
            Count(pixels.AsSpan(0, count * length), counts);
        }

        return counts;
    }

    private static long[,] CountEncoded(IImageSource images)
    {
        int channels = images.Channels, sample = Math.Min(images.Count, SampleImages);
        var counts = new long[channels, 256];
        // Sums of integers do not depend on the order of the threads.
        Parallel.For(
            0, sample, () => (Decoder: new ImageDecoder(), Counts: new long[channels, 256]),
            (i, _, own) =>
            {
                CountEncoded(images, (int)((long)i * images.Count / sample), own.Decoder, own.Counts);
                return own;
            },
            own =>
            {
                own.Decoder.Dispose();
                lock (counts)
                {
                    for (int i = 0; i < counts.Length; i++) counts[i / 256, i % 256] += own.Counts[i / 256, i % 256];
                }
            });
        return counts;
    }

    private static void CountEncoded(IImageSource images, int image, ImageDecoder decoder, long[,] counts)
    {
        var encoded = new byte[images.Length(image)];
        images.Read([image], encoded);
        try
        {
            decoder.DecodeRows(encoded, (_, row) => Count(row, counts));
        }
        catch (InvalidDataException e)
        {
            throw new InvalidDataException($"{images.NameOf(image)}: {e.Message}", e);
        }
    }

    private static void Count(ReadOnlySpan<byte> pixels, long[,] counts)
    {
        int channels = counts.GetLength(0);
        for (int i = 0; i < pixels.Length; i += channels)
        {
            for (int c = 0; c < channels; c++) counts[c, pixels[i + c]]++;
        }
    }
}
