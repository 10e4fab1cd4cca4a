using FeedbackKernels.Interop;

namespace FeedbackKernels.Data;

/// <summary>
/// Labelled images that are read by number. A source may hold its images in memory or read them from files on each request; users
/// must not assume either. All members can be called from several threads at once.
/// </summary>
public interface IImageSource
{
    /// <summary>Number of images.</summary>
    int Count { get; }

    /// <summary>Channels of every image.</summary>
    int Channels { get; }

    /// <summary>Size of every image; null if the sizes vary.</summary>
    MapShape? Shape { get; }

    /// <summary>One name for each class.</summary>
    IReadOnlyList<string> ClassNames { get; }

    /// <summary>Number of classes.</summary>
    int Classes => ClassNames.Count;

    /// <summary>Class of an image, from 0.</summary>
    /// <param name="index">Number of the image, from 0.</param>
    int Label(int index);

    /// <summary>Bytes that <see cref="Read"/> writes for an image: H*W*C, or the length of the encoded image if the sizes vary.</summary>
    /// <param name="index">Number of the image, from 0.</param>
    /// <exception cref="IOException">A file cannot be found.</exception>
    /// <exception cref="InvalidDataException">A file is damaged.</exception>
    int Length(int index);

    /// <summary>What an image is called in messages: the file that it is in, and where in the file.</summary>
    /// <param name="index">Number of the image, from 0.</param>
    string NameOf(int index) => $"image {index}";

    /// <summary>Whether the images of a class follow one another. A part of such a source must be taken from all over it.</summary>
    bool IsGrouped => false;

    /// <summary>Mean and standard deviation of the pixels, if the source knows them; null if they must be computed.</summary>
    PixelStatistics? Statistics => null;

    /// <summary>Says which images will be read next, in this order, so that the operating system can read ahead. May do nothing.</summary>
    /// <param name="indices">Numbers of the images.</param>
    void Prefetch(ReadOnlySpan<int> indices)
    {
    }

    /// <summary>Reads images, one after another without gaps: pixels [H][W][C], one byte a channel, or encoded images (JPEG, PNG,
    /// WebP, PNM; see <see cref="ImageDecoder"/>) if the sizes vary.</summary>
    /// <param name="indices">Numbers of the images, in any order.</param>
    /// <param name="destination">At least as many bytes as the lengths add up to.</param>
    /// <exception cref="IOException">A file cannot be read.</exception>
    /// <exception cref="InvalidDataException">A file is damaged; the message names the file, the image and the offset.</exception>
    void Read(ReadOnlySpan<int> indices, Span<byte> destination);
}

/// <summary>What can be done with every source.</summary>
public static class ImageSources
{
    /// <summary>Some images of a source: the first ones, or evenly spaced ones if the images of a class follow one another
    /// (<see cref="IImageSource.IsGrouped"/>); the source itself if it has no more.</summary>
    /// <param name="source">The source.</param>
    /// <param name="count">Number of images, at least 1.</param>
    /// <exception cref="ArgumentOutOfRangeException">The number is below 1.</exception>
    public static IImageSource Take(this IImageSource source, int count)
    {
        ArgumentNullException.ThrowIfNull(source);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(count);
        return count >= source.Count ? source : new FirstImages(source, count);
    }

    /// <summary>Size of every image.</summary>
    /// <param name="source">The images.</param>
    /// <exception cref="NotSupportedException">The sizes vary.</exception>
    public static MapShape RequireShape(this IImageSource source)
    {
        ArgumentNullException.ThrowIfNull(source);
        return source.Shape ?? throw new NotSupportedException("the images have several sizes; images of one size are needed");
    }

    /// <summary>Whether a model for images of a size and a number of classes can take the images. Images of several sizes are
    /// brought to the model's size; their channels must be the same.</summary>
    internal static bool Fits(this IImageSource source, MapShape input, int classes) =>
        (source.Shape ?? input) == input && source.Channels == input.C && source.Classes == classes;

    /// <summary>Size and number of classes, for messages.</summary>
    internal static string Describe(this IImageSource source) =>
        $"{(source.Shape is { } shape ? shape : $"several sizes with {source.Channels} channels")} in {source.Classes} classes";
}

/// <summary>Some images of another source: the first ones, or, if the images of a class follow one another, as many that are evenly
/// spaced.</summary>
internal sealed class FirstImages(IImageSource source, int count) : IImageSource
{
    public int Count => count;

    public int Channels => source.Channels;

    public MapShape? Shape => source.Shape;

    public IReadOnlyList<string> ClassNames => source.ClassNames;

    public bool IsGrouped => source.IsGrouped;

    public PixelStatistics? Statistics => source.Statistics;

    public int Label(int index) => source.Label(InSource(index));

    public int Length(int index) => source.Length(InSource(index));

    public string NameOf(int index) => source.NameOf(InSource(index));

    public void Read(ReadOnlySpan<int> indices, Span<byte> destination) => source.Read(InSource(indices), destination);

    public void Prefetch(ReadOnlySpan<int> indices) => source.Prefetch(InSource(indices));

    private int InSource(int index)
    {
        if ((uint)index >= (uint)count) throw new ArgumentOutOfRangeException(nameof(index), index, $"wanted 0 to {count - 1}");
        return source.IsGrouped ? (int)((long)index * source.Count / count) : index;
    }

    private int[] InSource(ReadOnlySpan<int> indices)
    {
        var numbers = new int[indices.Length];
        for (int i = 0; i < numbers.Length; i++) numbers[i] = InSource(indices[i]);
        return numbers;
    }
}
