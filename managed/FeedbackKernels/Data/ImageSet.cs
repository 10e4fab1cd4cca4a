using FeedbackKernels.Layers;

namespace FeedbackKernels.Data;

/// <summary>Labelled images in memory, one byte a channel, NHWC.</summary>
public sealed class ImageSet
{
    /// <summary>Checks that pixels and labels belong together.</summary>
    /// <exception cref="ArgumentException">The lengths do not fit, or a label is not a class.</exception>
    public ImageSet(MapShape shape, int classes, byte[] pixels, int[] labels)
    {
        ArgumentNullException.ThrowIfNull(pixels);
        ArgumentNullException.ThrowIfNull(labels);
        if (pixels.LongLength != (long)labels.Length * shape.Length)
            throw new ArgumentException($"{pixels.LongLength} bytes for {labels.Length} images of {shape}, wanted {(long)labels.Length * shape.Length}", nameof(pixels));
        int wrong = Array.FindIndex(labels, label => label < 0 || label >= classes);
        if (wrong >= 0)
            throw new ArgumentException($"image {wrong} has label {labels[wrong]}, wanted 0 to {classes - 1}", nameof(labels));
        Shape = shape;
        Classes = classes;
        Pixels = pixels;
        Labels = labels;
    }

    /// <summary>Size of an image.</summary>
    public MapShape Shape { get; }

    /// <summary>Number of classes.</summary>
    public int Classes { get; }

    /// <summary>All pixels, [N][H][W][C].</summary>
    public byte[] Pixels { get; }

    /// <summary>Class of each image.</summary>
    public int[] Labels { get; }

    /// <summary>Number of images.</summary>
    public int Count => Labels.Length;

    /// <summary>The pixels of one image.</summary>
    public ReadOnlySpan<byte> Image(int index) => Pixels.AsSpan(checked(index * Shape.Length), Shape.Length);

    /// <summary>The first so many images; all of them where there are no more.</summary>
    public ImageSet Take(int count) =>
        count >= Count ? this : new ImageSet(Shape, Classes, Pixels[..checked(count * Shape.Length)], Labels[..count]);
}
