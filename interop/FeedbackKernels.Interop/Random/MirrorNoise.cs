using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace FeedbackKernels.Interop;

/// <summary>The distribution of mirror noise. All three have mean 0 and variance σ².</summary>
public enum NoiseKind
{
    /// <summary>
    /// Rows of a Hadamard matrix (Sylvester 1867; Paley 1933) with random column signs, times σ. One sample looks like independent ±σ; over
    /// a cycle, which is as many samples as the matrix has rows, the samples' second moment is exactly σ² times the identity, so the
    /// variance of a correlation with them cancels. The rows are the smallest number of the form 2^m, or 12, 28 or 36 times 2^m, that is
    /// no less than the sample length. Row order, columns and signs are redrawn each cycle; a mirror that corrects B takes one cycle again
    /// and again.
    /// </summary>
    Balanced,

    /// <summary>Independent normal numbers, as in Akrout et al. 2019.</summary>
    Gaussian,

    /// <summary>Independent ±σ.</summary>
    Sign,
}

/// <summary>
/// The mirror noise of one layer: sample g is a vector of <see cref="Length"/> numbers, a function of the seed, the layer and g alone.
/// </summary>
public readonly record struct MirrorNoise
{
    /// <summary>Signs in a block of random bits.</summary>
    internal const int BlockSigns = 128;

    // The largest power of two whose indices are positive 32-bit integers.
    private const int MostLength = 1 << 30;

    /// <summary>Samples of the noise of a layer before it repeats.</summary>
    internal const long MostSamples = 1L << 32;

    /// <summary>Defines the noise of one layer.</summary>
    /// <param name="kind">Distribution.</param>
    /// <param name="length">Numbers in a sample, d.</param>
    /// <param name="standardDeviation">σ.</param>
    /// <param name="seed">Seed of the run.</param>
    /// <param name="layer">Number of the layer in its model.</param>
    /// <exception cref="ArgumentOutOfRangeException">The kind is unknown, the length is not 1 to 2^30, or the standard deviation is not a
    /// positive finite number.</exception>
    public MirrorNoise(NoiseKind kind, int length, float standardDeviation, ulong seed, uint layer)
    {
        if (!Enum.IsDefined(kind)) throw new ArgumentOutOfRangeException(nameof(kind), kind, "unknown kind of noise");
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(length);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(length, MostLength);
        if (!(standardDeviation > 0) || !float.IsFinite(standardDeviation))
            throw new ArgumentOutOfRangeException(nameof(standardDeviation), standardDeviation, "wanted a positive finite number");
        (Kind, Length, StandardDeviation, Seed, Layer) = (kind, length, standardDeviation, seed, layer);
    }

    /// <summary>The distribution.</summary>
    public NoiseKind Kind { get; }

    /// <summary>Numbers in a sample.</summary>
    public int Length { get; }

    /// <summary>σ.</summary>
    public float StandardDeviation { get; }

    /// <summary>Seed of the run.</summary>
    public ulong Seed { get; }

    /// <summary>Number of the layer in its model.</summary>
    public uint Layer { get; }

    /// <summary>The matrix of balanced noise.</summary>
    internal HadamardMatrix Matrix => new(Length);

    /// <summary>Samples after which balanced noise has an exactly white second moment; 1 for the other kinds.</summary>
    public int CycleLength => Cycle(Kind, Length);

    /// <summary><see cref="CycleLength"/> of a kind of noise, for a sample of the given length.</summary>
    /// <param name="kind">Distribution.</param>
    /// <param name="length">Numbers in a sample, d.</param>
    /// <exception cref="ArgumentOutOfRangeException">The kind is unknown, or the length negative or more than 2^30.</exception>
    public static int CycleLengthOf(NoiseKind kind, int length)
    {
        if (!Enum.IsDefined(kind)) throw new ArgumentOutOfRangeException(nameof(kind), kind, "unknown kind of noise");
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(length, MostLength);
        return Cycle(kind, length);
    }

    private static int Cycle(NoiseKind kind, int length) => kind == NoiseKind.Balanced ? new HadamardMatrix(length).Order : 1;

    /// <summary>Writes sample <paramref name="sample"/>.</summary>
    /// <param name="values">Gets the sample.</param>
    /// <param name="sample">Number of the sample in the stream of the layer, from 0.</param>
    /// <exception cref="ArgumentException"><paramref name="values"/> does not have <see cref="Length"/> elements.</exception>
    /// <exception cref="ArgumentOutOfRangeException">The sample is not in 0 to 2^32 - 1.</exception>
    public void Fill(Span<float> values, long sample)
    {
        if (sample is < 0 or >= MostSamples) throw new ArgumentOutOfRangeException(nameof(sample), sample, $"wanted 0 to {MostSamples - 1}");
        if (values.Length != Length)
            throw new ArgumentException($"{values.Length} elements, wanted {Length}", nameof(values));
        switch (Kind)
        {
            case NoiseKind.Gaussian:
                new RandomKey(Seed, RandomPurpose.MirrorNoise, Layer, (uint)sample).FillGaussian(values, StandardDeviation);
                break;
            case NoiseKind.Sign:
                FillSigns(values, (uint)sample);
                break;
            default:
                FillBalanced(values, sample);
                break;
        }
    }

    private void FillSigns(Span<float> values, uint sample)
    {
        var key = new RandomKey(Seed, RandomPurpose.MirrorNoise, Layer, sample);
        for (int i = 0; i < values.Length; i += BlockSigns)
        {
            PhiloxBlock block = key.Block((uint)i / BlockSigns);
            for (int j = i; j < Math.Min(i + BlockSigns, values.Length); j++)
                values[j] = Signed(StandardDeviation, block[j / 32 % 4] >> (j % 32));
        }
    }

    private void FillBalanced(Span<float> values, long sample)
    {
        Span<uint> codes = stackalloc uint[2 * BlockSigns];
        Span<float> magnitudes = stackalloc float[BlockSigns];
        for (int first = 0; first < values.Length; first += BlockSigns)
        {
            int count = Math.Min(BlockSigns, values.Length - first);
            Span<uint> low = codes[..count], high = codes.Slice(BlockSigns, count);
            DescribeCycle(sample / CycleLength, first, low, high, magnitudes[..count]);
            FillBalanced(sample, low, high, magnitudes[..count], values.Slice(first, count));
        }
    }

    /// <summary>
    /// The description of a cycle of balanced noise, common to all its samples: for each element the code of its column of the Hadamard
    /// matrix, and σ with the sign of the column.
    /// </summary>
    /// <param name="cycle">Number of the cycle.</param>
    /// <param name="first">First element; a multiple of <see cref="BlockSigns"/>.</param>
    /// <param name="low">The lower half of the code for each element.</param>
    /// <param name="high">The upper half.</param>
    /// <param name="magnitudes">±σ for each element.</param>
    internal void DescribeCycle(long cycle, int first, Span<uint> low, Span<uint> high, Span<float> magnitudes)
    {
        HadamardMatrix matrix = Matrix;
        PhiloxBlock order = new RandomKey(Seed, RandomPurpose.MirrorOrder, Layer, (uint)cycle).Block(0);
        var signs = new RandomKey(Seed, RandomPurpose.MirrorSigns, Layer, (uint)cycle);
        PhiloxBlock block = default;
        for (int i = 0; i < low.Length; i++)
        {
            int element = first + i;
            if (element % BlockSigns == 0) block = signs.Block((uint)(element / BlockSigns));
            ulong code = matrix.ColumnCode(matrix.Permute((uint)element, order.Z, order.W));
            (low[i], high[i]) = ((uint)code, (uint)(code >> 32));
            magnitudes[i] = Signed(StandardDeviation, block[element / 32 % 4] >> (element % 32));
        }
    }

    /// <summary>Computes elements of a sample of balanced noise from the description of its cycle.</summary>
    internal void FillBalanced(long sample, ReadOnlySpan<uint> low, ReadOnlySpan<uint> high, ReadOnlySpan<float> magnitudes, Span<float> values)
    {
        HadamardMatrix matrix = Matrix;
        PhiloxBlock order = new RandomKey(Seed, RandomPurpose.MirrorOrder, Layer, (uint)(sample / matrix.Order)).Block(0);
        ulong row = matrix.RowCode(matrix.Permute((uint)(sample % matrix.Order), order.X, order.Y));
        Vector<uint> rowLow = new((uint)row), rowHigh = new((uint)(row >> 32));
        ref uint lows = ref MemoryMarshal.GetReference(low[..values.Length]), highs = ref MemoryMarshal.GetReference(high[..values.Length]);
        ref float signs = ref MemoryMarshal.GetReference(magnitudes[..values.Length]), outputs = ref MemoryMarshal.GetReference(values);
        int i = 0;
        for (; i + Vector<uint>.Count <= values.Length; i += Vector<uint>.Count)
        {
            // The parity of the bits that both codes have, folded into the lowest bit.
            Vector<uint> common = rowLow & Vector.LoadUnsafe(ref lows, (nuint)i) ^ rowHigh & Vector.LoadUnsafe(ref highs, (nuint)i);
            common ^= common >>> 16;
            common ^= common >>> 8;
            common ^= common >>> 4;
            common ^= common >>> 2;
            common ^= common >>> 1;
            Vector<uint> signed = Vector.AsVectorUInt32(Vector.LoadUnsafe(ref signs, (nuint)i)) ^ common << 31;
            Vector.AsVectorSingle(signed).StoreUnsafe(ref outputs, (nuint)i);
        }

        for (; i < values.Length; i++)
        {
            uint common = (uint)row & low[i] ^ (uint)(row >> 32) & high[i];
            values[i] = Signed(magnitudes[i], (uint)BitOperations.PopCount(common));
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static float Signed(float magnitude, uint signBit) =>
        BitConverter.UInt32BitsToSingle(BitConverter.SingleToUInt32Bits(magnitude) ^ signBit << 31);
}
