namespace FeedbackKernels.Interop;

/// <summary>Products of sizes, checked for overflow.</summary>
internal static class ElementCount
{
    /// <summary>2^40 elements are 4 TiB of floats: beyond any machine, and far below where byte offsets would overflow.</summary>
    public const long Most = 1L << 40;

    /// <summary>Elements of a tensor.</summary>
    /// <param name="name">The product in letters, such as N*H*W*C.</param>
    /// <param name="sizes">Its factors.</param>
    /// <exception cref="ArgumentOutOfRangeException">One is not positive, or there are more than <see cref="Most"/>.</exception>
    public static long Of(string name, params ReadOnlySpan<int> sizes) => Of(name, Most, sizes);

    /// <summary>The same, in 32 bits.</summary>
    /// <exception cref="ArgumentOutOfRangeException">There are more than <see cref="int.MaxValue"/>.</exception>
    public static int Of32(string name, params ReadOnlySpan<int> sizes) => (int)Of(name, int.MaxValue, sizes);

    /// <summary>Elements of a matrix of rows by channels.</summary>
    /// <exception cref="ArgumentOutOfRangeException">One of the two is not positive, or there are more than <see cref="Most"/>
    /// elements.</exception>
    public static long OfRows(long rows, int channels)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(rows);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(channels);
        if (rows > Most / channels)
            throw new ArgumentOutOfRangeException(nameof(rows), rows, $"with {channels} channels more than {Most} elements");
        return rows * channels;
    }

    private static long Of(string name, long most, ReadOnlySpan<int> sizes)
    {
        long product = 1;
        foreach (int size in sizes)
        {
            if (size < 1) throw new ArgumentOutOfRangeException(name, string.Join("*", sizes.ToArray()), "wanted positive sizes");
            if (product > most / size)
                throw new ArgumentOutOfRangeException(name, string.Join("*", sizes.ToArray()), $"more than {most} elements");
            product *= size;
        }

        return product;
    }
}
