using System.Runtime.CompilerServices;
using static FeedbackKernels.Interop.Rounding;

namespace FeedbackKernels.Interop;

// native/conv_gather_sm90.cu, conv_weight_gradient_sm90.cu
public sealed unsafe partial class CudaBackend
{
    private const int MostGatherClasses = 4;

    /// <summary>Whether the kernels for Hopper take the shape and what is given: bf16, which the TMA reads from multiples of 16
    /// bytes on.</summary>
    private bool HopperServes(in ConvShape shape, ConvPass pass, out HopperConvolution plan, params ReadOnlySpan<BufferView> views)
    {
        plan = PlansOf(shape, pass).Hopper;
        if (plan.Refusal is not null) return false;
        foreach (BufferView view in views)
        {
            if (!view.IsAbsent && (view.Type != ElementType.BFloat16 || view.Address % 16 != 0)) return false;
        }

        return true;
    }

    /// <summary>Forward convolution by TMA and wgmma.</summary>
    internal void HopperForward(
        in HopperConvolution plan, in ConvShape shape, BufferView x, BufferView w, BufferView y, in ConvEpilogue epilogue,
        [CallerMemberName] string operation = "")
    {
        ConvShape flat = HopperConvolution.Flattened(shape);
        bool statistics = !epilogue.Statistics.IsAbsent;
        ConvGatherArguments arguments = StartGather(plan, flat, flat.P, flat.Q, 1, flat.K);
        arguments.Inputs = PixelMap(x, flat.N, flat.H, flat.W, flat.C, plan.Box, flat.Stride, shape);
        arguments.Weights = WeightMap(w, flat, flat.C, flat.K, HopperConvolution.BoxChannels, shape);
        arguments.Classes[0] = new GatherClass
        {
            Gather = new NativeGather(flat),
            Tiles = (int)plan.Tiles,
        };
        arguments.Activation = (int)epilogue.Activation;
        arguments.Y = y.Address;
        arguments.Addend = epilogue.Residual.Address;
        arguments.Scale = epilogue.Scale.Floats;
        arguments.Bias = epilogue.Bias.Floats;
        if (statistics)
        {
            arguments.Partials = (float*)_scratch.Get(ScratchPurpose.ChannelPartials, plan.Tiles * 2 * flat.K * sizeof(float));
            arguments.Counts = (int*)_scratch.Get(ScratchPurpose.TileCounts, plan.Tiles * sizeof(int));
        }

        LaunchGather($"conv_gather_sm90_{plan.Columns}", plan, arguments, 1, shape, operation);
        if (statistics)
        {
            FinishStatistics(
                (long)shape.N * shape.P * shape.Q, shape.K, plan.Tiles, 0, arguments.Partials, epilogue.Statistics, arguments.Counts, operation);
        }
    }

    /// <summary>Feedback convolution by TMA and wgmma.</summary>
    internal void HopperFeedback(
        in HopperConvolution plan, in ConvShape shape, BufferView dy, BufferView weights, FeedbackLayout layout, BufferView dx, bool accumulate,
        [CallerMemberName] string operation = "")
    {
        ConvShape flat = HopperConvolution.Flattened(shape);
        bool transposed = layout == FeedbackLayout.Forward;
        ConvGatherArguments arguments = StartGather(plan, flat, flat.H, flat.W, flat.Stride, flat.C);
        arguments.Inputs = PixelMap(dy, flat.N, flat.P, flat.Q, flat.K, plan.Box, 1, shape);
        arguments.Weights = WeightMap(
            weights, flat, transposed ? flat.C : flat.K, transposed ? flat.K : flat.C, transposed ? plan.Columns : HopperConvolution.BoxChannels, shape);
        int classes = 0;
        for (int row = 0; row < Math.Min(flat.Stride, flat.H); row++)
        {
            for (int column = 0; column < Math.Min(flat.Stride, flat.W); column++)
            {
                var gather = new NativeGather(flat, row, column);
                arguments.Classes[classes++] = new GatherClass
                {
                    Gather = gather,
                    Tiles = (int)plan.Box.Covering(gather.Images, gather.OutputRows, gather.OutputColumns),
                    PlaceRow = row,
                    PlaceColumn = column,
                };
            }
        }

        arguments.Y = dx.Address;
        arguments.Addend = accumulate ? dx.Address : 0;
        LaunchGather($"conv_gather_sm90_{(transposed ? "transposed_" : "")}{plan.Columns}", plan, arguments, classes, shape, operation);
    }

    /// <summary>Weight gradient by TMA and wgmma.</summary>
    internal void HopperWeightGradient(
        in HopperConvolution plan, in ConvShape shape, BufferView x, BufferView dy, BufferView dw, [CallerMemberName] string operation = "")
    {
        ConvShape flat = HopperConvolution.Flattened(shape);
        var slices = new Slices(plan.BoxesPerSlice, plan.Slices);
        var arguments = new GradientArguments
        {
            Inputs = PixelMap(x, flat.N, flat.H, flat.W, flat.C, plan.Box, flat.Stride, shape),
            Errors = PixelMap(dy, flat.N, flat.P, flat.Q, flat.K, plan.Box, 1, shape),
            Shape = new NativeConvShape(flat),
            BoxImages = plan.Box.Images,
            BoxRows = plan.Box.Rows,
            BoxColumns = plan.Box.Columns,
            Boxes = (int)plan.Tiles,
            BoxesPerSlice = plan.BoxesPerSlice,
            Dw = StartSlices(shape, slices, dw, accumulate: false).Dw,
        };
        Launch(
            "conv_weight_gradient_sm90", $"conv_weight_gradient_sm90_{plan.Columns}",
            new Grid(HopperConvolution.PartsOf(flat), DivideUp(flat.K, plan.Columns), plan.Slices), HopperConvolution.BlockThreads, arguments, shape,
            plan.SharedBytes, operation);
        AddSlices(shape, slices, dw, accumulate: false, operation);
    }

    private static ConvGatherArguments StartGather(
        in HopperConvolution plan, in ConvShape flat, int placeRows, int placeColumns, int placeStep, int columns) => new()
        {
            BoxImages = plan.Box.Images,
            BoxRows = plan.Box.Rows,
            BoxColumns = plan.Box.Columns,
            PlaceRows = placeRows,
            PlaceColumns = placeColumns,
            PlaceStep = placeStep,
            Columns = columns,
            ColumnTiles = (int)DivideUp(columns, plan.Columns),
        };

    private void LaunchGather(
        string kernel, in HopperConvolution plan, in ConvGatherArguments arguments, int classes, in ConvShape shape, string operation) =>
        Launch(
            "conv_gather_sm90", kernel, new Grid(plan.Tiles * arguments.ColumnTiles, 1, classes), HopperConvolution.BlockThreads, arguments, shape,
            plan.SharedBytes, operation);

    /// <summary>Boxes of 64 channels of every <paramref name="step"/>th pixel.</summary>
    private TensorMap PixelMap(
        BufferView pixels, int images, int rows, int columns, int channels, PixelBox box, int step, in ConvShape shape)
    {
        using CudaContext.Scope scope = _context.Enter();
        ulong pixel = (ulong)channels * sizeof(ushort), row = pixel * (ulong)columns;
        // The driver takes the box's extent in the tensor, of which the steps leave the pixels that are wanted.
        return TensorMap.Tiled(
            TensorMapType.BFloat16, pixels.Address, [(ulong)channels, (ulong)columns, (ulong)rows, (ulong)images], [pixel, row, row * (ulong)rows],
            [HopperConvolution.BoxChannels, (uint)(box.Columns * step), (uint)(box.Rows * step), (uint)box.Images], [1, (uint)step, (uint)step, 1],
            TensorMapSwizzle.Bytes128, TensorMapPromotion.Bytes256, $"mapping pixels of {shape}");
    }

    /// <summary>Boxes of 64 weights that lie side by side, of so many lines of one tap.</summary>
    private TensorMap WeightMap(BufferView weights, in ConvShape flat, int lines, int width, int boxLines, in ConvShape shape)
    {
        using CudaContext.Scope scope = _context.Enter();
        ulong line = (ulong)width * sizeof(ushort);
        return TensorMap.Tiled(
            TensorMapType.BFloat16, weights.Address, [(ulong)width, (ulong)lines, (ulong)(flat.R * flat.S)], [line, line * (ulong)lines],
            [HopperConvolution.BoxChannels, (uint)boxLines, 1], [1, 1, 1], TensorMapSwizzle.Bytes128, TensorMapPromotion.Bytes256,
            $"mapping weights of {shape}");
    }

    /// <summary>struct Gather of native/gather.cuh.</summary>
    private readonly struct NativeGather
    {
        public readonly int Images, OutputRows, OutputColumns, InputRows, InputColumns, Channels;
        public readonly int Step, OriginRow, OriginColumn, Direction, TapRows, TapColumns, FirstTap, TapRowStep, TapColumnStep;

        /// <summary>A forward convolution.</summary>
        public NativeGather(in ConvShape shape)
        {
            (Images, OutputRows, OutputColumns, InputRows, InputColumns, Channels) = (shape.N, shape.P, shape.Q, shape.H, shape.W, shape.C);
            (Step, OriginRow, OriginColumn, Direction) = (shape.Stride, -shape.Padding, -shape.Padding, 1);
            (TapRows, TapColumns, FirstTap, TapRowStep, TapColumnStep) = (shape.R, shape.S, 0, shape.S, 1);
        }

        /// <summary>One class of a feedback convolution: the input pixels of these residues, and the taps that reach them.</summary>
        public NativeGather(in ConvShape shape, int rowResidue, int columnResidue)
        {
            int u = shape.Stride;
            (int firstRow, int rows, OriginRow) = Taps(rowResidue, shape.Padding, u, shape.R);
            (int firstColumn, int columns, OriginColumn) = Taps(columnResidue, shape.Padding, u, shape.S);
            (Images, InputRows, InputColumns, Channels) = (shape.N, shape.P, shape.Q, shape.K);
            (OutputRows, OutputColumns) = ((shape.H - rowResidue + u - 1) / u, (shape.W - columnResidue + u - 1) / u);
            (Step, Direction) = (1, -1);
            (TapRows, TapColumns, FirstTap, TapRowStep, TapColumnStep) = (rows, columns, firstRow * shape.S + firstColumn, u * shape.S, u);
        }

        private static (int First, int Count, int Origin) Taps(int residue, int padding, int stride, int taps)
        {
            int first = (residue + padding) % stride;
            return (first, first < taps ? (taps - first + stride - 1) / stride : 0, (residue + padding - first) / stride);
        }
    }

    private struct GatherClass
    {
        public NativeGather Gather;
        public int Tiles, PlaceRow, PlaceColumn;
    }

    [InlineArray(MostGatherClasses)]
    private struct GatherClasses
    {
        private GatherClass _first;
    }

    // The kernels' structs are aligned to 64 bytes, as their tensor maps are, and end there.
    private struct ConvGatherArguments
    {
        public TensorMap Inputs, Weights;
        public GatherClasses Classes;
        public int BoxImages, BoxRows, BoxColumns, PlaceRows, PlaceColumns, PlaceStep, Columns, ColumnTiles, Activation;
        public fixed byte Hole[4];
        public nint Y, Addend;
        public float* Scale, Bias, Partials;
        public int* Counts;
        public fixed byte End[8];
    }

    private struct GradientArguments
    {
        public TensorMap Inputs, Errors;
        public NativeConvShape Shape;
        public int BoxImages, BoxRows, BoxColumns, Boxes, BoxesPerSlice;
        public float* Dw;
        public fixed byte End[56];
    }
}
