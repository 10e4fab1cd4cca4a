namespace FeedbackKernels.Data;

/// <summary>How pixel bytes are turned into the numbers that a net sees.</summary>
public enum NormalisationKind
{
    /// <summary>Mean 0 and variance 1 for each channel over the training set (LeCun, Bottou, Orr and Müller 1998, section 4.3).</summary>
    Standard,

    /// <summary>The range 0 to 1, as for the MLPs in the public code of Akrout et al. 2019.</summary>
    Unit,
}

/// <summary>(byte / 255 - mean) / deviation for each channel, as a table.</summary>
public sealed class Normalisation
{
    private readonly float[] _table;
    private readonly int _channels;

    /// <summary>Makes the table from known numbers.</summary>
    /// <param name="means">Mean of each channel, of pixels from 0 to 1.</param>
    /// <param name="deviations">Standard deviation of each channel, above 0, of pixels from 0 to 1.</param>
    /// <exception cref="ArgumentException">The lists are empty or of different lengths, or a number is not finite, not above 0, or
    /// so small that a pixel would not be finite.</exception>
    public Normalisation(IReadOnlyList<double> means, IReadOnlyList<double> deviations)
    {
        ArgumentNullException.ThrowIfNull(means);
        ArgumentNullException.ThrowIfNull(deviations);
        if (means.Count == 0) throw new ArgumentException("no channels, wanted at least one mean", nameof(means));
        if (deviations.Count != means.Count)
            throw new ArgumentException($"{deviations.Count} standard deviations, wanted {means.Count}, one for each mean", nameof(deviations));
        (Means, Deviations, _channels) = ([.. means], [.. deviations], means.Count);
        _table = new float[256 * _channels];
        for (int c = 0; c < _channels; c++) FillChannel(c, means[c], deviations[c]);
    }

    /// <summary>Mean of each channel, of pixels from 0 to 1.</summary>
    public IReadOnlyList<double> Means { get; }

    /// <summary>Number of channels.</summary>
    public int Channels => _channels;

    /// <summary>Standard deviation of each channel, of pixels from 0 to 1; 1 where pixels are not divided.</summary>
    public IReadOnlyList<double> Deviations { get; }

    /// <summary>Makes the table from a training set.</summary>
    /// <param name="train">Training images.</param>
    /// <param name="kind">What is made of the pixels.</param>
    /// <remarks>For images of several sizes the numbers are those that the source knows, or an estimate, see
    /// <see cref="PixelStatistics.Of"/>.</remarks>
    /// <exception cref="ArgumentOutOfRangeException">The kind is none of <see cref="NormalisationKind"/>.</exception>
    public static Normalisation Of(IImageSource train, NormalisationKind kind)
    {
        ArgumentNullException.ThrowIfNull(train);
        if (!Enum.IsDefined(kind)) throw new ArgumentOutOfRangeException(nameof(kind), kind, "not a kind of normalisation");
        if (kind == NormalisationKind.Unit) return new Normalisation(new double[train.Channels], [.. Enumerable.Repeat(1.0, train.Channels)]);
        PixelStatistics statistics = PixelStatistics.Of(train);
        return new Normalisation(statistics.Means, statistics.Deviations);
    }

    /// <summary>The numbers of all bytes, [256][C].</summary>
    public ReadOnlySpan<float> Table => _table;

    /// <summary>The number for a byte of a channel.</summary>
    public float this[byte value, int channel] => _table[value * _channels + channel];

    /// <summary>Converts a run of whole pixels.</summary>
    /// <param name="bytes">Pixels, [N][C].</param>
    /// <param name="values">As many numbers.</param>
    /// <exception cref="ArgumentException">The bytes are not whole pixels, or the lengths differ.</exception>
    public void Apply(ReadOnlySpan<byte> bytes, Span<float> values)
    {
        if (bytes.Length % _channels != 0)
            throw new ArgumentException($"{bytes.Length} bytes, wanted a multiple of {_channels} (channels)", nameof(bytes));
        if (values.Length != bytes.Length)
            throw new ArgumentException($"{values.Length} values for {bytes.Length} bytes, wanted as many", nameof(values));
        int channel = 0;
        for (int i = 0; i < bytes.Length; i++)
        {
            values[i] = _table[bytes[i] * _channels + channel];
            if (++channel == _channels) channel = 0;
        }
    }

    private void FillChannel(int channel, double mean, double deviation)
    {
        if (!double.IsFinite(mean)) throw new ArgumentException($"mean {mean} of channel {channel}, wanted a finite number", nameof(mean));
        if (!(deviation > 0) || !double.IsFinite(deviation))
            throw new ArgumentException($"standard deviation {deviation} of channel {channel}, wanted a finite number above 0", nameof(deviation));
        for (int value = 0; value < 256; value++)
        {
            var number = (float)((value / 255.0 - mean) / deviation);
            if (!float.IsFinite(number))
                throw new ArgumentException($"mean {mean} and standard deviation {deviation} of channel {channel} make pixel {value} {number}", nameof(deviation));
            _table[value * _channels + channel] = number;
        }
    }
}
