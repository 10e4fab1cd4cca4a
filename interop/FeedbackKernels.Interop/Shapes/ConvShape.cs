namespace FeedbackKernels.Interop;

/// <summary>
/// The sizes of one convolution in the project's alphabet. Activations are NHWC and NPQK, forward weights
/// <c>W[R][S][C][K]</c>, feedback weights <c>B[R][S][K][C]</c>; dilation is 1. A linear layer is the 1x1 case on a 1x1 map.
/// </summary>
public readonly record struct ConvShape
{
    /// <summary>Checks the sizes and computes <see cref="P"/> and <see cref="Q"/>.</summary>
    /// <param name="n">Images.</param>
    /// <param name="h">Input rows.</param>
    /// <param name="w">Input columns.</param>
    /// <param name="c">Input channels.</param>
    /// <param name="k">Output channels.</param>
    /// <param name="r">Filter rows.</param>
    /// <param name="s">Filter columns.</param>
    /// <param name="stride">Stride in both directions.</param>
    /// <param name="padding">Rows and columns of zeros on each side.</param>
    /// <exception cref="ArgumentOutOfRangeException">A size is not positive, the padding is negative, the filter is
    /// larger than the padded input, the padded input and a stride are more than 2^31 - 1 rows or columns together, or a tensor
    /// would have more than 2^40 elements, a filter more than 2^31 - 1.</exception>
    public ConvShape(int n, int h, int w, int c, int k, int r, int s, int stride, int padding)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(n);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(h);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(w);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(c);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(k);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(r);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(s);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(stride);
        ArgumentOutOfRangeException.ThrowIfNegative(padding);
        if (r > h + 2L * padding)
            throw new ArgumentOutOfRangeException(nameof(r), r, $"a filter of {r} rows does not fit {h} rows padded by {padding}");
        if (s > w + 2L * padding)
            throw new ArgumentOutOfRangeException(nameof(s), s, $"a filter of {s} columns does not fit {w} columns padded by {padding}");
        // Kernels count rows and columns in 32 bits, up to a stride from the last one.
        long padded = Math.Max(h, w) + 2L * padding;
        if (padded > int.MaxValue)
            throw new ArgumentOutOfRangeException(nameof(padding), padding, $"{h}x{w} pixels padded on all sides are more than {int.MaxValue} in a row");
        if (stride - 1 > int.MaxValue - padded)
            throw new ArgumentOutOfRangeException(nameof(stride), stride, $"with {padded} padded pixels in a row more than {int.MaxValue}");
        (N, H, W, C, K, R, S, Stride, Padding) = (n, h, w, c, k, r, s, stride, padding);
        P = (int)((h + 2L * padding - r) / stride + 1);
        Q = (int)((w + 2L * padding - s) / stride + 1);
        InputLength = ElementCount.Of("N*H*W*C", n, h, w, c);
        OutputLength = ElementCount.Of("N*P*Q*K", n, P, Q, k);
        WeightLength = ElementCount.Of("R*S*C*K", r, s, c, k);
        FanIn = ElementCount.Of32("R*S*C", r, s, c);
    }

    /// <summary>Images.</summary>
    public int N { get; }

    /// <summary>Input rows.</summary>
    public int H { get; }

    /// <summary>Input columns.</summary>
    public int W { get; }

    /// <summary>Input channels.</summary>
    public int C { get; }

    /// <summary>Output channels.</summary>
    public int K { get; }

    /// <summary>Filter rows.</summary>
    public int R { get; }

    /// <summary>Filter columns.</summary>
    public int S { get; }

    /// <summary>Output rows: (H + 2 * Padding - R) / Stride + 1, rounded down (Dumoulin and Visin 2016).</summary>
    public int P { get; }

    /// <summary>Output columns: (W + 2 * Padding - S) / Stride + 1, rounded down.</summary>
    public int Q { get; }

    /// <summary>Input pixels from one output pixel to the next, in both directions (u).</summary>
    public int Stride { get; }

    /// <summary>Rows and columns of zeros on each side of the input (z).</summary>
    public int Padding { get; }

    /// <summary>Elements of x and dx: N*H*W*C.</summary>
    public long InputLength { get; }

    /// <summary>Elements of y and dy: N*P*Q*K.</summary>
    public long OutputLength { get; }

    /// <summary>Elements of W, B, dW: R*S*C*K.</summary>
    public long WeightLength { get; }

    /// <summary>Floating-point operations of a direct convolution: 2*N*P*Q*K*C*R*S. Taps on the padding count.</summary>
    public double Flops => 2.0 * OutputLength * C * R * S;

    /// <summary>Inputs of one output: d = R*S*C.</summary>
    public int FanIn { get; }

    /// <summary>A linear layer: n rows of c inputs to k outputs.</summary>
    /// <param name="n">Rows: images.</param>
    /// <param name="c">Inputs.</param>
    /// <param name="k">Outputs.</param>
    /// <exception cref="ArgumentOutOfRangeException">A number is not positive, or a tensor would have more than 2^40 elements.</exception>
    public static ConvShape Linear(int n, int c, int k) => new(n, 1, 1, c, k, 1, 1, 1, 0);

    /// <summary>The same layer for another number of images.</summary>
    /// <param name="n">Images.</param>
    /// <exception cref="ArgumentOutOfRangeException">The number is not positive, or a tensor would have more than 2^40 elements.</exception>
    public ConvShape WithBatch(int n) => n == N ? this : new ConvShape(n, H, W, C, K, R, S, Stride, Padding);

    /// <summary>A layer with C and K exchanged, whose W has the layout of this layer's B, and whose B that of its W: for
    /// <see cref="Backend.TransposedCombine"/> from B to W. Its maps are of one pixel.</summary>
    public ConvShape Transpose() => new(1, R, S, K, C, R, S, 1, 0);

    /// <inheritdoc/>
    public override string ToString() =>
        $"N{N} {H}x{W}x{C} -> {P}x{Q}x{K}, {R}x{S} stride {Stride} padding {Padding}";
}
