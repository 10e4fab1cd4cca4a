using System.Buffers.Binary;
using System.Numerics;

namespace FeedbackKernels.Data;

/// <summary>Exact sums over the pixels of images with three channels: how many pixels, and for each channel the sum of the bytes and of
/// their squares.</summary>
internal sealed class PixelSums
{
    /// <summary>Bytes of the sums of one image.</summary>
    public const int Bytes = 8 * (1 + 2 * Channels);

    private const int Channels = 3;

    private readonly UInt128[] _sums = new UInt128[Channels], _squares = new UInt128[Channels];
    private UInt128 _pixels;

    /// <summary>Adds pixels, [N][3].</summary>
    public void Add(ReadOnlySpan<byte> pixels)
    {
        ulong sum0 = 0, sum1 = 0, sum2 = 0, squares0 = 0, squares1 = 0, squares2 = 0;
        for (int i = 0; i + Channels <= pixels.Length; i += Channels)
        {
            uint red = pixels[i], green = pixels[i + 1], blue = pixels[i + 2];
            (sum0, sum1, sum2) = (sum0 + red, sum1 + green, sum2 + blue);
            (squares0, squares1, squares2) = (squares0 + red * red, squares1 + green * green, squares2 + blue * blue);
        }

        Add((ulong)(pixels.Length / Channels), [sum0, sum1, sum2], [squares0, squares1, squares2]);
    }

    /// <summary>Adds sums that <see cref="Write"/> wrote.</summary>
    public void AddWritten(ReadOnlySpan<byte> written)
    {
        Span<ulong> numbers = stackalloc ulong[1 + 2 * Channels];
        for (int i = 0; i < numbers.Length; i++) numbers[i] = BinaryPrimitives.ReadUInt64LittleEndian(written[(8 * i)..]);
        Add(numbers[0], numbers.Slice(1, Channels), numbers[(1 + Channels)..]);
    }

    /// <summary>Writes the sums of one image, which fit into 64 bits each.</summary>
    public void Write(Span<byte> bytes)
    {
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, (ulong)_pixels);
        for (int c = 0; c < Channels; c++)
        {
            BinaryPrimitives.WriteUInt64LittleEndian(bytes[(8 * (1 + c))..], (ulong)_sums[c]);
            BinaryPrimitives.WriteUInt64LittleEndian(bytes[(8 * (1 + Channels + c))..], (ulong)_squares[c]);
        }
    }

    /// <summary>Mean and standard deviation. The deviation of a constant channel is 0; 1 stands for it, so that pixels can be divided by
    /// it.</summary>
    public PixelStatistics ToStatistics()
    {
        double[] means = new double[Channels], deviations = new double[Channels];
        for (int c = 0; c < Channels; c++)
        {
            means[c] = (double)_sums[c] / (255 * (double)_pixels);
            // n² times the variance, without a rounding error.
            BigInteger scaled = (BigInteger)_pixels * _squares[c] - (BigInteger)_sums[c] * _sums[c];
            deviations[c] = scaled.IsZero ? 1 : Math.Sqrt((double)scaled) / (255 * (double)_pixels);
        }

        return new PixelStatistics(means, deviations);
    }

    private void Add(ulong pixels, ReadOnlySpan<ulong> sums, ReadOnlySpan<ulong> squares)
    {
        _pixels += pixels;
        for (int c = 0; c < Channels; c++)
        {
            _sums[c] += sums[c];
            _squares[c] += squares[c];
        }
    }
}
