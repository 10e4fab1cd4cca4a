namespace FeedbackKernels.Data;

/// <summary>The range of some numbers.</summary>
/// <param name="Smallest">The smallest number.</param>
/// <param name="Median">The median.</param>
/// <param name="Largest">The largest number.</param>
public readonly record struct SmallestMedianLargest(int Smallest, int Median, int Largest)
{
    /// <summary>The range of at least one number. Sorts them.</summary>
    internal static SmallestMedianLargest Of(int[] numbers)
    {
        Array.Sort(numbers);
        return new SmallestMedianLargest(numbers[0], numbers[(numbers.Length - 1) / 2], numbers[^1]);
    }
}

/// <summary>What the index of a packed file says about the images of one half.</summary>
/// <param name="Formats">Number of images of each <see cref="ImageFormat"/>.</param>
/// <param name="Rows">Rows of the images.</param>
/// <param name="Columns">Columns of the images.</param>
/// <param name="Bytes">Bytes of the images.</param>
/// <param name="ImagesOfClass">Number of images of each class.</param>
public sealed record PackedSummary(
    IReadOnlyList<int> Formats, SmallestMedianLargest Rows, SmallestMedianLargest Columns, SmallestMedianLargest Bytes, SmallestMedianLargest ImagesOfClass)
{
    /// <summary>Reads the whole index of a half.</summary>
    /// <param name="half">Training or test images of a packed file.</param>
    /// <exception cref="InvalidDataException">The index is damaged.</exception>
    public static PackedSummary Of(PackedImages half)
    {
        ArgumentNullException.ThrowIfNull(half);
        var formats = new int[Enum.GetValues<ImageFormat>().Length];
        int[] rows = new int[half.Count], columns = new int[half.Count], bytes = new int[half.Count], classes = new int[half.ClassNames.Count];
        for (int i = 0; i < half.Count; i++)
        {
            (rows[i], columns[i]) = half.SizeOf(i);
            bytes[i] = half.Length(i);
            formats[(int)half.FormatOf(i)]++;
            classes[half.Label(i)]++;
        }

        return new PackedSummary(
            formats, SmallestMedianLargest.Of(rows), SmallestMedianLargest.Of(columns), SmallestMedianLargest.Of(bytes), SmallestMedianLargest.Of(classes));
    }
}
