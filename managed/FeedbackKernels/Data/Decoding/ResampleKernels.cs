using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using FeedbackKernels.Interop;

namespace FeedbackKernels.Data;

/// <summary>The two passes of the resize, for one row. All sums are exact integers, so that every instruction set gives the same bits.</summary>
internal static unsafe class ResampleKernels
{
    /// <summary>Fractional bits of a sum, and half of its unit.</summary>
    public const int Shift = ResampleAxis.PrecisionBits, Half = 1 << (Shift - 1);

    /// <summary>Makes a row of [Count][3] from a row of pixels. Writes one byte more than that.</summary>
    public static void Horizontal(SimdLevel level, ResampleAxis axis, byte* row, PixelLayout layout, byte* destination)
    {
        if (level >= SimdLevel.Avx2) HorizontalAvx2(axis, row, layout, destination);
        else if (level >= SimdLevel.Vector128) HorizontalVector128(axis, row, layout, destination);
        else HorizontalScalar(axis, row, layout, destination);
    }

    /// <summary>Makes bytes of an output row from the rows in a ring: row y is in slot y mod ringRows. Reads up to a vector behind the bytes of a row.</summary>
    public static void Vertical(SimdLevel level, ResampleAxis axis, int output, byte* ring, int ringRows, nint stride, int bytes, byte* destination)
    {
        int done = 0;
        if (level >= SimdLevel.Avx512) done = VerticalPairs<Vector512<byte>, Vector512Bytes>(axis, output, ring, ringRows, stride, 0, bytes, destination);
        if (level >= SimdLevel.Avx2) done = VerticalPairs<Vector256<byte>, Vector256Bytes>(axis, output, ring, ringRows, stride, done, bytes, destination);
        if (level >= SimdLevel.Vector128) done = VerticalVector128(axis, output, ring, ringRows, stride, done, bytes, destination);
        VerticalScalar(axis, output, ring, ringRows, stride, done, bytes, destination);
    }

    /// <summary>A group of four pixels at a time: the lower half of the vector has the first two, the upper half the others.</summary>
    private static void HorizontalAvx2(ResampleAxis axis, byte* row, PixelLayout layout, byte* destination)
    {
        int groups = axis.Taps / ResampleAxis.TapGroup, groupBytes = ResampleAxis.TapGroup * (int)layout;
        Vector256<byte> places = PairsOf(layout);
        Vector256<int> spread = Vector256.Create(0, 0, 0, 0, 1, 1, 1, 1);
        fixed (short* highs = axis.High, lows = axis.Low)
        fixed (int* starts = axis.Starts)
        {
            long* high = (long*)highs, low = (long*)lows;
            for (int i = 0; i < axis.Count; i++, destination += 3)
            {
                byte* pixels = row + (nint)starts[i] * (int)layout;
                Vector256<int> upper = default, lower = default;
                for (int g = 0; g < groups; g++, pixels += groupBytes, high++, low++)
                {
                    Vector256<short> pairs = Avx2.Shuffle(Avx2.BroadcastVector128ToVector256(pixels), places).AsInt16();
                    upper += Avx2.MultiplyAddAdjacent(pairs, Avx2.PermuteVar8x32(Vector256.CreateScalarUnsafe(*high).AsInt32(), spread).AsInt16());
                    lower += Avx2.MultiplyAddAdjacent(pairs, Avx2.PermuteVar8x32(Vector256.CreateScalarUnsafe(*low).AsInt32(), spread).AsInt16());
                }

                Vector256<int> sum = (upper << ResampleAxis.SplitBits) + lower;
                StorePixel(sum.GetLower() + sum.GetUpper(), destination);
            }
        }
    }

    /// <summary>Where the bytes of four pixels go: for each channel a pair of 16-bit numbers, the first two pixels in the lower half.</summary>
    private static Vector256<byte> PairsOf(PixelLayout layout)
    {
        byte* places = stackalloc byte[Vector256<byte>.Count];
        for (int i = 0; i < Vector256<byte>.Count; i++)
        {
            int half = i / 16, channel = i % 16 / 4, pixel = 2 * half + i / 2 % 2;
            places[i] = i % 2 != 0 || channel > 2 ? (byte)0x80 : (byte)(pixel * (int)layout + (layout == PixelLayout.Grey ? 0 : channel));
        }

        return Vector256.Load(places);
    }

    /// <summary>The channels of a pixel at a time.</summary>
    private static void HorizontalVector128(ResampleAxis axis, byte* row, PixelLayout layout, byte* destination)
    {
        int bytes = (int)layout, taps = axis.Taps;
        fixed (short* highs = axis.High, lows = axis.Low)
        fixed (int* starts = axis.Starts)
        {
            for (int i = 0; i < axis.Count; i++, destination += 3)
            {
                short* high = highs + i * taps, low = lows + i * taps;
                byte* pixel = row + (nint)starts[i] * bytes;
                Vector128<int> sum = default;
                for (int t = 0; t < taps; t++, pixel += bytes) sum += Channels(pixel, layout) * Weight(high[t], low[t]);
                StorePixel(sum, destination);
            }
        }
    }

    private static Vector128<int> Channels(byte* pixel, PixelLayout layout) =>
        layout == PixelLayout.Grey
            ? Vector128.Create((int)*pixel)
            : Vector128.WidenLower(Vector128.WidenLower(Vector128.CreateScalarUnsafe(*(uint*)pixel).AsByte())).AsInt32();

    private static void StorePixel(Vector128<int> sum, byte* destination)
    {
        Vector128<int> value = (sum + Vector128.Create(Half)) >> Shift;
        *(uint*)destination = Vector128.Narrow(Vector128.Narrow(value, value), default).AsUInt32().ToScalar();
    }

    /// <summary>Pairs of rows, a vector of bytes at a time. Returns how far it has come.</summary>
    private static int VerticalPairs<T, TOps>(ResampleAxis axis, int output, byte* ring, int ringRows, nint stride, int from, int to, byte* destination)
        where T : struct
        where TOps : IByteVector<T>
    {
        int start = axis.Starts[output], taps = axis.Taps, c = from;
        fixed (short* high = &axis.High[output * taps], low = &axis.Low[output * taps])
        {
            for (; c <= to - TOps.Count; c += TOps.Count)
            {
                T upper0 = default, upper1 = default, upper2 = default, upper3 = default, lower0 = default, lower1 = default, lower2 = default, lower3 = default;
                for (int t = 0; t < taps; t += 2)
                {
                    int upperPair = *(int*)(high + t), lowerPair = *(int*)(low + t);
                    if ((upperPair | lowerPair) == 0) continue;
                    T a = TOps.Load(ring + (start + t) % ringRows * stride + c), b = TOps.Load(ring + (start + t + 1) % ringRows * stride + c);
                    T near = TOps.InterleaveLow(a, b), far = TOps.InterleaveHigh(a, b), upper = TOps.Broadcast(upperPair), lower = TOps.Broadcast(lowerPair);
                    T pairs = TOps.InterleaveLow(near, default);
                    upper0 = TOps.MultiplyAdd(pairs, upper, upper0);
                    lower0 = TOps.MultiplyAdd(pairs, lower, lower0);
                    pairs = TOps.InterleaveHigh(near, default);
                    upper1 = TOps.MultiplyAdd(pairs, upper, upper1);
                    lower1 = TOps.MultiplyAdd(pairs, lower, lower1);
                    pairs = TOps.InterleaveLow(far, default);
                    upper2 = TOps.MultiplyAdd(pairs, upper, upper2);
                    lower2 = TOps.MultiplyAdd(pairs, lower, lower2);
                    pairs = TOps.InterleaveHigh(far, default);
                    upper3 = TOps.MultiplyAdd(pairs, upper, upper3);
                    lower3 = TOps.MultiplyAdd(pairs, lower, lower3);
                }

                T value0 = TOps.Round(upper0, lower0), value1 = TOps.Round(upper1, lower1), value2 = TOps.Round(upper2, lower2), value3 = TOps.Round(upper3, lower3);
                TOps.Store(TOps.Pack(value0, value1, value2, value3), destination + c);
            }
        }

        return c;
    }

    private static int VerticalVector128(ResampleAxis axis, int output, byte* ring, int ringRows, nint stride, int from, int to, byte* destination)
    {
        int start = axis.Starts[output], taps = axis.Taps, c = from;
        ReadOnlySpan<short> high = axis.High.Slice(output * taps, taps), low = axis.Low.Slice(output * taps, taps);
        for (; c <= to - Vector128<byte>.Count; c += Vector128<byte>.Count)
        {
            Vector128<int> sum0 = Vector128.Create(Half), sum1 = sum0, sum2 = sum0, sum3 = sum0;
            for (int t = 0; t < taps; t++)
            {
                int weight = Weight(high[t], low[t]);
                if (weight == 0) continue;
                Vector128<byte> pixels = Vector128.Load(ring + (start + t) % ringRows * stride + c);
                (Vector128<ushort> near, Vector128<ushort> far) = Vector128.Widen(pixels);
                sum0 += Vector128.WidenLower(near).AsInt32() * weight;
                sum1 += Vector128.WidenUpper(near).AsInt32() * weight;
                sum2 += Vector128.WidenLower(far).AsInt32() * weight;
                sum3 += Vector128.WidenUpper(far).AsInt32() * weight;
            }

            Vector128<short> first = Vector128.Narrow(sum0 >> Shift, sum1 >> Shift), second = Vector128.Narrow(sum2 >> Shift, sum3 >> Shift);
            Vector128.Narrow(first, second).AsByte().Store(destination + c);
        }

        return c;
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
