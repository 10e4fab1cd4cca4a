using FeedbackKernels.Interop;

namespace FeedbackKernels.Training;

/// <summary>Images of a step as they come from their source, on the host.</summary>
public sealed class Batch
{
    internal Batch(int capacity, int imageLength)
    {
        if ((long)capacity * imageLength > Array.MaxLength)
        {
            throw new ArgumentOutOfRangeException(
                nameof(capacity), capacity, $"a batch of images of {imageLength} bytes holds at most {Array.MaxLength / imageLength}");
        }

        Pixels = new byte[capacity * imageLength];
        Numbers = new int[capacity];
        Labels = new int[capacity];
    }

    /// <summary>Place of the first image in the order of the epoch.</summary>
    internal int First { get; set; }

    /// <summary>Size of the images.</summary>
    public MapShape Shape { get; internal set; }

    /// <summary>Number of images.</summary>
    public int Count { get; internal set; }

    /// <summary>Pixels of the first <see cref="Count"/> images, NHWC, one byte a channel.</summary>
    public byte[] Pixels { get; }

    /// <summary>Number of each image in its source; the key of its random numbers.</summary>
    public int[] Numbers { get; }

    /// <summary>Class of each image.</summary>
    public int[] Labels { get; }

    /// <summary>How <see cref="Backend.AugmentImages"/> moves and flips the images.</summary>
    public ImageAugmentation Augmentation { get; internal set; }

    /// <summary>Replaces each image by its mirror image: columns in reverse order.</summary>
    internal void Mirror()
    {
        int row = Shape.W * Shape.C;
        for (int from = 0; from < Count * Shape.Length; from += row)
        {
            Span<byte> pixels = Pixels.AsSpan(from, row);
            // Reversed as a whole, and then the channels of each pixel back.
            pixels.Reverse();
            for (int pixel = 0; pixel < row; pixel += Shape.C) pixels.Slice(pixel, Shape.C).Reverse();
        }
    }
}
