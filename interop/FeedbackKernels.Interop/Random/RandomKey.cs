namespace FeedbackKernels.Interop;

/// <summary>Purpose of a stream of random numbers. Streams of different purposes are independent.</summary>
public enum RandomPurpose : uint
{
    /// <summary>Initial forward weights.</summary>
    ForwardWeights = 1,

    /// <summary>Initial or fixed feedback weights.</summary>
    FeedbackWeights = 2,

    /// <summary>Mirror noise, one stream for each sample.</summary>
    MirrorNoise = 3,

    /// <summary>Row order and columns of the Hadamard matrix of balanced mirror noise, one stream for each cycle.</summary>
    MirrorOrder = 4,

    /// <summary>Column signs of balanced mirror noise, one stream for each cycle.</summary>
    MirrorSigns = 5,

    /// <summary>Magnitudes of batch-random sign symmetry, one stream for each step.</summary>
    SignMagnitudes = 6,

    /// <summary>Order of the training samples, one stream for each epoch.</summary>
    SampleOrder = 7,

    /// <summary>Crops and flips, one stream for each epoch.</summary>
    Augmentation = 8,

    /// <summary>Images of the synthetic data set.</summary>
    SyntheticImages = 9,

    /// <summary>Noise that moves W and B under Kolen-Pollack before training, one stream for each step.</summary>
    KolenPollackNoise = 11,

    /// <summary>Order of the image data of packed files, and which images are stored raw.</summary>
    PackedFiles = 12,

    /// <summary>Where adversarial attacks start, one stream for each image.</summary>
    AdversarialStart = 13,

    /// <summary>Labels of the images of noise before training, one stream for each batch.</summary>
    NoiseLabels = 14,

    /// <summary>Noise on the updates of a parameter, one stream for each step.</summary>
    UpdateNoise = 15,

    /// <summary>Noise on the updates of feedback weights, one stream for each step.</summary>
    FeedbackUpdateNoise = 16,

    /// <summary>Images of noise before training, one stream for each batch.</summary>
    NoiseImages = 17,

    /// <summary>Free for programs and tests.</summary>
    User = 10,
}

/// <summary>
/// Key of one stream of random numbers: the seed of the run, the purpose, the layer (or 0), and the step, sample, epoch or cycle.
/// </summary>
/// <param name="Seed">Seed of the run.</param>
/// <param name="Purpose">What the numbers are for.</param>
/// <param name="Layer">Number of the layer, or 0.</param>
/// <param name="Step">Number of the step, sample, epoch or cycle.</param>
public readonly record struct RandomKey(ulong Seed, RandomPurpose Purpose, uint Layer = 0, uint Step = 0)
{
    /// <summary>Numbers of a stream: four for each block, with 32-bit block indices.</summary>
    internal const long MostNumbers = 4L << 32;

    /// <summary>Block <paramref name="index"/> of the stream: four words of <see cref="Philox"/>, whose counter is the index, the purpose, the
    /// layer and the step, and whose key is the seed.</summary>
    /// <param name="index">Number of the block, from 0.</param>
    public PhiloxBlock Block(uint index) => Philox.Block(index, (uint)Purpose, Layer, Step, Seed);

    /// <summary>Fills with normally distributed numbers of mean 0 (Box and Muller 1958, two from two words), from a block of the stream
    /// on.</summary>
    /// <param name="values">Overwritten.</param>
    /// <param name="standardDeviation">σ; not checked.</param>
    /// <param name="firstBlock">Number of the first block of four words.</param>
    public void FillGaussian(Span<float> values, float standardDeviation, uint firstBlock = 0)
    {
        Span<float> four = stackalloc float[4];
        for (int i = 0; i < values.Length; i += 4)
        {
            PhiloxBlock block = Block(firstBlock + (uint)(i / 4));
            (four[0], four[1]) = Gaussians(block.X, block.Y, standardDeviation);
            (four[2], four[3]) = Gaussians(block.Z, block.W, standardDeviation);
            four[..Math.Min(4, values.Length - i)].CopyTo(values[i..]);
        }
    }

    /// <summary>Fills with numbers uniform in [low, high).</summary>
    /// <param name="values">Overwritten.</param>
    /// <param name="low">Lower bound, included.</param>
    /// <param name="high">Upper bound, excluded up to rounding.</param>
    public void FillUniform(Span<float> values, float low, float high)
    {
        for (int i = 0; i < values.Length; i++)
            values[i] = low + (high - low) * Unit(Block((uint)(i / 4))[i % 4]);
    }

    /// <summary>Maps a random word to [0, 1), a multiple of 2^-24.</summary>
    /// <param name="word">32 random bits, of which the upper 24 count.</param>
    public static float Unit(uint word) => (word >> 8) * (1f / (1 << 24));

    private static (float, float) Gaussians(uint word0, uint word1, float standardDeviation)
    {
        // 1 - u lies in (0, 1], where the logarithm is finite.
        float radius = standardDeviation * MathF.Sqrt(-2f * MathF.Log(1f - Unit(word0)));
        (float sin, float cos) = MathF.SinCos(2f * MathF.PI * Unit(word1));
        return (radius * cos, radius * sin);
    }
}

/// <summary>Draws numbers in order from the stream of a key, for sequential code on the host.</summary>
/// <param name="key">The stream.</param>
public struct RandomSequence(RandomKey key)
{
    private PhiloxBlock _block;
    private uint _next;

    /// <summary>The next 32 random bits.</summary>
    public uint NextWord()
    {
        if (_next % 4 == 0) _block = key.Block(_next / 4);
        return _block[(int)(_next++ % 4)];
    }

    /// <summary>The next number, uniform in [0, 1).</summary>
    public float NextUnit() => RandomKey.Unit(NextWord());

    /// <summary>The next integer, uniform in [0, bound): the upper half of a product (Lemire 2019, without the rejection). The bias is below
    /// bound / 2^32.</summary>
    /// <param name="bound">Upper bound, excluded; at least 1, not checked.</param>
    public int NextInt(int bound) => (int)((ulong)NextWord() * (uint)bound >> 32);

    /// <summary>The next number, uniform in [low, high).</summary>
    /// <param name="low">Lower bound, included.</param>
    /// <param name="high">Upper bound, excluded up to rounding.</param>
    public float NextFloat(float low, float high) => low + (high - low) * NextUnit();
}
