using System.Runtime.CompilerServices;

namespace FeedbackKernels.Interop;

/// <summary>Arguments of a Winograd transform. Strides are in floats.</summary>
internal unsafe struct WinogradArguments
{
    /// <summary>Transforms of an input or an error: the first pixel inside the map, for each row of the patches. Rows outside point to
    /// zeros.</summary>
    public float** Lines;

    /// <summary>Transforms of an input or an error: which columns of the patches are inside the map.</summary>
    public nint FirstColumn, EndColumn;

    /// <summary>Weight transform: the taps, <see cref="SourceStride"/> apart. Output and gradient transforms: the 36 products.</summary>
    public float* Source;
    public nint SourceStride;

    /// <summary>Where the transformed numbers go: points of the transform, or output rows, are DestinationStride apart.</summary>
    public float* Destination;
    public nint DestinationStride;

    /// <summary>Tiles of a strip, at most <see cref="WinogradMap.StripTiles"/>, side by side and of one kind; floats from a
    /// tile's points to the next one's; floats from a pixel to the next.</summary>
    public nint Tiles, TileStride, PixelStride;

    /// <summary>Output transform: rows and columns of outputs of the strip to write.</summary>
    public int Rows, Columns;
    public bool Accumulate;

    /// <summary>Output transform: where the outputs of the next strip go, to be prefetched; or null.</summary>
    public float* Next;

    /// <summary>Output transform: the shifts of the channels, followed at a distance of StatisticsStride by the sums of deviations and of
    /// squared deviations, to which the transform adds; null for no statistics.</summary>
    public float* Shift;
    public nint StatisticsStride;

    /// <summary>Channels; a multiple of the vector's lanes.</summary>
    public nint Channels;
}

/// <summary>One of the transforms, for each kind of tile.</summary>
internal unsafe struct TransformSet
{
    private fixed long _kernels[TileKind.Count];

    public readonly void Run(TileKind kind, WinogradArguments* t) => ((delegate*<WinogradArguments*, void>)(nint)_kernels[kind.Index])(t);

    public static TransformSet Of(
        delegate*<WinogradArguments*, void> whole, delegate*<WinogradArguments*, void> narrow,
        delegate*<WinogradArguments*, void> low, delegate*<WinogradArguments*, void> both)
    {
        var set = default(TransformSet);
        set._kernels[new TileKind(false, false).Index] = (nint)whole;
        set._kernels[new TileKind(false, true).Index] = (nint)narrow;
        set._kernels[new TileKind(true, false).Index] = (nint)low;
        set._kernels[new TileKind(true, true).Index] = (nint)both;
        return set;
    }
}

/// <summary>
/// The transforms of Winograd's F(4, 3) (Lavin and Gray 2016) in two dimensions, vectorised over channels: input d to Bᵀ d B,
/// weights g to G g Gᵀ, products m to Aᵀ m A, with interpolation points 0, ±1, ±2 and infinity; and those of its adjoint in
/// the weights: error e to A e Aᵀ, products m to Gᵀ m G. F(3, 3) leaves out the point -2; its Bᵀ is scaled so that the other
/// five rows of G serve it too. Each is a transform of columns into a small buffer on the stack, then of rows.
/// </summary>
internal static unsafe class WinogradKernels<TVector, TOps>
    where TVector : unmanaged
    where TOps : unmanaged, IVectorOps<TVector>
{
    private const int MostLanes = 16;

    // Columns of the patches of a strip.
    private const int StripColumns = 4 * WinogradMap.StripTiles + 2;

    public static TransformSet InputSet => PatchSet<InputTransform>();

    public static TransformSet ErrorSet => PatchSet<ErrorTransform>();

    public static TransformSet OutputSet => TransformSet.Of(&Output<Four, Four>, &Output<Four, Three>, &Output<Three, Four>, &Output<Three, Three>);

    private static TransformSet PatchSet<TTransform>() where TTransform : unmanaged, IPatchTransform => TransformSet.Of(
        &Patches<TTransform, Four, Four>, &Patches<TTransform, Four, Three>, &Patches<TTransform, Three, Four>, &Patches<TTransform, Three, Three>);

    /// <summary>Whether tiles of TSize rows, or columns, have one of the six points.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool Has<TSize>(int point) where TSize : unmanaged, IConstant => TSize.Value == 4 || point != 4;

    /// <summary>A transform of patches of pixels: in one dimension, for tiles of four or three outputs.</summary>
    private interface IPatchTransform
    {
        /// <summary>Pixels of a patch beyond the outputs of its tile, which the patch of the next tile shares.</summary>
        static abstract int Overlap { get; }

        static abstract void Run<TSize>(TVector d0, TVector d1, TVector d2, TVector d3, TVector d4, TVector d5, float* o, nint stride)
            where TSize : unmanaged, IConstant;
    }

    /// <summary>
    /// Transforms the patches of a strip of tiles. Every column of pixels is transformed once, even if two patches share it. Then the
    /// columns of each tile are transformed across.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Patches<TTransform, TDown, TAcross>(WinogradArguments* t)
        where TTransform : unmanaged, IPatchTransform
        where TDown : unmanaged, IConstant
        where TAcross : unmanaged, IConstant
    {
        float* columns = stackalloc float[(6 * StripColumns + 1) * MostLanes];
        columns = Caches.LineStart(columns);
        nint lanes = TOps.Count, stride = t->DestinationStride;
        Clear(columns, t->FirstColumn);
        Clear(columns + t->EndColumn * lanes, TAcross.Value * t->Tiles + TTransform.Overlap - t->EndColumn);
        for (nint c = 0; c < t->Channels; c += lanes)
        {
            Down<TTransform, TDown>(t, c, columns);
            float* tile = t->Destination + c, end = tile + t->Tiles * t->TileStride;
            for (float* first = columns; tile != end; tile += t->TileStride, first += TAcross.Value * lanes)
            {
                float* row = first, destination = tile;
                for (int i = 0; i < 6; i++, row += StripColumns * lanes, destination += 6 * stride)
                {
                    if (!Has<TDown>(i)) continue;
                    TTransform.Run<TAcross>(
                        TOps.Load(row), TOps.Load(row + lanes), TOps.Load(row + 2 * lanes), Pixel<TTransform, TAcross>(3, row + 3 * lanes),
                        Pixel<TTransform, TAcross>(4, row + 4 * lanes), Pixel<TTransform, TAcross>(5, row + 5 * lanes), destination, stride);
                }
            }
        }
    }

    /// <summary>Transforms the columns of a strip downwards, into rows of <see cref="StripColumns"/> vectors.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Down<TTransform, TDown>(WinogradArguments* t, nint channel, float* columns)
        where TTransform : unmanaged, IPatchTransform
        where TDown : unmanaged, IConstant
    {
        nint lanes = TOps.Count, pixel = t->PixelStride;
        float* l0 = t->Lines[0] + channel, l1 = t->Lines[1] + channel, l2 = t->Lines[2] + channel;
        float* l3 = t->Lines[3] + channel, l4 = t->Lines[4] + channel, l5 = t->Lines[5] + channel;
        float* o = columns + t->FirstColumn * lanes, end = columns + t->EndColumn * lanes;
        for (nint offset = 0; o < end; o += lanes, offset += pixel)
        {
            TTransform.Run<TDown>(
                TOps.Load(l0 + offset), TOps.Load(l1 + offset), TOps.Load(l2 + offset), Pixel<TTransform, TDown>(3, l3 + offset),
                Pixel<TTransform, TDown>(4, l4 + offset), Pixel<TTransform, TDown>(5, l5 + offset), o, StripColumns * lanes);
        }
    }

    /// <summary>Pixel i of a patch; zero if the patch has fewer.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static TVector Pixel<TTransform, TSize>(int i, float* pixel)
        where TTransform : unmanaged, IPatchTransform
        where TSize : unmanaged, IConstant => i < TSize.Value + TTransform.Overlap ? TOps.Load(pixel) : TOps.Zero;

    /// <summary>Clears the columns of a strip that lie outside the map.</summary>
    private static void Clear(float* columns, nint count)
    {
        for (int i = 0; i < 6 && count > 0; i++) new Span<float>(columns + i * StripColumns * TOps.Count, (int)count * TOps.Count).Clear();
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Weights(WinogradArguments* t)
    {
        float* columns = stackalloc float[19 * MostLanes];
        columns = Caches.LineStart(columns);
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

    /// <summary>Transforms the products of a strip of tiles into outputs.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Output<TDown, TAcross>(WinogradArguments* t)
        where TDown : unmanaged, IConstant
        where TAcross : unmanaged, IConstant
    {
        float* columns = stackalloc float[29 * MostLanes];
        columns = Caches.LineStart(columns);
        float* pixels = columns + 24 * MostLanes;
        nint lanes = TOps.Count, point = t->SourceStride;
        float* source = t->Source, destination = t->Destination;
        for (nint left = t->Columns; left > 0; left -= TAcross.Value, source += t->TileStride, destination += TAcross.Value * t->PixelStride)
        {
            nint width = Math.Min(TAcross.Value, left);
            float* next = t->Next != null && left > TAcross.Value ? destination + TAcross.Value * t->PixelStride : t->Next;
            bool direct = width == TAcross.Value && !t->Accumulate;
            for (nint c = 0; c < t->Channels; c += lanes)
            {
                float* m = source + c;
                for (int j = 0; j < 6; j++, m += point)
                {
                    if (!Has<TAcross>(j)) continue;
                    Output<TDown>(
                        TOps.Load(m), TOps.Load(m + 6 * point), TOps.Load(m + 12 * point), TOps.Load(m + 18 * point),
                        TDown.Value == 4 ? TOps.Load(m + 24 * point) : TOps.Zero, TOps.Load(m + 30 * point), columns + j * lanes, 6 * lanes);
                }

                if (t->Next != null && c % Caches.LineFloats == 0) FetchOutputs<TDown, TAcross>(t, next + c);
                float* row = columns, y = destination + c;
                for (int i = 0; i < t->Rows; i++, row += 6 * lanes, y += t->DestinationStride)
                {
                    Output<TAcross>(
                        TOps.Load(row), TOps.Load(row + lanes), TOps.Load(row + 2 * lanes), TOps.Load(row + 3 * lanes),
                        TAcross.Value == 4 ? TOps.Load(row + 4 * lanes) : TOps.Zero, TOps.Load(row + 5 * lanes),
                        direct ? y : pixels, direct ? t->PixelStride : lanes);
                    if (!direct) AddPixels(t, pixels, y, width);
                }

                if (t->Shift != null) AddStatistics(t, destination + c, c, width);
            }
        }
    }

    /// <summary>Prefetches the cache lines of a tile's outputs. Stores that miss would delay the loads behind them.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void FetchOutputs<TDown, TAcross>(WinogradArguments* t, float* y)
        where TDown : unmanaged, IConstant
        where TAcross : unmanaged, IConstant
    {
        nint pixel = t->PixelStride;
        for (int i = 0; i < TDown.Value; i++, y += t->DestinationStride)
        {
            TOps.Prefetch(y);
            TOps.Prefetch(y + pixel);
            TOps.Prefetch(y + 2 * pixel);
            if (TAcross.Value == 4) TOps.Prefetch(y + 3 * pixel);
        }
    }

    /// <summary>Writes the outputs of a row of a tile that reaches beyond the map, or adds them to the output.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void AddPixels(WinogradArguments* t, float* pixels, float* y, nint width)
    {
        for (nint j = 0; j < width; j++, y += t->PixelStride)
        {
            TVector value = TOps.Load(pixels + j * TOps.Count);
            TOps.Store(t->Accumulate ? TOps.Add(TOps.Load(y), value) : value, y);
        }
    }

    /// <summary>Adds the outputs of a tile, which are in L1, to the statistics.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void AddStatistics(WinogradArguments* t, float* outputs, nint channel, nint width)
    {
        float* shifts = t->Shift + channel, sums = shifts + t->StatisticsStride, squareSums = sums + t->StatisticsStride;
        TVector shift = TOps.Load(shifts), sum = TOps.Zero, squares = TOps.Zero;
        for (int i = 0; i < t->Rows; i++, outputs += t->DestinationStride)
        {
            float* y = outputs;
            for (nint j = 0; j < width; j++, y += t->PixelStride)
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
    public static void Gradient(WinogradArguments* t)
    {
        float* columns = stackalloc float[19 * MostLanes];
        columns = Caches.LineStart(columns);
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

    /// <summary>
    /// Aᵀ of F(4, 3): rows (1 1 1 1 1 0), (0 1 -1 2 -2 0), (0 1 1 4 4 0), (0 1 -1 8 -8 1);
    /// of F(3, 3), without the fifth number: (1 1 1 1 0), (0 1 -1 2 0), (0 1 1 4 1).
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Output<TSize>(TVector m0, TVector m1, TVector m2, TVector m3, TVector m4, TVector m5, float* o, nint stride)
        where TSize : unmanaged, IConstant
    {
        TVector near = TOps.Add(m1, m2), nearOdd = TOps.Subtract(m1, m2);
        if (TSize.Value == 4)
        {
            TVector far = TOps.Add(m3, m4), farOdd = TOps.Subtract(m3, m4);
            TOps.Store(TOps.Add(TOps.Add(m0, near), far), o);
            TOps.Store(TOps.MultiplyAdd(farOdd, TOps.Broadcast(2), nearOdd), o + stride);
            TOps.Store(TOps.MultiplyAdd(far, TOps.Broadcast(4), near), o + 2 * stride);
            TOps.Store(TOps.Add(TOps.MultiplyAdd(farOdd, TOps.Broadcast(8), nearOdd), m5), o + 3 * stride);
        }
        else
        {
            TOps.Store(TOps.Add(TOps.Add(m0, near), m3), o);
            TOps.Store(TOps.MultiplyAdd(m3, TOps.Broadcast(2), nearOdd), o + stride);
            TOps.Store(TOps.Add(TOps.MultiplyAdd(m3, TOps.Broadcast(4), near), m5), o + 2 * stride);
        }
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

    private readonly struct InputTransform : IPatchTransform
    {
        public static int Overlap => 2;

        /// <summary>
        /// Bᵀ of F(4, 3): rows (4 0 -5 0 1 0), (0 -4 -4 1 1 0), (0 4 -4 -1 1 0), (0 -2 -1 2 1 0), (0 2 -1 -2 1 0), (0 4 0 -5 0 1);
        /// of F(3, 3): (4 -2 -4 2 0), (0 -6 -3 3 0), (0 2 -3 1 0), (0 -4 0 4 0), none, (0 2 -1 -2 1).
        /// </summary>
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static void Run<TSize>(TVector d0, TVector d1, TVector d2, TVector d3, TVector d4, TVector d5, float* o, nint stride)
            where TSize : unmanaged, IConstant
        {
            TVector even = TOps.Subtract(d4, d2), odd = TOps.Subtract(d3, d1);
            if (TSize.Value == 4)
            {
                TVector two = TOps.Broadcast(2), four = TOps.Broadcast(4), minusFour = TOps.Broadcast(-4), minusFive = TOps.Broadcast(-5);
                TOps.Store(TOps.MultiplyAdd(d0, four, TOps.MultiplyAdd(d2, minusFive, d4)), o);
                TOps.Store(TOps.MultiplyAdd(TOps.Add(d1, d2), minusFour, TOps.Add(d3, d4)), o + stride);
                TOps.Store(TOps.MultiplyAdd(TOps.Subtract(d1, d2), four, TOps.Subtract(d4, d3)), o + 2 * stride);
                TOps.Store(TOps.MultiplyAdd(odd, two, even), o + 3 * stride);
                TOps.Store(TOps.MultiplyAdd(odd, TOps.Broadcast(-2), even), o + 4 * stride);
                TOps.Store(TOps.MultiplyAdd(d1, four, TOps.MultiplyAdd(d3, minusFive, d5)), o + 5 * stride);
            }
            else
            {
                TVector two = TOps.Broadcast(2), three = TOps.Broadcast(3), four = TOps.Broadcast(4), minusTwo = TOps.Broadcast(-2);
                TOps.Store(TOps.MultiplyAdd(TOps.Subtract(d0, d2), four, TOps.Multiply(odd, two)), o);
                TOps.Store(TOps.Multiply(TOps.Subtract(odd, TOps.Add(d1, d2)), three), o + stride);
                TOps.Store(TOps.MultiplyAdd(d2, TOps.Broadcast(-3), TOps.MultiplyAdd(d1, two, d3)), o + 2 * stride);
                TOps.Store(TOps.Multiply(odd, four), o + 3 * stride);
                TOps.Store(TOps.MultiplyAdd(odd, minusTwo, even), o + 5 * stride);
            }
        }
    }

    private readonly struct ErrorTransform : IPatchTransform
    {
        public static int Overlap => 0;

        /// <summary>A: the transpose of the output transform.</summary>
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static void Run<TSize>(TVector e0, TVector e1, TVector e2, TVector e3, TVector none, TVector none2, float* o, nint stride)
            where TSize : unmanaged, IConstant
        {
            TVector four = TOps.Broadcast(4), even = TOps.Add(e0, e2), farEven = TOps.MultiplyAdd(e2, four, e0);
            if (TSize.Value == 4)
            {
                TVector odd = TOps.Add(e1, e3), farOdd = TOps.MultiplyAdd(e3, TOps.Broadcast(8), TOps.Add(e1, e1));
                TOps.Store(e0, o);
                TOps.Store(TOps.Add(even, odd), o + stride);
                TOps.Store(TOps.Subtract(even, odd), o + 2 * stride);
                TOps.Store(TOps.Add(farEven, farOdd), o + 3 * stride);
                TOps.Store(TOps.Subtract(farEven, farOdd), o + 4 * stride);
                TOps.Store(e3, o + 5 * stride);
            }
            else
            {
                TOps.Store(e0, o);
                TOps.Store(TOps.Add(even, e1), o + stride);
                TOps.Store(TOps.Subtract(even, e1), o + 2 * stride);
                TOps.Store(TOps.Add(farEven, TOps.Add(e1, e1)), o + 3 * stride);
                TOps.Store(e2, o + 5 * stride);
            }
        }
    }

    private readonly struct Four : IConstant { public static int Value => 4; }

    private readonly struct Three : IConstant { public static int Value => 3; }
}
