using FeedbackKernels.Interop;

namespace FeedbackKernels.Data;

/// <summary>The two passes of the resize, for one row. All sums are exact integers, so that every instruction set gives the same bits.</summary>
internal static unsafe class ResampleKernels
{
    private const int Shift = ResampleAxis.PrecisionBits, Half = 1 << (Shift - 1);

    /// <summary>Makes a row of [Count][3] from a row of pixels. Writes one byte more than that.</summary>
    public static void Horizontal(SimdLevel level, ResampleAxis axis, byte* row, PixelLayout layout, byte* destination)
    {
        HorizontalScalar(axis, row, layout, destination);
    }

    /// <summary>Makes bytes of an output row from the rows in a ring: row y is in slot y mod ringRows.</summary>
    public static void Vertical(SimdLevel level, ResampleAxis axis, int output, byte* ring, int ringRows, nint stride, int bytes, byte* destination)
    {
        VerticalScalar(axis, output, ring, ringRows, stride, 0, bytes, destination);
    }

    private static void HorizontalScalar(ResampleAxis axis, byte* row, PixelLayout layout, byte* destination)
    {
        int bytes = (int)layout, green = layout == PixelLayout.Grey ? 0 : 1, taps = axis.Taps;
        fixed (short* highs = axis.High, lows = axis.Low)
        fixed (int* starts = axis.Starts)
        {
            for (int i = 0; i < axis.Count; i++, destination += 3)
            {
                short* high = highs + i * taps, low = lows + i * taps;
                byte* pixel = row + (nint)starts[i] * bytes;
                int r = Half, g = Half, b = Half;
                for (int t = 0; t < taps; t++, pixel += bytes)
                {
                    int weight = Weight(high[t], low[t]);
                    r += weight * pixel[0];
                    g += weight * pixel[green];
                    b += weight * pixel[2 * green];
                }

                (destination[0], destination[1], destination[2]) = ((byte)(r >> Shift), (byte)(g >> Shift), (byte)(b >> Shift));
            }
        }
    }

    private static void VerticalScalar(ResampleAxis axis, int output, byte* ring, int ringRows, nint stride, int from, int to, byte* destination)
    {
        int start = axis.Starts[output], taps = axis.Taps;
        ReadOnlySpan<short> high = axis.High.Slice(output * taps, taps), low = axis.Low.Slice(output * taps, taps);
        for (int c = from; c < to; c++)
        {
            int sum = Half;
            for (int t = 0; t < taps; t++) sum += Weight(high[t], low[t]) * ring[(start + t) % ringRows * stride + c];
            destination[c] = (byte)(sum >> Shift);
        }
    }

    private static int Weight(short high, short low) => (high << ResampleAxis.SplitBits) + low;
}
