using FeedbackKernels.Interop;

namespace FeedbackKernels.Data;

/// <summary>Labelled images of one size in memory, one byte a channel, NHWC.</summary>
public sealed class ImageSet : IImageSource
{
    /// <summary>Checks that pixels and labels belong together.</summary>
    /// <param name="shape">Size of an image, all three at least 1.</param>
    /// <param name="classes">Number of classes.</param>
    /// <param name="pixels">[N][H][W][C], N at least 1.</param>
    /// <param name="labels">[N], each from 0 to <paramref name="classes"/> - 1.</param>
    /// <exception cref="ArgumentException">There are no images, the lengths do not fit, or a label is not a class.</exception>
    public ImageSet(MapShape shape, int classes, byte[] pixels, int[] labels)
    {
        ArgumentNullException.ThrowIfNull(pixels);
        ArgumentNullException.ThrowIfNull(labels);
        if (shape.H < 1 || shape.W < 1 || shape.C < 1) throw new ArgumentException($"images of {shape}, wanted at least 1x1x1", nameof(shape));
        if (labels.Length == 0) throw new ArgumentException("there are no images, wanted at least one", nameof(labels));
        if (pixels.LongLength != (long)labels.Length * shape.Length)
            throw new ArgumentException($"{pixels.LongLength} bytes for {labels.Length} images of {shape}, wanted {(long)labels.Length * shape.Length}", nameof(pixels));
        int wrong = Array.FindIndex(labels, label => label < 0 || label >= classes);
        if (wrong >= 0)
            throw new ArgumentException($"image {wrong} has label {labels[wrong]}, wanted 0 to {classes - 1}", nameof(labels));
        Shape = shape;
        Classes = classes;
        Pixels = pixels;
        Labels = labels;
        ClassNames = Data.ClassNames.Numbers(classes);
    }

    /// <summary>Size of an image.</summary>
    public MapShape Shape { get; }

    /// <inheritdoc/>
    public int Classes { get; }

    /// <summary>One name for each class; by default the numbers from 0.</summary>
    /// <exception cref="ArgumentException">There are more or fewer names than classes.</exception>
    public IReadOnlyList<string> ClassNames { get; init => field = Data.ClassNames.Checked(value, Classes); }

    /// <summary>All pixels, [N][H][W][C].</summary>
    public byte[] Pixels { get; }

    /// <summary>Class of each image.</summary>
    public int[] Labels { get; }

    /// <inheritdoc/>
    public int Count => Labels.Length;

    /// <inheritdoc/>
    public int Channels => Shape.C;

    MapShape? IImageSource.Shape => Shape;

    /// <summary>The pixels of one image.</summary>
    /// <param name="index">Number of the image, from 0.</param>
    public ReadOnlySpan<byte> Image(int index) => Pixels.AsSpan(checked(index * Shape.Length), Shape.Length);

    /// <inheritdoc/>
    public int Label(int index) => Labels[index];

    /// <inheritdoc/>
    public int Length(int index) => Shape.Length;

    /// <inheritdoc/>
    public void Read(ReadOnlySpan<int> indices, Span<byte> destination)
    {
        int length = Shape.Length;
        for (int i = 0; i < indices.Length; i++) Image(indices[i]).CopyTo(destination.Slice(i * length, length));
    }
}
