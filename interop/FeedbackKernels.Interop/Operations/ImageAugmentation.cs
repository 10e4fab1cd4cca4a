namespace FeedbackKernels.Interop;

/// <summary>
/// Augmentation of packed images: each image is shifted by up to <paramref name="Reach"/> rows and columns, padded with zeros, and
/// flipped horizontally with probability 1/2 (He et al. 2016, section 4.2, with a reach of 4). The augmentation is a function of the key and
/// the number of the image, so it does not depend on the batch.
/// </summary>
/// <param name="H">Rows.</param>
/// <param name="W">Columns.</param>
/// <param name="C">Channels.</param>
/// <param name="Reach">Largest shift in rows and columns, in each direction; 0 for none, up to 2^20.</param>
/// <param name="Flip">Whether images are flipped.</param>
/// <param name="Key">Key of the random numbers; its step is replaced by the number of the image.</param>
public readonly record struct ImageAugmentation(int H, int W, int C, int Reach = 0, bool Flip = false, RandomKey Key = default)
{
    // Larger than any useful shift, and small enough for 2 * reach + 1 to fit an int.
    internal const int MostReach = 1 << 20;

    /// <summary>Elements of one image.</summary>
    /// <exception cref="ArgumentOutOfRangeException">A size is not positive, or there are more than 2^40 elements.</exception>
    public long ImageLength => ElementCount.Of("H*W*C", H, W, C);

    /// <summary>The augmentation of an image: output pixel (h, w) is input pixel (h + Down, w' + Right), where w' is w, or W - 1 - w if
    /// the image is flipped.</summary>
    /// <param name="number">Index of the image in its data set.</param>
    /// <exception cref="InvalidOperationException">The reach is out of range, 0 to 2^20.</exception>
    public (int Down, int Right, bool Flip) Draw(int number)
    {
        if (Reach is < 0 or > MostReach) throw new InvalidOperationException($"the reach is {Reach}, wanted 0 to {MostReach}");
        var random = new RandomSequence(Key with { Step = (uint)number });
        int down = random.NextInt(2 * Reach + 1) - Reach, right = random.NextInt(2 * Reach + 1) - Reach;
        return (down, right, random.NextInt(2) == 1 && Flip);
    }

    /// <inheritdoc/>
    public override string ToString() => $"images of {H}x{W}x{C}, moved by up to {Reach}{(Flip ? ", flipped" : "")}";
}
