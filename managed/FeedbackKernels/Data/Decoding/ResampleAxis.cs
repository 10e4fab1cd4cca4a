namespace FeedbackKernels.Data;

/// <summary>
/// The weights of the resize along one axis: for each output, the first source pixel that it needs and the weights of that and the
/// following ones. It is the triangle filter of Pillow's BILINEAR (precompute_coeffs and normalize_coeffs_8bpc of Resample.c): one source
/// pixel wide or, when downscaling, as wide as the scale, weights normalised and rounded to <see cref="PrecisionBits"/> bits.
/// </summary>
/// <remarks>
/// A weight w is kept as two 16-bit numbers, w = High * 2^<see cref="SplitBits"/> + Low, because the vector instruction that multiplies and
/// adds takes 16-bit numbers. All outputs have <see cref="Taps"/> weights; the superfluous ones are zero.
/// </remarks>
internal sealed class ResampleAxis
{
    /// <summary>Fractional bits of a weight: 8 bits of the pixel and 2 bits for sums beyond 1 remain of 32.</summary>
    public const int PrecisionBits = 32 - 8 - 2;

    /// <summary>Bits of the lower part of a weight.</summary>
    public const int SplitBits = 11;

    /// <summary>The number of weights is a multiple of this.</summary>
    public const int TapGroup = 4;

    private int[] _starts = [], _ends = [];
    private short[] _high = [], _low = [];
    private double[] _weights = [];
    private int[] _fixed = [];

    /// <summary>Number of outputs.</summary>
    public int Count { get; private set; }

    /// <summary>Weights of each output.</summary>
    public int Taps { get; private set; }

    /// <summary>First source pixel that any output needs.</summary>
    public int First { get; private set; }

    /// <summary>The pixel after the last that any output needs.</summary>
    public int End { get; private set; }

    /// <summary>First source pixel of an output.</summary>
    public ReadOnlySpan<int> Starts => _starts.AsSpan(0, Count);

    /// <summary>The pixel after the last that an output needs.</summary>
    public ReadOnlySpan<int> Ends => _ends.AsSpan(0, Count);

    /// <summary>Upper parts of the weights, [Count][Taps].</summary>
    public ReadOnlySpan<short> High => _high.AsSpan(0, Count * Taps);

    /// <summary>Lower parts of the weights, [Count][Taps].</summary>
    public ReadOnlySpan<short> Low => _low.AsSpan(0, Count * Taps);

    /// <summary>Computes the weights.</summary>
    /// <param name="box">The part of the upright axis that is resized, in pixels of the whole image.</param>
    /// <param name="outputs">What it is resized to.</param>
    /// <param name="window">The outputs that are wanted.</param>
    /// <param name="length">Pixels of the axis in the whole image.</param>
    /// <param name="denominator">The source is decoded at 1/denominator of its size.</param>
    /// <param name="reversed">Whether the source has the axis backwards.</param>
    /// <param name="flip">Whether the outputs are wanted in reverse order.</param>
    public void Build((int Start, int Length) box, int outputs, (int Start, int Length) window, int length, int denominator, bool reversed, bool flip)
    {
        // Coordinates are those of the upright axis at the scale of the source. A reversed source counts from its own end, so that
        // the weights are the mirrored ones, bit for bit.
        int scaledLength = (length + denominator - 1) / denominator;
        double start = reversed ? scaledLength - (double)(length - box.Start) / denominator : (double)box.Start / denominator;
        double end = start + (double)box.Length / denominator;
        int first = Math.Max(0, (int)Math.Floor(start)), size = Math.Min(scaledLength, (int)Math.Ceiling(end)) - first;
        double offset = start - first, scale = (double)box.Length / denominator / outputs;
        double filterScale = Math.Max(scale, 1), inverse = 1 / filterScale;
        Reserve(window.Length, (int)Math.Ceiling(filterScale) * 2 + 1);
        for (int i = 0; i < window.Length; i++)
        {
            double centre = offset + (window.Start + i + 0.5) * scale;
            int from = Math.Max(0, (int)(centre - filterScale + 0.5)), to = Math.Min(size, (int)(centre + filterScale + 0.5));
            double sum = 0;
            for (int x = from; x < to; x++)
            {
                double distance = Math.Abs((x - centre + 0.5) * inverse);
                sum += _weights[x - from] = distance < 1 ? 1 - distance : 0;
            }

            Set(flip ? window.Length - 1 - i : i, first + from, to - from, sum, reversed ? scaledLength : null);
        }

        Pad();
    }

    private void Reserve(int count, int taps)
    {
        Count = count;
        Taps = (taps + TapGroup - 1) / TapGroup * TapGroup;
        if (_starts.Length < count) (_starts, _ends) = (new int[count], new int[count]);
        if (_weights.Length < taps) (_weights, _fixed) = (new double[taps], new int[taps]);
        if (_high.Length < count * Taps) (_high, _low) = (new short[count * Taps], new short[count * Taps]);
    }

    private void Set(int output, int start, int count, double sum, int? mirror)
    {
        int first = -1, last = -1;
        for (int i = 0; i < count; i++)
        {
            int weight = _fixed[i] = (int)(0.5 + _weights[i] / sum * (1 << PrecisionBits));
            if (weight == 0) continue;
            if (first < 0) first = i;
            last = i;
        }

        int place = output * Taps;
        for (int i = first; i <= last; i++, place++)
        {
            int weight = _fixed[mirror is null ? i : first + last - i];
            _high[place] = (short)(weight >> SplitBits);
            _low[place] = (short)(weight & ((1 << SplitBits) - 1));
        }

        _starts[output] = mirror is { } length ? length - (start + last + 1) : start + first;
        _ends[output] = _starts[output] + last + 1 - first;
    }

    /// <summary>Gives all outputs as few weights as the widest needs, and lets none of them reach beyond the pixels that any needs if that
    /// can be avoided.</summary>
    private void Pad()
    {
        (First, End) = (int.MaxValue, 0);
        int widest = 0;
        for (int i = 0; i < Count; i++)
        {
            First = Math.Min(First, _starts[i]);
            End = Math.Max(End, _ends[i]);
            widest = Math.Max(widest, _ends[i] - _starts[i]);
        }

        int taps = (widest + TapGroup - 1) / TapGroup * TapGroup;
        for (int i = 0; i < Count; i++)
        {
            int shift = Math.Clamp(_starts[i] + taps - End, 0, _starts[i] - First), used = _ends[i] - _starts[i];
            Move(_high, i, taps, shift, used);
            Move(_low, i, taps, shift, used);
            _starts[i] -= shift;
        }

        Taps = taps;
    }

    private void Move(short[] parts, int output, int taps, int shift, int used)
    {
        Span<short> target = parts.AsSpan(output * taps, taps);
        parts.AsSpan(output * Taps, used).CopyTo(target[shift..]);
        target[..shift].Clear();
        target[(shift + used)..].Clear();
    }
}
