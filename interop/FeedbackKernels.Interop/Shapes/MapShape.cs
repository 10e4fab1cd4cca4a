namespace FeedbackKernels.Interop;

/// <summary>Size of an image or feature map: rows, columns, channels.</summary>
/// <param name="H">Rows.</param>
/// <param name="W">Columns.</param>
/// <param name="C">Channels.</param>
public readonly record struct MapShape(int H, int W, int C)
{
    /// <summary>H*W*C.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The product exceeds <see cref="int.MaxValue"/>.</exception>
    public int Length
    {
        get
        {
            // H*W fits a long; its product with C may not, so it is compared before it is formed.
            long pixels = (long)H * W;
            if (C > 0 && pixels > int.MaxValue / C)
                throw new ArgumentOutOfRangeException("H*W*C", $"{H}*{W}*{C}", $"a map of {this} has more than {int.MaxValue} elements");
            return (int)(pixels * C);
        }
    }

    /// <summary>The same elements as one row of features, 1x1xLength.</summary>
    /// <exception cref="ArgumentOutOfRangeException">As for <see cref="Length"/>.</exception>
    public MapShape Flat => new(1, 1, Length);

    /// <inheritdoc/>
    public override string ToString() => $"{H}x{W}x{C}";
}
