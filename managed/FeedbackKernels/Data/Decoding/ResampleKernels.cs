using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using FeedbackKernels.Interop;

namespace FeedbackKernels.Data;

/// <summary>The two passes of the resize, for one row. All sums are exact integers, so that every instruction set gives the same bits.</summary>
internal static unsafe class ResampleKernels
{
    /// <summary>Fractional bits of a sum, and half of its unit.</summary>
    public const int Shift = ResampleAxis.PrecisionBits, Half = 1 << (Shift - 1);

    /// <summary>Bytes that the horizontal pass may write behind its row.</summary>
    public const int WrittenBehind = 16 + 3 * SpreadWeights.Block;

    /// <summary>Makes a row of [Count][3] from a row of pixels.</summary>
    /// <param name="level">Instructions to use.</param>
    /// <param name="axis">The weights.</param>
    /// <param name="spread">The weights for AVX2 and wider.</param>
    /// <param name="row">The pixel in column 0.</param>
    /// <param name="layout">What the pixels are like.</param>
    /// <param name="destination">The row, with <see cref="WrittenBehind"/> bytes behind it.</param>
    public static void Horizontal(SimdLevel level, ResampleAxis axis, SpreadWeights spread, byte* row, PixelLayout layout, byte* destination)
    {
        if (level >= SimdLevel.Avx512) HorizontalAvx512(spread, row, layout, destination);
        else if (level >= SimdLevel.Avx2) HorizontalAvx2(spread, row, layout, destination);
        else if (level >= SimdLevel.Vector128) HorizontalVector128(axis, row, layout, destination);
        else HorizontalScalar(axis, row, layout, destination);
    }

    /// <summary>Makes the bytes of an output row.</summary>
    /// <param name="level">Instructions to use.</param>
    /// <param name="axis">The weights.</param>
    /// <param name="output">Number of the output row.</param>
    /// <param name="rows">The rows that have its weights, as many as the axis has taps.</param>
    /// <param name="bytes">Bytes of a row.</param>
    /// <param name="destination">The output row.</param>
    public static void Vertical(SimdLevel level, ResampleAxis axis, int output, byte** rows, int bytes, byte* destination)
    {
        int done = 0;
        if (level >= SimdLevel.Avx512) done = VerticalPairs<Vector512<byte>, Vector512Bytes>(axis, output, rows, 0, bytes, destination);
        if (level >= SimdLevel.Avx2) done = VerticalPairs<Vector256<byte>, Vector256Bytes>(axis, output, rows, done, bytes, destination);
        if (level >= SimdLevel.Vector128) done = VerticalVector128(axis, output, rows, done, bytes, destination);
        VerticalScalar(axis, output, rows, done, bytes, destination);
    }

    /// <summary>Four outputs at a time, two in a vector. Of an output the lower half of its 32 bytes has the first two pixels of a group, the upper half the others.</summary>
    private static void HorizontalAvx512(SpreadWeights weights, byte* row, PixelLayout layout, byte* destination)
    {
        int groups = weights.Groups, groupBytes = ResampleAxis.TapGroup * (int)layout;
        Vector256<byte> half = PairsOf(layout);
        Vector512<byte> places = Vector512.Create(half, half);
        fixed (short* table = weights.Table)
        fixed (int* starts = weights.Starts)
        {
            short* weight = table;
            for (int i = 0; i < weights.Count; i += SpreadWeights.Block, destination += 3 * SpreadWeights.Block)
            {
                Vector512<int> sum01 = Sum(places, row + (nint)starts[i] * (int)layout, row + (nint)starts[i + 1] * (int)layout, groups, groupBytes, weight);
                weight += groups * SpreadWeights.PairLength;
                Vector512<int> sum23 = Sum(places, row + (nint)starts[i + 2] * (int)layout, row + (nint)starts[i + 3] * (int)layout, groups, groupBytes, weight);
                weight += groups * SpreadWeights.PairLength;
                Vector512<int> sum = Avx512F.Shuffle4x128(sum01, sum23, 0b10_00_10_00) + Avx512F.Shuffle4x128(sum01, sum23, 0b11_01_11_01);
                Vector512<int> value = (sum + Vector512.Create(Half)) >> Shift;
                StorePixels(Avx512F.ConvertToVector128ByteWithSaturation(value.AsUInt32()), destination);
            }
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static Vector512<int> Sum(Vector512<byte> places, byte* first, byte* second, int groups, int groupBytes, short* weight)
        {
            Vector512<short> pairs = Pairs(places, first, second);
            Vector512<int> upper = Avx512BW.MultiplyAddAdjacent(pairs, Vector512.Load(weight));
            Vector512<int> lower = Avx512BW.MultiplyAddAdjacent(pairs, Vector512.Load(weight + Vector512<short>.Count));
            while (--groups > 0)
            {
                first += groupBytes;
                second += groupBytes;
                weight += SpreadWeights.PairLength;
                pairs = Pairs(places, first, second);
                upper += Avx512BW.MultiplyAddAdjacent(pairs, Vector512.Load(weight));
                lower += Avx512BW.MultiplyAddAdjacent(pairs, Vector512.Load(weight + Vector512<short>.Count));
            }

            return (upper << ResampleAxis.SplitBits) + lower;
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static Vector512<short> Pairs(Vector512<byte> places, byte* first, byte* second) => Avx512BW.Shuffle(
            Vector512.Create(Avx2.BroadcastVector128ToVector256(first), Avx2.BroadcastVector128ToVector256(second)), places).AsInt16();
    }

    /// <summary>Four outputs at a time, one in a vector.</summary>
    private static void HorizontalAvx2(SpreadWeights weights, byte* row, PixelLayout layout, byte* destination)
    {
        int groups = weights.Groups, groupBytes = ResampleAxis.TapGroup * (int)layout;
        Vector256<byte> places = PairsOf(layout);
        fixed (short* table = weights.Table)
        fixed (int* starts = weights.Starts)
        {
            short* weight = table;
            for (int i = 0; i < weights.Count; i += SpreadWeights.Block, destination += 3 * SpreadWeights.Block)
            {
                Vector256<int> sum0 = Sum(places, row + (nint)starts[i] * (int)layout, groups, groupBytes, weight);
                Vector256<int> sum1 = Sum(places, row + (nint)starts[i + 1] * (int)layout, groups, groupBytes, weight + Vector256<short>.Count);
                weight += groups * SpreadWeights.PairLength;
                Vector256<int> sum2 = Sum(places, row + (nint)starts[i + 2] * (int)layout, groups, groupBytes, weight);
                Vector256<int> sum3 = Sum(places, row + (nint)starts[i + 3] * (int)layout, groups, groupBytes, weight + Vector256<short>.Count);
                weight += groups * SpreadWeights.PairLength;
                Vector256<int> value02 = (Halves(sum0, sum2) + Vector256.Create(Half)) >> Shift, value13 = (Halves(sum1, sum3) + Vector256.Create(Half)) >> Shift;
                Vector256<short> values = Avx2.PackSignedSaturate(value02, value13);
                StorePixels(Sse2.PackUnsignedSaturate(values.GetLower(), values.GetUpper()), destination);
            }
        }

        // The halves of a added up, then those of b.
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static Vector256<int> Halves(Vector256<int> a, Vector256<int> b) => Avx2.Permute2x128(a, b, 0x20) + Avx2.Permute2x128(a, b, 0x31);

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static Vector256<int> Sum(Vector256<byte> places, byte* pixels, int groups, int groupBytes, short* weight)
        {
            Vector256<short> pairs = Avx2.Shuffle(Avx2.BroadcastVector128ToVector256(pixels), places).AsInt16();
            Vector256<int> upper = Avx2.MultiplyAddAdjacent(pairs, Vector256.Load(weight));
            Vector256<int> lower = Avx2.MultiplyAddAdjacent(pairs, Vector256.Load(weight + Vector512<short>.Count));
            while (--groups > 0)
            {
                pixels += groupBytes;
                weight += SpreadWeights.PairLength;
                pairs = Avx2.Shuffle(Avx2.BroadcastVector128ToVector256(pixels), places).AsInt16();
                upper += Avx2.MultiplyAddAdjacent(pairs, Vector256.Load(weight));
                lower += Avx2.MultiplyAddAdjacent(pairs, Vector256.Load(weight + Vector512<short>.Count));
            }

            return (upper << ResampleAxis.SplitBits) + lower;
        }
    }

    /// <summary>Stores three of each four bytes. Writes 16 bytes.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void StorePixels(Vector128<byte> pixels, byte* destination) =>
        Ssse3.Shuffle(pixels, Vector128.Create((byte)0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 0x80, 0x80, 0x80, 0x80)).Store(destination);

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
    private static int VerticalPairs<T, TOps>(ResampleAxis axis, int output, byte** rows, int from, int to, byte* destination)
        where T : struct
        where TOps : IByteVector<T>
    {
        int taps = axis.Taps, c = from;
        fixed (short* high = &axis.High[output * taps], low = &axis.Low[output * taps])
        {
            for (; c <= to - TOps.Count; c += TOps.Count)
            {
                T upper0 = default, upper1 = default, upper2 = default, upper3 = default, lower0 = default, lower1 = default, lower2 = default, lower3 = default;
                for (int t = 0; t < taps; t += 2)
                {
                    int upperPair = *(int*)(high + t), lowerPair = *(int*)(low + t);
                    if ((upperPair | lowerPair) == 0) continue;
                    T a = TOps.Load(rows[t] + c), b = TOps.Load(rows[t + 1] + c);
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

    private static int VerticalVector128(ResampleAxis axis, int output, byte** rows, int from, int to, byte* destination)
    {
        int taps = axis.Taps, c = from;
        ReadOnlySpan<short> high = axis.High.Slice(output * taps, taps), low = axis.Low.Slice(output * taps, taps);
        for (; c <= to - Vector128<byte>.Count; c += Vector128<byte>.Count)
        {
            Vector128<int> sum0 = Vector128.Create(Half), sum1 = sum0, sum2 = sum0, sum3 = sum0;
            for (int t = 0; t < taps; t++)
            {
                int weight = Weight(high[t], low[t]);
                if (weight == 0) continue;
                Vector128<byte> pixels = Vector128.Load(rows[t] + c);
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

    private static void VerticalScalar(ResampleAxis axis, int output, byte** rows, int from, int to, byte* destination)
    {
        int taps = axis.Taps;
        ReadOnlySpan<short> high = axis.High.Slice(output * taps, taps), low = axis.Low.Slice(output * taps, taps);
        for (int c = from; c < to; c++)
        {
            int sum = Half;
            for (int t = 0; t < taps; t++) sum += Weight(high[t], low[t]) * rows[t][c];
            destination[c] = (byte)(sum >> Shift);
        }
    }

    private static int Weight(short high, short low) => (high << ResampleAxis.SplitBits) + low;
}
