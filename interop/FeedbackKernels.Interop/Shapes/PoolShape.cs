namespace FeedbackKernels.Interop;

/// <summary>The sizes of a pooling: windows of R by S over N images of H by W by C, stride u, padding z.</summary>
public readonly record struct PoolShape
{
    /// <summary>Checks the sizes and computes <see cref="P"/> and <see cref="Q"/>.</summary>
    /// <param name="n">Images.</param>
    /// <param name="h">Input rows.</param>
    /// <param name="w">Input columns.</param>
    /// <param name="c">Channels.</param>
    /// <param name="r">Window rows.</param>
    /// <param name="s">Window columns.</param>
    /// <param name="stride">Stride in both directions.</param>
    /// <param name="padding">Rows and columns that are left out, on each side.</param>
    /// <exception cref="ArgumentOutOfRangeException">A size is not positive, the window does not fit, a window could lie wholly
    /// on the padding, the padded input and a stride are more than 2^31 - 1 rows or columns together, an image has more than 2^31 - 1
    /// pixels (which positions count), or a tensor would have more than 2^40 elements.</exception>
    public PoolShape(int n, int h, int w, int c, int r, int s, int stride, int padding)
    {
        // A window of padding alone has neither maximum nor mean.
        if (padding >= Math.Min(r, s))
            throw new ArgumentOutOfRangeException(nameof(padding), padding, $"wanted less than the window, {r}x{s}");
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(c);
        var oneChannel = new ConvShape(n, h, w, 1, 1, r, s, stride, padding);
        (N, H, W, C, R, S, Stride, Padding) = (n, h, w, c, r, s, stride, padding);
        (P, Q) = (oneChannel.P, oneChannel.Q);
        ElementCount.Of32("H*W", h, w);
        InputLength = ElementCount.Of("N*H*W*C", n, h, w, c);
        OutputLength = ElementCount.Of("N*P*Q*C", n, P, Q, c);
    }

    /// <summary>Images.</summary>
    public int N { get; }

    /// <summary>Input rows.</summary>
    public int H { get; }

    /// <summary>Input columns.</summary>
    public int W { get; }

    /// <summary>Channels.</summary>
    public int C { get; }

    /// <summary>Window rows.</summary>
    public int R { get; }

    /// <summary>Window columns.</summary>
    public int S { get; }

    /// <summary>Output rows: (H + 2 * Padding - R) / Stride + 1, rounded down (Dumoulin and Visin 2016).</summary>
    public int P { get; }

    /// <summary>Output columns: (W + 2 * Padding - S) / Stride + 1, rounded down.</summary>
    public int Q { get; }

    /// <summary>Input pixels from one window to the next.</summary>
    public int Stride { get; }

    /// <summary>Rows and columns of padding on every side. Padding is never the maximum and never counts in a mean.</summary>
    public int Padding { get; }

    /// <summary>Elements of x: N*H*W*C.</summary>
    public long InputLength { get; }

    /// <summary>Elements of y: N*P*Q*C.</summary>
    public long OutputLength { get; }

    /// <summary>One window over the whole map: global pooling (Lin, Chen and Yan 2014, section 3.2).</summary>
    /// <param name="n">Images.</param>
    /// <param name="h">Rows.</param>
    /// <param name="w">Columns.</param>
    /// <param name="c">Channels.</param>
    /// <exception cref="ArgumentOutOfRangeException">A size is not positive, an image has more than 2^31 - 1 pixels, or a tensor would have
    /// more than 2^40 elements.</exception>
    public static PoolShape Global(int n, int h, int w, int c) => new(n, h, w, c, h, w, 1, 0);

    /// <summary>The same pooling for another number of images.</summary>
    /// <param name="n">Images.</param>
    /// <exception cref="ArgumentOutOfRangeException">The number is not positive, or a tensor would have more than 2^40 elements.</exception>
    public PoolShape WithBatch(int n) => n == N ? this : new PoolShape(n, H, W, C, R, S, Stride, Padding);
}
