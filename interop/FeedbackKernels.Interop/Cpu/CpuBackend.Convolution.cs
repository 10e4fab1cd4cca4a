using System.Runtime.InteropServices;

namespace FeedbackKernels.Interop;

public sealed unsafe partial class CpuBackend
{
    internal override ConvExplanation ExplainCore(in ConvShape shape, ConvPass pass)
    {
        RequireIndexable(shape);
        int columns = pass == ConvPass.Feedback ? shape.C : shape.K;
        int width = _kernels->Tiles.Panels(columns).Width(0);
        string tile = $"{_kernels->Tiles.MaxRows(width)}x{width}, {Level}";
        bool pointwise = shape is { R: 1, S: 1, Stride: 1, Padding: 0 };
        if (UsesWinograd(shape))
        {
            (int height, int breadth) = pass == ConvPass.Feedback ? (shape.H, shape.W) : (shape.P, shape.Q);
            bool mixed = new TileGrid(shape.N, height, breadth).IsMixed;
            return new(
                $"Winograd F(4x4 3x3){(mixed ? " + F(3x3 3x3)" : "")} {tile}",
                $"3x3, stride 1: 36 products a 4x4 tile of outputs instead of 144{(mixed ? ", and 25 instead of 81 at the map's end" : "")}");
        }

        return pass switch
        {
            ConvPass.WeightGradient => new(
                $"direct weight gradient {tile}", "tiles of C by K, reduced over pixels; border taps left out"),
            ConvPass.Feedback when shape.Stride > 1 => new(
                $"direct gather {tile}", $"{shape.Stride * shape.Stride} residue classes of input pixels, each with the taps that reach it"),
            _ when pointwise => new($"direct gather {tile}", "1x1: all pixels of the batch as one row"),
            _ => new($"direct gather {tile}", "no im2col: a run of (column, channel) a filter row; border taps left out"),
        };
    }

    internal override void ConvForwardCore(in ConvShape shape, BufferView x, BufferView w, BufferView y, in ConvEpilogue epilogue)
    {
        RequireIndexable(shape);
        var gather = new GatherConvolution
        {
            Kernels = _kernels,
            Input = x.Floats,
            Output = y.Floats,
            Layout = _kernels->Tiles.Panels(shape.K),
            N = shape.N,
            InputRows = shape.H,
            InputColumns = shape.W,
            InputChannels = shape.C,
            P = shape.P,
            Q = shape.Q,
            TapRows = shape.R,
            TapColumns = shape.S,
            Step = shape.Stride,
            OriginRow = shape.Padding,
            OriginColumn = shape.Padding,
            InputRowStride = (nint)shape.W * shape.C,
            InputImageStride = (nint)shape.H * shape.W * shape.C,
            OutputPixelStride = shape.K,
            OutputRowStride = (nint)shape.Q * shape.K,
            OutputImageStride = (nint)shape.P * shape.Q * shape.K,
            Epilogue = new EpilogueArguments
            {
                Scale = epilogue.Scale.Floats,
                Bias = epilogue.Bias.Floats,
                Residual = epilogue.Residual.Floats,
                Activation = epilogue.Activation,
            },
        };
        var packing = new WeightPacking
        {
            Kernels = _kernels,
            Source = w.Floats,
            Layout = gather.Layout,
            InputChannels = shape.C,
            TapRows = shape.R,
            TapColumns = shape.S,
            TapRowStride = (nint)shape.S * shape.C * shape.K,
            TapColumnStride = (nint)shape.C * shape.K,
            ChannelStride = shape.K,
            ColumnStride = 1,
        };
        gather.Plan();
        RunFastest(shape, ConvPass.Forward, ref gather, packing, epilogue.Statistics);
    }

    private bool UsesWinograd(in ConvShape shape) =>
        !Exact && WinogradConvolution.Suits(shape, _kernels->Tiles.Lanes);

    private void RunFastest(
        in ConvShape shape, ConvPass pass, ref GatherConvolution gather, in WeightPacking packing, in BatchStatistics statistics)
    {
        if (UsesWinograd(shape))
        {
            WinogradConvolution winograd = WinogradConvolution.Of(gather, packing, Zeros(gather.InputChannels));
            winograd.Weights = _scratch.Floats(ScratchUse.WinogradWeights, winograd.WeightFloats(Threads));
            winograd.Tiles = _scratch.Floats(ScratchUse.WinogradTiles, winograd.TileFloats(Threads));
            winograd.Products = _scratch.Floats(ScratchUse.WinogradProducts, winograd.ProductFloats(Threads));
            RunConvolution(ref winograd, gather.Layout.Columns, statistics);
        }
        else
        {
            gather.Panels = Pack(packing);
            if (gather.SpreadFloats > 0) gather.Spread = _scratch.Floats(ScratchUse.SpreadPixels, Threads * gather.SpreadFloats);
            if (gather.ProductFloats > 0) gather.Products = _scratch.Floats(ScratchUse.ProductPixels, Threads * gather.ProductFloats);
            RunConvolution(ref gather, gather.Layout.Columns, statistics);
        }
    }

    private float* Zeros(int channels)
    {
        long count = WinogradMap.ZeroFloats(channels);
        float* zeros = _scratch.Floats(ScratchUse.WinogradZeros, count);
        NativeMemory.Clear(zeros, checked((nuint)count * sizeof(float)));
        return zeros;
    }

    private void RunConvolution<T>(ref T convolution, int columns, in BatchStatistics statistics)
        where T : struct, IChunkedConvolution
    {
        if (statistics.IsAbsent)
        {
            convolution.Run(_pool, null);
            return;
        }

        int chunks = convolution.Chunks;
        int* chunkPixels = _scratch.Ints(ScratchUse.ChunkRows, chunks);
        for (int i = 0; i < chunks; i++) chunkPixels[i] = convolution.ChunkPixels(i);
        float* chunkStatistics = _scratch.Floats(ScratchUse.ChunkResults, (long)chunks * 3 * columns);
        convolution.Run(_pool, chunkStatistics);
        MergeStatistics(chunkStatistics, chunkPixels, chunks, columns, statistics);
    }

    internal override void ConvFeedbackCore(
        in ConvShape shape, BufferView dy, BufferView weights, FeedbackLayout layout, BufferView dx, bool accumulate)
    {
        RequireIndexable(shape);
        for (int row = 0; row < Math.Min(shape.Stride, shape.H); row++)
        {
            for (int column = 0; column < Math.Min(shape.Stride, shape.W); column++)
            {
                bool othersAreCleared = FeedbackClass(shape, dy, weights, layout, dx, accumulate, row, column);
                if (othersAreCleared) return;
            }
        }
    }

    /// <summary>
    /// The input pixels (row + i * stride, column + j * stride): a convolution of stride 1 over dy with every stride-th
    /// tap, in reverse order. At stride 1 there is one class and it has all taps; the one tap of a 1x1 convolution is in the
    /// first class, which then clears the pixels of the others.
    /// </summary>
    /// <returns>Whether it did.</returns>
    private bool FeedbackClass(
        in ConvShape shape, BufferView dy, BufferView weights, FeedbackLayout layout, BufferView dx, bool accumulate, int row, int column)
    {
        int u = shape.Stride;
        FeedbackTaps rows = FeedbackTaps.Of(row, shape.Padding, u, shape.R), columns = FeedbackTaps.Of(column, shape.Padding, u, shape.S);
        if (rows.Count * columns.Count == 0 && accumulate) return false;
        bool transposed = layout == FeedbackLayout.Forward;
        nint tapColumnFloats = (nint)shape.C * shape.K, tapRowFloats = shape.S * tapColumnFloats;
        var gather = new GatherConvolution
        {
            Kernels = _kernels,
            Input = dy.Floats,
            Output = dx.Floats + ((nint)row * shape.W + column) * shape.C,
            Layout = _kernels->Tiles.Panels(shape.C),
            N = shape.N,
            InputRows = shape.P,
            InputColumns = shape.Q,
            InputChannels = shape.K,
            P = (shape.H - row + u - 1) / u,
            Q = (shape.W - column + u - 1) / u,
            TapRows = rows.Count,
            TapColumns = columns.Count,
            Step = 1,
            OriginRow = rows.Origin,
            OriginColumn = columns.Origin,
            InputRowStride = (nint)shape.Q * shape.K,
            InputImageStride = (nint)shape.P * shape.Q * shape.K,
            OutputPixelStride = (nint)u * shape.C,
            OutputRowStride = (nint)u * shape.W * shape.C,
            OutputImageStride = (nint)shape.H * shape.W * shape.C,
            Accumulate = accumulate,
            Alone = shape is { R: 1, S: 1, Padding: 0 },
        };
        var packing = new WeightPacking
        {
            Kernels = _kernels,
            Source = weights.Floats + rows.Last * tapRowFloats + columns.Last * tapColumnFloats,
            Layout = gather.Layout,
            InputChannels = shape.K,
            TapRows = rows.Count,
            TapColumns = columns.Count,
            TapRowStride = -u * tapRowFloats,
            TapColumnStride = -u * tapColumnFloats,
            ChannelStride = transposed ? 1 : shape.C,
            ColumnStride = transposed ? shape.K : 1,
        };
        gather.Plan();
        RunFastest(shape, ConvPass.Feedback, ref gather, packing, default);
        return gather.ClearsBetween;
    }

    internal override void ConvWeightGradientCore(in ConvShape shape, BufferView x, BufferView dy, BufferView dw)
    {
        RequireIndexable(shape);
        if (UsesWinograd(shape)) WinogradWeightGradientTo(shape, x.Floats, dy.Floats, dw.Floats);
        else WeightGradientTo(shape, x.Floats, dy.Floats, dw.Floats, accumulate: false);
    }

    internal override void MirrorCorrelateCore(in MirrorStep step, BufferView w, BufferView correlation, bool accumulate)
    {
        // The noise is written to scratch once: both products read it, and making it twice would cost more than reading it.
        ConvShape response = step.ResponseShape;
        float* noise = _scratch.Floats(ScratchUse.MirrorNoise, response.InputLength);
        float* answer = _scratch.Floats(ScratchUse.MirrorResponse, response.OutputLength);
        FillNoise(step, noise);
        var relu = new ConvEpilogue(Activation: step.ReluResponse ? Activation.Relu : Activation.None);
        ConvForwardCore(
            response, BufferView.FromPointer(noise, response.InputLength), w, BufferView.FromPointer(answer, response.OutputLength), relu);
        WeightGradientTo(response, noise, answer, correlation.Floats, accumulate);
    }

    private void FillNoise(in MirrorStep step, float* output)
    {
        int length = step.Noise.Length;
        long end = step.FirstSample + step.Samples, first = step.FirstSample;
        var fill = new MirrorNoiseJob { Noise = step.Noise };
        if (step.Noise.Kind == NoiseKind.Balanced)
        {
            fill.Columns = (uint*)_scratch.Ints(ScratchUse.NoiseColumns, length);
            fill.Magnitudes = _scratch.Floats(ScratchUse.NoiseMagnitudes, length);
        }

        while (first < end)
        {
            // What the samples of a cycle have in common is worked out once for them all.
            long cycle = first / step.Noise.CycleLength;
            int samples = fill.Columns == null ? step.Samples : (int)(Math.Min(end, (cycle + 1) * step.Noise.CycleLength) - first);
            if (fill.Columns != null)
            {
                var describe = new CycleJob { Noise = step.Noise, Cycle = cycle, Columns = fill.Columns, Magnitudes = fill.Magnitudes };
                _pool.Run((length + MirrorNoise.BlockSigns - 1) / MirrorNoise.BlockSigns, ref describe);
            }

            fill.FirstSample = first;
            fill.Output = output + (first - step.FirstSample) * length;
            _pool.Run(samples, ref fill);
            first += samples;
        }
    }

    private void WeightGradientTo(in ConvShape shape, float* x, float* dy, float* dw, bool accumulate)
    {
        var gradient = new WeightGradient
        {
            Kernels = _kernels,
            Shape = shape,
            X = x,
            Dy = dy,
            Dw = dw,
            Accumulate = accumulate,
            Layout = _kernels->Tiles.Panels(shape.K),
        };
        gradient.Plan(Threads);
        gradient.Blocks = _scratch.Floats(ScratchUse.GradientBlocks, Threads * gradient.BlockFloats);
        gradient.Partials = _scratch.Floats(ScratchUse.GradientShares, gradient.PartialFloats);
        _pool.Run(gradient.Items, ref gradient);
        if (gradient.Shares == 1) return;
        var sums = new PartialSums
        {
            Kernels = _kernels,
            Total = dw,
            Partials = gradient.Partials,
            Count = gradient.Shares - 1,
            Length = shape.WeightLength,
        };
        _pool.Run(sums.Items, ref sums);
    }

    private void WinogradWeightGradientTo(in ConvShape shape, float* x, float* dy, float* dw)
    {
        float* zeros = Zeros(Math.Max(shape.C, shape.K));
        var grid = new TileGrid(shape.N, shape.P, shape.Q);
        WinogradMap input = WinogradMap.Of(x, shape.H, shape.W, shape.C, grid, zeros);
        input.OriginRow = input.OriginColumn = shape.Padding;
        WinogradMap error = WinogradMap.Of(dy, shape.P, shape.Q, shape.K, grid, zeros);
        error.Overlap = 0;
        var gradient = new WinogradWeightGradient
        {
            Kernels = _kernels,
            Layout = _kernels->Tiles.Panels(shape.K),
            Input = input,
            Error = error,
            Dw = dw,
        };
        gradient.Tiles = _scratch.Floats(ScratchUse.WinogradTiles, gradient.TileFloats(Threads));
        gradient.Errors = _scratch.Floats(ScratchUse.WinogradProducts, gradient.ErrorFloats(Threads));
        gradient.Sums = _scratch.Floats(ScratchUse.WinogradSums, gradient.SumFloats);
        gradient.Run(_pool);
    }

    /// <summary>Over all pixels of a batch the kernels count in 32 bits.</summary>
    private static void RequireIndexable(in ConvShape shape)
    {
        long pixels = shape.N * Math.Max((long)shape.H * shape.W, (long)shape.P * shape.Q);
        if (pixels > int.MaxValue)
            throw new NotSupportedException($"the convolution {shape} has {pixels} pixels; the CPU kernels count to {int.MaxValue}");
    }

    private float* Pack(WeightPacking packing)
    {
        packing.Panels = _scratch.Floats(ScratchUse.Panels, packing.PanelFloats);
        _pool.Run(packing.Items, ref packing);
        return packing.Panels;
    }

    /// <summary>
    /// Along one direction: the taps that reach the input positions of a residue class, counted from the last one down,
    /// and where the first of them, so reversed, lies for the class's first position: -Origin.
    /// </summary>
    private readonly record struct FeedbackTaps(int Count, int Last, int Origin)
    {
        public static FeedbackTaps Of(int residue, int padding, int stride, int taps)
        {
            // Tap r reaches position h where (h + padding - r) is a multiple of the stride.
            int first = (residue + padding) % stride;
            int count = first < taps ? (taps - 1 - first) / stride + 1 : 0;
            int reach = (residue + padding - first) / stride;
            return new FeedbackTaps(count, count == 0 ? 0 : first + (count - 1) * stride, count - 1 - reach);
        }
    }

    private struct MirrorNoiseJob : IParallelJob
    {
        public MirrorNoise Noise;
        public long FirstSample;

        /// <summary>The cycle of balanced noise; null for the other kinds.</summary>
        public uint* Columns;
        public float* Magnitudes;
        public float* Output;

        public readonly void Run(int item, int worker)
        {
            int length = Noise.Length;
            var values = new Span<float>(Output + (long)item * length, length);
            if (Columns == null) Noise.Fill(values, FirstSample + item);
            else Noise.FillBalanced(FirstSample + item, new ReadOnlySpan<uint>(Columns, length), new ReadOnlySpan<float>(Magnitudes, length), values);
        }
    }

    private struct CycleJob : IParallelJob
    {
        public MirrorNoise Noise;
        public long Cycle;
        public uint* Columns;
        public float* Magnitudes;

        public readonly void Run(int item, int worker)
        {
            int first = item * MirrorNoise.BlockSigns, count = Math.Min(MirrorNoise.BlockSigns, Noise.Length - first);
            Noise.DescribeCycle(Cycle, first, new Span<uint>(Columns + first, count), new Span<float>(Magnitudes + first, count));
        }
    }
}
