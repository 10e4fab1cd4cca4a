using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;

namespace FeedbackKernels.Interop;

/// <summary>
/// Conversions between the layouts of this library (activations NHWC, forward weights [R][S][C][K], feedback weights [R][S][K][C]) and
/// those of PyTorch, ONNX and most other programs (activations NCHW, weights OIHW, which is [K][C][R][S]; feedback weights have the layout
/// of the forward weights there). They run on the calling thread and allocate nothing. Numbers are copied as they are, so a conversion
/// there and back gives the same bits. Activations of 8 MB and more are fastest if the destination starts at a cache line (an address that
/// is a multiple of 64) and its rows fill whole lines (16 channels, or 16 pixels of a channel, or a multiple): they are written past the
/// caches then.
/// </summary>
/// <remarks>
/// Exceptions of all conversions: <see cref="ArgumentOutOfRangeException"/> for a size that is not positive, or sizes with a product of
/// more than 2^40; <see cref="ArgumentException"/> for a span that is too short, and for spans that overlap. Nothing is written in these
/// cases.
/// </remarks>
public static unsafe class TensorLayouts
{
    // Side of the square that goes through a buffer on the stack: 16 KiB, half of the smallest L1.
    private const int Block = 64;

    // From here on a result does not stay in the caches, and reading its lines before they are overwritten costs a third of the traffic: on an
    // EPYC, of 25 MB, three times faster to NHWC and 1.5 times to NCHW, while below 8 MB the usual stores are faster.
    private const long NonTemporalBytes = 8 * 1024 * 1024;

    /// <summary>Activations of <paramref name="n"/> images: destination[n][h][w][c] = source[n][c][h][w].</summary>
    /// <param name="source">NCHW.</param>
    /// <param name="destination">NHWC.</param>
    /// <param name="n">Images.</param>
    /// <param name="c">Channels.</param>
    /// <param name="h">Rows.</param>
    /// <param name="w">Columns.</param>
    public static void NchwToNhwc(ReadOnlySpan<float> source, Span<float> destination, int n, int c, int h, int w)
    {
        long length = RequireSizes(source, destination, "N*C*H*W", n, c, h, w), pixels = length / n / c;
        bool nonTemporal = IsLarge(length);
        fixed (float* from = source, to = destination)
        {
            for (long image = 0; image < n; image++)
                Transpose(from + image * c * pixels, (nint)pixels, c, pixels, to + image * c * pixels, c, nonTemporal);
        }
    }

    /// <summary>Activations of <paramref name="n"/> images: destination[n][c][h][w] = source[n][h][w][c].</summary>
    /// <param name="source">NHWC.</param>
    /// <param name="destination">NCHW.</param>
    /// <param name="n">Images.</param>
    /// <param name="c">Channels.</param>
    /// <param name="h">Rows.</param>
    /// <param name="w">Columns.</param>
    public static void NhwcToNchw(ReadOnlySpan<float> source, Span<float> destination, int n, int c, int h, int w)
    {
        long length = RequireSizes(source, destination, "N*H*W*C", n, h, w, c), pixels = length / n / c;
        bool nonTemporal = IsLarge(length);
        fixed (float* from = source, to = destination)
        {
            for (long image = 0; image < n; image++)
                Transpose(from + image * c * pixels, c, pixels, c, to + image * c * pixels, (nint)pixels, nonTemporal);
        }
    }

    /// <summary>Forward weights: destination[r][s][c][k] = source[k][c][r][s].</summary>
    /// <param name="source">OIHW, or [out][in] of a linear layer with r and s of 1.</param>
    /// <param name="destination">[R][S][C][K].</param>
    /// <param name="k">Output channels.</param>
    /// <param name="c">Input channels.</param>
    /// <param name="r">Filter rows.</param>
    /// <param name="s">Filter columns.</param>
    public static void OihwToForward(ReadOnlySpan<float> source, Span<float> destination, int k, int c, int r, int s)
    {
        RequireSizes(source, destination, "K*C*R*S", k, c, r, s);
        fixed (float* from = source, to = destination) MoveForward(from, to, k, c, (long)r * s, toOihw: false);
    }

    /// <summary>Forward weights: destination[k][c][r][s] = source[r][s][c][k].</summary>
    /// <param name="source">[R][S][C][K].</param>
    /// <param name="destination">OIHW, or [out][in] of a linear layer with r and s of 1.</param>
    /// <param name="k">Output channels.</param>
    /// <param name="c">Input channels.</param>
    /// <param name="r">Filter rows.</param>
    /// <param name="s">Filter columns.</param>
    public static void ForwardToOihw(ReadOnlySpan<float> source, Span<float> destination, int k, int c, int r, int s)
    {
        RequireSizes(source, destination, "R*S*C*K", r, s, c, k);
        fixed (float* from = source, to = destination) MoveForward(to, from, k, c, (long)r * s, toOihw: true);
    }

    /// <summary>Feedback weights: destination[r][s][k][c] = source[k][c][r][s].</summary>
    /// <param name="source">OIHW, or [out][in] of a linear layer with r and s of 1.</param>
    /// <param name="destination">[R][S][K][C].</param>
    /// <param name="k">Output channels of the layer.</param>
    /// <param name="c">Input channels of the layer.</param>
    /// <param name="r">Filter rows.</param>
    /// <param name="s">Filter columns.</param>
    public static void OihwToFeedback(ReadOnlySpan<float> source, Span<float> destination, int k, int c, int r, int s)
    {
        RequireSizes(source, destination, "K*C*R*S", k, c, r, s);
        long taps = (long)r * s, row = c * taps;
        fixed (float* from = source, to = destination)
        {
            for (long i = 0; i < k; i++) Transpose(from + i * row, (nint)taps, c, taps, to + i * c, (nint)k * c);
        }
    }

    /// <summary>Feedback weights: destination[k][c][r][s] = source[r][s][k][c].</summary>
    /// <param name="source">[R][S][K][C].</param>
    /// <param name="destination">OIHW, or [out][in] of a linear layer with r and s of 1.</param>
    /// <param name="k">Output channels of the layer.</param>
    /// <param name="c">Input channels of the layer.</param>
    /// <param name="r">Filter rows.</param>
    /// <param name="s">Filter columns.</param>
    public static void FeedbackToOihw(ReadOnlySpan<float> source, Span<float> destination, int k, int c, int r, int s)
    {
        RequireSizes(source, destination, "R*S*K*C", r, s, k, c);
        long taps = (long)r * s, row = c * taps;
        fixed (float* from = source, to = destination)
        {
            for (long i = 0; i < k; i++) Transpose(from + i * c, (nint)k * c, taps, c, to + i * row, (nint)taps);
        }
    }

    /// <summary>OIHW is a matrix of K rows and C*R*S columns. Its transpose has rows of K numbers, and [R][S][C][K] has the same rows in
    /// another order, so squares go through a small buffer.</summary>
    private static void MoveForward(float* oihw, float* forward, int k, int c, long taps, bool toOihw)
    {
        long width = c * taps;
        if (taps == 1)
        {
            if (toOihw) Transpose(forward, k, c, k, oihw, c, IsLarge(width * k));
            else Transpose(oihw, c, k, c, forward, k, IsLarge(width * k));
            return;
        }

        float* stack = stackalloc float[Block * Block + Caches.LineFloats], buffer = Caches.LineStart(stack);
        for (int firstK = 0; firstK < k; firstK += Block)
        {
            int rows = Math.Min(Block, k - firstK);
            for (long first = 0; first < width; first += Block)
            {
                int columns = (int)Math.Min(Block, width - first);
                float* square = oihw + firstK * width + first;
                if (!toOihw) Transpose(square, (nint)width, rows, columns, buffer, Block);
                (long channel, long tap) = Math.DivRem(first, taps);
                for (int i = 0; i < columns; i++)
                {
                    float* row = forward + (tap * c + channel) * k + firstK, part = buffer + i * Block;
                    if (toOihw) Unsafe.CopyBlockUnaligned(part, row, (uint)rows * sizeof(float));
                    else Unsafe.CopyBlockUnaligned(row, part, (uint)rows * sizeof(float));
                    if (++tap < taps) continue;
                    tap = 0;
                    channel++;
                }

                if (toOihw) Transpose(buffer, Block, columns, rows, square, (nint)width);
            }
        }
    }

    /// <summary>Transposes a matrix in parts. Of a tall one a part has one vector of columns, so that few rows are written at a time (16
    /// instead of 64 made it 1.3 to 1.7 times faster); otherwise it stays in L1 while the rows that fill no vector are finished.</summary>
    private static void Transpose(
        float* source, nint sourceStride, long rows, long columns, float* destination, nint destinationStride, bool nonTemporal = false)
    {
        const int longest = 1024;
        if (InterleaveKernel.TryRun(source, sourceStride, rows, columns, destination, destinationStride)) return;
        CpuKernels* kernels = CpuKernels.For(Level(Math.Min(rows, columns)));
        nonTemporal &= IsInWholeLines(destination, destinationStride);
        var transpose = nonTemporal ? kernels->TransposeNonTemporal : kernels->Transpose;
        int lanes = kernels->Tiles.Lanes;
        long columnsOfPart = rows > columns && columns >= 2 * lanes ? lanes : longest;
        for (long row = 0; row < rows; row += longest)
        {
            for (long column = 0; column < columns; column += columnsOfPart)
            {
                transpose(
                    source + row * sourceStride + column, sourceStride, (int)Math.Min(longest, rows - row), (int)Math.Min(columnsOfPart, columns - column),
                    destination + column * destinationStride + row, destinationStride);
            }
        }

        // Stores past the caches are not ordered before later ones, by which another thread may learn that the result is there.
        if (nonTemporal && Sse.IsSupported) Sse.StoreFence();
    }

    private static bool IsLarge(long length) => length * sizeof(float) >= NonTemporalBytes;

    private static bool IsInWholeLines(float* destination, nint stride) => ((nuint)destination | (nuint)stride * sizeof(float)) % Caches.LineBytes == 0;

    /// <summary>The widest vectors that a side fills: nine taps fill one of eight numbers, but none of sixteen.</summary>
    private static SimdLevel Level(long side)
    {
        SimdLevel level = SimdLevels.Widest;
        while (level > SimdLevel.Scalar && (!SimdLevels.IsSupported(level) || CpuKernels.For(level)->Tiles.Lanes > side)) level--;
        return level;
    }

    private static long RequireSizes(
        ReadOnlySpan<float> source, Span<float> destination, string product, int first, int second, int third, int fourth)
    {
        long length = ElementCount.Of(product, first, second, third, fourth);
        if (source.Length < length) throw new ArgumentException($"has {source.Length} elements, wanted {product} = {length}", nameof(source));
        if (destination.Length < length)
            throw new ArgumentException($"has {destination.Length} elements, wanted {product} = {length}", nameof(destination));
        if (source[..(int)length].Overlaps(destination[..(int)length])) throw new ArgumentException("overlaps 'source'", nameof(destination));
        return length;
    }
}
