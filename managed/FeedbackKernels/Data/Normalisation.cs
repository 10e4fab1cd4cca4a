namespace FeedbackKernels.Data;

/// <summary>How pixel bytes are turned into the numbers that a net sees.</summary>
public enum NormalisationKind
{
    /// <summary>Mean 0 and variance 1 for each channel over the training set.</summary>
    Standard,

    /// <summary>The range 0 to 1, as for the MLPs of the weight-mirror paper.</summary>
    Unit,
}

/// <summary>(byte / 255 - mean) / deviation for each channel, as a table.</summary>
public sealed class Normalisation
{
    private const int PartBytes = 1 << 20;

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
    /// <exception cref="ArgumentOutOfRangeException">The kind is none of <see cref="NormalisationKind"/>.</exception>
    public static Normalisation Of(IImageSource train, NormalisationKind kind)
    {
        ArgumentNullException.ThrowIfNull(train);
        if (!Enum.IsDefined(kind)) throw new ArgumentOutOfRangeException(nameof(kind), kind, "not a kind of normalisation");
        int channels = train.Channels;
        var means = new double[channels];
        double[] deviations = [.. Enumerable.Repeat(1.0, channels)];
        if (kind == NormalisationKind.Unit) return new Normalisation(means, deviations);
        long[,] counts = CountBytes(train);
        double pixels = (long)train.Count * train.RequireShape().Length / (double)channels;
        for (int c = 0; c < channels; c++)
        {
            double sum = 0, squares = 0;
            for (int value = 0; value < 256; value++) sum += counts[c, value] * (value / 255.0);
            means[c] = sum / pixels;
            for (int value = 0; value < 256; value++) squares += counts[c, value] * Math.Pow(value / 255.0 - means[c], 2);
            // The deviation of a constant channel is 0; it is not divided.
            deviations[c] = squares > 0 ? Math.Sqrt(squares / pixels) : 1;
        }

        return new Normalisation(means, deviations);
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

    /// <summary>How often each byte occurs in each channel. The images are read in parts.</summary>
    private static long[,] CountBytes(IImageSource images)
    {
        int channels = images.Channels, length = images.RequireShape().Length;
        int part = Math.Min(images.Count, Math.Max(1, PartBytes / length));
        var counts = new long[channels, 256];
        var indices = new int[part];
        var pixels = new byte[part * length];
        for (int first = 0; first < images.Count; first += part)
        {
            int count = Math.Min(part, images.Count - first);
            for (int i = 0; i < count; i++) indices[i] = first + i;
            images.Read(indices.AsSpan(0, count), pixels);
            for (int i = 0; i < count * length; i++) counts[i % channels, pixels[i]]++;
        }

        return counts;
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
