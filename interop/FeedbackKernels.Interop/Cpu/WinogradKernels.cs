using System.Runtime.CompilerServices;

namespace FeedbackKernels.Interop;

/// <summary>What a Winograd transform is handed. Strides are in floats.</summary>
internal unsafe struct WinogradArguments
{
    /// <summary>Transforms of an input or an error: addresses of the 6x6 or 4x4 pixels of a tile, row by row; those outside
    /// the map point to zeros.</summary>
    public float** Pixels;

    /// <summary>Weight transform: the taps, <see cref="SourceStride"/> apart. Output and gradient transforms: the 36 products.</summary>
    public float* Source;
    public nint SourceStride;

    /// <summary>Where the transformed numbers go: points of the transform, or output rows, are DestinationStride apart.</summary>
    public float* Destination;
    public nint DestinationStride;

    /// <summary>Output transform: floats from an output pixel to the next, and how many rows and columns are wanted.</summary>
    public nint PixelStride;
    public int Rows, Columns;
    public bool Accumulate;

    /// <summary>Output transform: the channels' shifts, and behind them their sums of deviations and of squared deviations,
    /// which are added to; null where no statistics are wanted.</summary>
    public float* Shift;

    /// <summary>Channels; a multiple of the vector's lanes.</summary>
    public nint Channels;

    /// <summary>Transform of an error: the first of the pixels' channels.</summary>
    public nint FirstChannel;
}

/// <summary>
/// The transforms of Winograd's F(4x4, 3x3) (Lavin and Gray 2016), vectorised over channels: input d to Bᵀ d B, weights g to
/// G g Gᵀ, products m to Aᵀ m A, with interpolation points 0, ±1, ±2 and infinity; and those of its adjoint in the weights:
/// error e to A e Aᵀ, products m to Gᵀ m G. Each is a transform of columns into a small buffer on the stack, then of rows.
/// </summary>
internal static unsafe class WinogradKernels<TVector, TOps>
    where TVector : unmanaged
    where TOps : unmanaged, IVectorOps<TVector>
{
    private const int MostLanes = 16;

    /// <summary>The next cache line: a vector that straddles two costs two accesses.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static float* Aligned(float* buffer) => (float*)(((nint)buffer + 63) & ~63);

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Input(WinogradArguments* t)
    {
        float* columns = stackalloc float[37 * MostLanes];
        columns = Aligned(columns);
        nint lanes = TOps.Count, stride = t->DestinationStride;
        float** p = t->Pixels;
        for (nint c = 0; c < t->Channels; c += lanes)
        {
            for (int j = 0; j < 6; j++)
            {
                Input(
                    TOps.Load(p[j] + c), TOps.Load(p[6 + j] + c), TOps.Load(p[12 + j] + c), TOps.Load(p[18 + j] + c),
                    TOps.Load(p[24 + j] + c), TOps.Load(p[30 + j] + c), columns + j * lanes, 6 * lanes);
            }

            float* row = columns, destination = t->Destination + c;
            for (int i = 0; i < 6; i++, row += 6 * lanes, destination += 6 * stride)
            {
                Input(
                    TOps.Load(row), TOps.Load(row + lanes), TOps.Load(row + 2 * lanes), TOps.Load(row + 3 * lanes),
                    TOps.Load(row + 4 * lanes), TOps.Load(row + 5 * lanes), destination, stride);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Weights(WinogradArguments* t)
    {
        float* columns = stackalloc float[19 * MostLanes];
        columns = Aligned(columns);
        nint lanes = TOps.Count, tap = t->SourceStride, stride = t->DestinationStride;
        for (nint c = 0; c < t->Channels; c += lanes)
        {
            float* g = t->Source + c;
            for (int s = 0; s < 3; s++, g += tap)
                Weights(TOps.Load(g), TOps.Load(g + 3 * tap), TOps.Load(g + 6 * tap), columns + s * lanes, 3 * lanes);
            float* row = columns, destination = t->Destination + c;
            for (int i = 0; i < 6; i++, row += 3 * lanes, destination += 6 * stride)
                Weights(TOps.Load(row), TOps.Load(row + lanes), TOps.Load(row + 2 * lanes), destination, stride);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Output(WinogradArguments* t)
    {
        float* columns = stackalloc float[29 * MostLanes];
        columns = Aligned(columns);
        float* pixels = columns + 24 * MostLanes;
        nint lanes = TOps.Count, point = t->SourceStride;
        for (nint c = 0; c < t->Channels; c += lanes)
        {
            float* m = t->Source + c;
            for (int j = 0; j < 6; j++, m += point)
            {
                Output(
                    TOps.Load(m), TOps.Load(m + 6 * point), TOps.Load(m + 12 * point), TOps.Load(m + 18 * point),
                    TOps.Load(m + 24 * point), TOps.Load(m + 30 * point), columns + j * lanes, 6 * lanes);
            }

            float* row = columns;
            bool direct = t->Columns == 4 && !t->Accumulate;
            for (int i = 0; i < t->Rows; i++, row += 6 * lanes)
            {
                float* y = t->Destination + i * t->DestinationStride + c;
                Output(
                    TOps.Load(row), TOps.Load(row + lanes), TOps.Load(row + 2 * lanes), TOps.Load(row + 3 * lanes),
                    TOps.Load(row + 4 * lanes), TOps.Load(row + 5 * lanes), direct ? y : pixels, direct ? t->PixelStride : lanes);
                if (!direct)
                {
                    for (int j = 0; j < t->Columns; j++)
                    {
                        TVector value = TOps.Load(pixels + j * lanes);
                        TOps.Store(t->Accumulate ? TOps.Add(TOps.Load(y + j * t->PixelStride), value) : value, y + j * t->PixelStride);
                    }
                }
            }

            if (t->Shift != null) AddStatistics(t, c);
        }
    }

    /// <summary>The statistics of a tile's outputs, which are in L1.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void AddStatistics(WinogradArguments* t, nint c)
    {
        float* shifts = t->Shift + c, sums = shifts + t->Channels, squareSums = sums + t->Channels;
        TVector shift = TOps.Load(shifts), sum = TOps.Zero, squares = TOps.Zero;
        for (int i = 0; i < t->Rows; i++)
        {
            float* y = t->Destination + i * t->DestinationStride + c;
            for (int j = 0; j < t->Columns; j++, y += t->PixelStride)
            {
                TVector deviation = TOps.Subtract(TOps.Load(y), shift);
                sum = TOps.Add(sum, deviation);
                squares = TOps.MultiplyAdd(deviation, deviation, squares);
            }
        }

        TOps.Store(TOps.Add(TOps.Load(sums), sum), sums);
        TOps.Store(TOps.Add(TOps.Load(squareSums), squares), squareSums);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Error(WinogradArguments* t)
    {
        float* columns = stackalloc float[25 * MostLanes];
        columns = Aligned(columns);
        nint lanes = TOps.Count, stride = t->DestinationStride;
        float** p = t->Pixels;
        for (nint c = 0; c < t->Channels; c += lanes)
        {
            nint channel = t->FirstChannel + c;
            for (int j = 0; j < 4; j++)
            {
                Error(
                    TOps.Load(p[j] + channel), TOps.Load(p[4 + j] + channel), TOps.Load(p[8 + j] + channel), TOps.Load(p[12 + j] + channel),
                    columns + j * lanes, 4 * lanes);
            }

            float* row = columns, destination = t->Destination + c;
            for (int i = 0; i < 6; i++, row += 4 * lanes, destination += 6 * stride)
                Error(TOps.Load(row), TOps.Load(row + lanes), TOps.Load(row + 2 * lanes), TOps.Load(row + 3 * lanes), destination, stride);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Gradient(WinogradArguments* t)
    {
        float* columns = stackalloc float[19 * MostLanes];
        columns = Aligned(columns);
        nint lanes = TOps.Count, point = t->SourceStride, tap = t->DestinationStride;
        for (nint c = 0; c < t->Channels; c += lanes)
        {
            float* m = t->Source + c;
            for (int j = 0; j < 6; j++, m += point)
            {
                Gradient(
                    TOps.Load(m), TOps.Load(m + 6 * point), TOps.Load(m + 12 * point), TOps.Load(m + 18 * point),
                    TOps.Load(m + 24 * point), TOps.Load(m + 30 * point), columns + j * lanes, 6 * lanes);
            }

            float* row = columns, destination = t->Destination + c;
            for (int i = 0; i < 3; i++, row += 6 * lanes, destination += 3 * tap)
            {
                Gradient(
                    TOps.Load(row), TOps.Load(row + lanes), TOps.Load(row + 2 * lanes), TOps.Load(row + 3 * lanes),
                    TOps.Load(row + 4 * lanes), TOps.Load(row + 5 * lanes), destination, tap);
            }
        }
    }

    /// <summary>Bᵀ: rows (4 0 -5 0 1 0), (0 -4 -4 1 1 0), (0 4 -4 -1 1 0), (0 -2 -1 2 1 0), (0 2 -1 -2 1 0), (0 4 0 -5 0 1).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Input(TVector d0, TVector d1, TVector d2, TVector d3, TVector d4, TVector d5, float* o, nint stride)
    {
        TVector two = TOps.Broadcast(2), four = TOps.Broadcast(4), minusFour = TOps.Broadcast(-4), minusFive = TOps.Broadcast(-5);
        TVector even = TOps.Subtract(d4, d2), odd = TOps.Subtract(d3, d1);
        TOps.Store(TOps.MultiplyAdd(d0, four, TOps.MultiplyAdd(d2, minusFive, d4)), o);
        TOps.Store(TOps.MultiplyAdd(TOps.Add(d1, d2), minusFour, TOps.Add(d3, d4)), o + stride);
        TOps.Store(TOps.MultiplyAdd(TOps.Subtract(d1, d2), four, TOps.Subtract(d4, d3)), o + 2 * stride);
        TOps.Store(TOps.MultiplyAdd(odd, two, even), o + 3 * stride);
        TOps.Store(TOps.MultiplyAdd(odd, TOps.Broadcast(-2), even), o + 4 * stride);
        TOps.Store(TOps.MultiplyAdd(d1, four, TOps.MultiplyAdd(d3, minusFive, d5)), o + 5 * stride);
    }

    /// <summary>G: rows (1/4 0 0), (-1/6 -1/6 -1/6), (-1/6 1/6 -1/6), (1/24 1/12 1/6), (1/24 -1/12 1/6), (0 0 1).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Weights(TVector g0, TVector g1, TVector g2, float* o, nint stride)
    {
        TVector sixth = TOps.Broadcast(1f / 6), twelfth = TOps.Broadcast(1f / 12);
        TVector ends = TOps.Multiply(TOps.Add(g0, g2), TOps.Broadcast(-1f / 6));
        TVector far = TOps.MultiplyAdd(g0, TOps.Broadcast(1f / 24), TOps.Multiply(g2, sixth));
        TVector middle = TOps.Multiply(g1, sixth), farMiddle = TOps.Multiply(g1, twelfth);
        TOps.Store(TOps.Multiply(g0, TOps.Broadcast(0.25f)), o);
        TOps.Store(TOps.Subtract(ends, middle), o + stride);
        TOps.Store(TOps.Add(ends, middle), o + 2 * stride);
        TOps.Store(TOps.Add(far, farMiddle), o + 3 * stride);
        TOps.Store(TOps.Subtract(far, farMiddle), o + 4 * stride);
        TOps.Store(g2, o + 5 * stride);
    }

    /// <summary>Aᵀ: rows (1 1 1 1 1 0), (0 1 -1 2 -2 0), (0 1 1 4 4 0), (0 1 -1 8 -8 1).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Output(TVector m0, TVector m1, TVector m2, TVector m3, TVector m4, TVector m5, float* o, nint stride)
    {
        TVector near = TOps.Add(m1, m2), nearOdd = TOps.Subtract(m1, m2), far = TOps.Add(m3, m4), farOdd = TOps.Subtract(m3, m4);
        TOps.Store(TOps.Add(TOps.Add(m0, near), far), o);
        TOps.Store(TOps.MultiplyAdd(farOdd, TOps.Broadcast(2), nearOdd), o + stride);
        TOps.Store(TOps.MultiplyAdd(far, TOps.Broadcast(4), near), o + 2 * stride);
        TOps.Store(TOps.Add(TOps.MultiplyAdd(farOdd, TOps.Broadcast(8), nearOdd), m5), o + 3 * stride);
    }

    /// <summary>A: the transpose of the output transform.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Error(TVector e0, TVector e1, TVector e2, TVector e3, float* o, nint stride)
    {
        TVector four = TOps.Broadcast(4), eight = TOps.Broadcast(8);
        TVector even = TOps.Add(e0, e2), odd = TOps.Add(e1, e3);
        TVector farEven = TOps.MultiplyAdd(e2, four, e0), farOdd = TOps.MultiplyAdd(e3, eight, TOps.Add(e1, e1));
        TOps.Store(e0, o);
        TOps.Store(TOps.Add(even, odd), o + stride);
        TOps.Store(TOps.Subtract(even, odd), o + 2 * stride);
        TOps.Store(TOps.Add(farEven, farOdd), o + 3 * stride);
        TOps.Store(TOps.Subtract(farEven, farOdd), o + 4 * stride);
        TOps.Store(e3, o + 5 * stride);
    }

    /// <summary>Gᵀ: the transpose of the weight transform.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Gradient(TVector m0, TVector m1, TVector m2, TVector m3, TVector m4, TVector m5, float* o, nint stride)
    {
        TVector sixth = TOps.Broadcast(1f / 6), minusSixth = TOps.Broadcast(-1f / 6);
        TVector near = TOps.Add(m1, m2), nearOdd = TOps.Subtract(m2, m1), far = TOps.Add(m3, m4), farOdd = TOps.Subtract(m3, m4);
        TVector ends = TOps.Multiply(near, minusSixth);
        TOps.Store(TOps.MultiplyAdd(m0, TOps.Broadcast(0.25f), TOps.MultiplyAdd(far, TOps.Broadcast(1f / 24), ends)), o);
        TOps.Store(TOps.MultiplyAdd(farOdd, TOps.Broadcast(1f / 12), TOps.Multiply(nearOdd, sixth)), o + stride);
        TOps.Store(TOps.Add(TOps.MultiplyAdd(far, sixth, ends), m5), o + 2 * stride);
    }
}
