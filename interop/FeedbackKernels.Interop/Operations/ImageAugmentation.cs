namespace FeedbackKernels.Interop;

/// <summary>
/// How packed images become activations: each is moved by up to <paramref name="Reach"/> rows and columns, with zeros coming
/// in, and turned left to right every other time. What is done to an image is a function of the key and of its number, so
/// that it does not depend on the batch it is in.
/// </summary>
/// <param name="H">Rows.</param>
/// <param name="W">Columns.</param>
/// <param name="C">Channels.</param>
/// <param name="Reach">Most rows and columns that an image is moved by, each way; 0 for none, up to 2^20.</param>
/// <param name="Flip">Whether images are turned.</param>
/// <param name="Key">Names the random numbers; its step is replaced by the image's number.</param>
public readonly record struct ImageAugmentation(int H, int W, int C, int Reach = 0, bool Flip = false, RandomKey Key = default)
{
    // Far beyond any use, and far from where 2 reach + 1 leaves an int.
    internal const int MostReach = 1 << 20;

    /// <summary>Numbers of one image.</summary>
    /// <exception cref="ArgumentOutOfRangeException">A size is not positive, or there are more than 2^40 numbers.</exception>
    public long ImageLength => ElementCount.Of("H*W*C", H, W, C);

    /// <summary>What is done to an image: output pixel (h, w) is input pixel (h + Down, w' + Right), where w' is w, or
    /// W - 1 - w for an image that is turned.</summary>
    /// <param name="number">The image's number in its set.</param>
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
