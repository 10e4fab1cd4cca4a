namespace FeedbackKernels.Data;

/// <summary>How bytes become the numbers that a net sees.</summary>
public enum NormalisationKind
{
    /// <summary>Mean 0 and variance 1 for each channel over the training set.</summary>
    Standard,

    /// <summary>0 to 1: what the paper's MLPs were trained on.</summary>
    Unit,
}

/// <summary>(byte / 255 - mean) / deviation for each channel, as a table.</summary>
public sealed class Normalisation
{
    private readonly float[] _table;
    private readonly int _channels;

    private Normalisation(double[] means, double[] deviations)
    {
        _channels = means.Length;
        _table = new float[256 * _channels];
        for (int value = 0; value < 256; value++)
        {
            for (int c = 0; c < _channels; c++) _table[value * _channels + c] = (float)((value / 255.0 - means[c]) / deviations[c]);
        }
    }

    /// <summary>Makes the table from a training set.</summary>
    public static Normalisation Of(ImageSet train, NormalisationKind kind)
    {
        ArgumentNullException.ThrowIfNull(train);
        int channels = train.Shape.C;
        var means = new double[channels];
        double[] deviations = [.. Enumerable.Repeat(1.0, channels)];
        if (kind == NormalisationKind.Unit) return new Normalisation(means, deviations);
        var counts = new long[channels, 256];
        for (int i = 0; i < train.Pixels.Length; i++) counts[i % channels, train.Pixels[i]]++;
        double pixels = train.Pixels.Length / (double)channels;
        for (int c = 0; c < channels; c++)
        {
            double sum = 0, squares = 0;
            for (int value = 0; value < 256; value++) sum += counts[c, value] * (value / 255.0);
            means[c] = sum / pixels;
            for (int value = 0; value < 256; value++) squares += counts[c, value] * Math.Pow(value / 255.0 - means[c], 2);
            // A channel of one colour has no deviation to divide by.
            deviations[c] = squares > 0 ? Math.Sqrt(squares / pixels) : 1;
        }

        return new Normalisation(means, deviations);
    }

    /// <summary>The numbers of all bytes, [256][C].</summary>
    public ReadOnlySpan<float> Table => _table;

    /// <summary>The number for a byte of a channel.</summary>
    public float this[byte value, int channel] => _table[value * _channels + channel];

    /// <summary>Converts a run of whole pixels.</summary>
    public void Apply(ReadOnlySpan<byte> bytes, Span<float> values)
    {
        int channel = 0;
        for (int i = 0; i < bytes.Length; i++)
        {
            values[i] = _table[bytes[i] * _channels + channel];
            if (++channel == _channels) channel = 0;
        }
    }
}
