using System.Runtime.CompilerServices;
using static FeedbackKernels.Interop.Rounding;

namespace FeedbackKernels.Interop;

/// <summary>
/// Tiles and boxes of a convolution on Hopper, or why it is refused. They depend on the shape alone, so that a result has the same bits
/// on every card.
/// </summary>
/// <param name="Refusal">Why the kernels do not take the shape; null where they do.</param>
/// <param name="Columns">Columns of the tile of a block, which are output channels: 64, 128 or 256.</param>
/// <param name="Box">Output pixels of a tile; in a feedback convolution with a stride, pixels of one residue class. In a weight
/// gradient, the output pixels that one stage reduces over.</param>
/// <param name="Boxes">Boxes that cover the output pixels, or those of the largest residue class.</param>
/// <param name="Split">How a weight gradient is split, in boxes.</param>
internal readonly record struct HopperPlan(
    string? Refusal, int Columns = 0, PixelBox Box = default, long Boxes = 0, SplitK Split = default)
{
    /// <summary>Rows of a tile, and channels of a box: of native/hopper_product.cuh.</summary>
    public const int Rows = 128, BoxChannels = 64;

    /// <summary>Threads of a block: two warpgroups that multiply, and a warp that copies.</summary>
    public const int BlockThreads = 288;

    // Depths of one wgmma. Fewer columns than LeastColumns leave more than half of the narrowest tile empty.
    private const int WgmmaDepth = 16, MostStride = 2, LeastColumns = 32;

    /// <summary>Stages of the ring in shared memory: StagesOf in native/hopper_product.cuh.</summary>
    public int Stages => Columns == 128 ? 3 : 4;

    /// <summary>Shared memory of a block: the ring and its barriers, and the places of the rows of the tile unless this is a weight
    /// gradient. GatherShared and GradientShared in native/.</summary>
    public int SharedBytes
    {
        get
        {
            const int unit = 1024;
            int ring = Stages * ((Rows + Columns) * BoxChannels * sizeof(ushort) + 2 * sizeof(ulong));
            return (int)DivideUp(ring + (Split.Count == 0 ? Rows * sizeof(long) : 0), unit) * unit;
        }
    }

    /// <summary>Chooses tile and boxes; the first condition that fails is the refusal.</summary>
    /// <param name="shape">Sizes.</param>
    /// <param name="pass">Which of the three convolutions.</param>
    /// <param name="manyBlocks">Blocks that keep the device busy.</param>
    public static HopperPlan Choose(in ConvShape shape, ConvPass pass, long manyBlocks = NominalDevice.ManyBlocks)
    {
        int depth = pass == ConvPass.Feedback ? shape.K : shape.C, columns = pass == ConvPass.Feedback ? shape.C : shape.K;
        if (shape.C % 8 != 0 || shape.K % 8 != 0) return new($"{shape.C} and {shape.K} channels are not both multiples of 8");
        if (depth * 2 < DivideUp(depth, BoxChannels) * BoxChannels) return new($"{depth} channels leave boxes of {BoxChannels} more than half empty");
        if (columns < LeastColumns) return new($"{columns} columns leave tiles of 64 more than half empty");
        if (shape.Stride > MostStride) return new($"stride {shape.Stride} is more than {MostStride}");
        if (pass != ConvPass.Feedback && Math.Min(shape.H, shape.W) < shape.Stride) return new($"a map of {shape.H}x{shape.W} has no pixel in some planes of stride {shape.Stride}");
        HopperPlan plan = pass == ConvPass.WeightGradient ? OfGradient(Flattened(shape), manyBlocks) : OfGather(Flattened(shape), pass, depth, columns, manyBlocks);
        return plan.Boxes * DivideUp(columns, plan.Columns) <= int.MaxValue ? plan : new("there are more tiles than a grid holds");
    }

    /// <summary>A 1x1 convolution of stride 1 as a matrix product: all its pixels in one row of one image.</summary>
    public static ConvShape Flattened(in ConvShape shape) =>
        shape is { R: 1, S: 1, Stride: 1, Padding: 0 }
            ? new ConvShape(1, 1, checked(shape.N * shape.H * shape.W), shape.C, shape.K, 1, 1, 1, 0)
            : shape;

    /// <summary>Blocks of a weight gradient that cover all inputs (r, s, c); each has 64 channels of two taps.</summary>
    public static long GradientRowTiles(in ConvShape flat) => DivideUp(flat.R * flat.S * DivideUp(flat.C, BoxChannels), 2);

    private static HopperPlan OfGather(in ConvShape flat, ConvPass pass, int depth, int columns, long manyBlocks)
    {
        bool forward = pass == ConvPass.Forward;
        int rows = forward ? flat.P : (int)DivideUp(flat.H, flat.Stride), across = forward ? flat.Q : (int)DivideUp(flat.W, flat.Stride);
        PixelBox box = PixelBox.Fit(flat.N, rows, across, Rows, Rows, whole: false);
        long boxes = box.Covering(flat.N, rows, across);
        // With 256 columns the pixels are read half as often, which pays for long reductions, if there are still enough blocks.
        bool wide = columns % 256 == 0 && (long)depth * flat.R * flat.S >= 512 && boxes * (columns / 256) >= manyBlocks;
        return new(null, wide ? 256 : NarrowColumns(columns), box, boxes);
    }

    private static HopperPlan OfGradient(in ConvShape flat, long manyBlocks)
    {
        // A split of fewer boxes is not worth a block.
        const int fewestBoxes = 4;
        PixelBox box = PixelBox.Fit(flat.N, flat.P, flat.Q, BoxChannels, WgmmaDepth, whole: true);
        int columns = NarrowColumns(flat.K);
        long boxes = box.Covering(flat.N, flat.P, flat.Q), blocks = GradientRowTiles(flat) * DivideUp(flat.K, columns);
        long splits = Math.Clamp(manyBlocks / blocks, 1, DivideUp(boxes, fewestBoxes));
        return new(null, columns, box, boxes, SplitK.Of(boxes, DivideUp(boxes, splits)));
    }

    // Tiles of 64 columns where there are few tiles and the last one of 128 columns would be half empty.
    private static int NarrowColumns(int columns) => columns % 128 is > 0 and <= 64 && columns < 256 ? 64 : 128;
}

/// <summary>
/// Convolutions on Hopper, by TMA and wgmma: native/convolution_gather_sm90.cu (forward and feedback) and
/// convolution_weight_gradient_sm90.cu.
/// </summary>
internal sealed unsafe class HopperConvolution(CudaBackend backend, in ConvRequest request, in HopperPlan plan)
    : CudaConvolution(backend, request)
{
    /// <summary>The entry in the list.</summary>
    public static readonly CudaConvKernel Kernel = new(
        "hopper", Refusal, (backend, request) => new HopperConvolution(backend, request, Choose(backend, request)));

    // Of pixels of stride 2.
    private const int MostClasses = 4, MostPlanes = 4;

    // By columns of the tile, and by whether the weights are read transposed.
    private static readonly CudaKernelTable<(int Columns, bool Transposed)> GatherTable = new(
        "convolution_gather_sm90",
        ((64, false), "conv_gather_sm90_64"), ((128, false), "conv_gather_sm90_128"), ((256, false), "conv_gather_sm90_256"),
        ((64, true), "conv_gather_sm90_transposed_64"), ((128, true), "conv_gather_sm90_transposed_128"),
        ((256, true), "conv_gather_sm90_transposed_256"));

    private static readonly CudaKernelTable<int> WeightGradientTable = new(
        "convolution_weight_gradient_sm90", (64, "conv_weight_gradient_sm90_64"), (128, "conv_weight_gradient_sm90_128"));

    private readonly HopperPlan _plan = plan;

    // A 1x1 convolution of stride 1 is computed as a matrix product.
    private readonly ConvShape _flat = HopperPlan.Flattened(request.Shape);

    // What errors of the driver say. Made here, because a step allocates nothing.
    private readonly string _mappingPixels = $"mapping pixels of {request.Shape}", _mappingWeights = $"mapping weights of {request.Shape}";

    /// <summary>All kernels that this launches.</summary>
    public static IEnumerable<CudaKernel> Kernels => [.. GatherTable.All, .. WeightGradientTable.All];

    public override ConvExplanation Explain()
    {
        string kernel = $"implicit GEMM {HopperPlan.Rows}x{_plan.Columns}x{HopperPlan.BoxChannels}, bf16 wgmma, {_plan.Stages} stages by TMA";
        long classes = ResidueClass.Classes(Shape);
        string strided = Shape.Stride == 1 ? "" : Backend.TraversalStrides ? ", by element strides of 2" : $", from {MostPlanes} planes of pixels";
        return Pass switch
        {
            ConvPass.Forward => new(kernel, $"{_plan.Boxes} boxes of {_plan.Box} pixels{strided}; epilogue and batch norm sums in the same pass"),
            ConvPass.Feedback when classes > 1 => new(
                $"{kernel}, by residue class", $"{classes} classes of input pixels, each with the taps that reach it, in boxes of {_plan.Box}"),
            ConvPass.Feedback => new(kernel, $"{_plan.Boxes} boxes of {_plan.Box} pixels, taps in reverse"),
            _ => new(
                $"{kernel}, split-K {_plan.Split.Count}", $"reduced over {_plan.Boxes} boxes of {_plan.Box} pixels{strided}; partial sums are added in order"),
        };
    }

    public override void Forward(BufferView x, BufferView w, BufferView y, in ConvEpilogue epilogue)
    {
        ConvGatherArguments arguments = StartGather(_flat.P, _flat.Q, 1, _flat.K);
        (arguments.Inputs, arguments.Planes) = PixelMaps(x, _flat.N, _flat.H, _flat.W, _flat.C, _flat.Stride);
        arguments.Weights = WeightMap(w, _flat.C, _flat.K, HopperPlan.BoxChannels);
        arguments.Classes[0] = new GatherClass { Gather = new NativeGather(_flat), Tiles = (int)_plan.Boxes };
        arguments.Activation = (int)epilogue.Activation;
        arguments.Y = y.Address;
        arguments.Addend = epilogue.Residual.Address;
        arguments.Scale = epilogue.Scale.Floats;
        arguments.Bias = epilogue.Bias.Floats;
        arguments.Partials = Partials(epilogue, _plan.Boxes);
        arguments.Counts = Counts(epilogue, _plan.Boxes);
        LaunchGather(transposed: false, arguments, classes: 1);
        FinishStatistics(epilogue, _plan.Boxes, 0, arguments.Partials, arguments.Counts);
    }

    public override void Feedback(BufferView dy, BufferView weights, FeedbackLayout layout, BufferView dx, bool accumulate)
    {
        bool transposed = layout == FeedbackLayout.Forward;
        ConvGatherArguments arguments = StartGather(_flat.H, _flat.W, _flat.Stride, _flat.C);
        (arguments.Inputs, arguments.Planes) = PixelMaps(dy, _flat.N, _flat.P, _flat.Q, _flat.K, 1);
        arguments.Weights = transposed
            ? WeightMap(weights, _flat.C, _flat.K, _plan.Columns)
            : WeightMap(weights, _flat.K, _flat.C, HopperPlan.BoxChannels);
        int classes = 0;
        for (int row = 0; row < ResidueClass.RowClasses(_flat); row++)
        {
            for (int column = 0; column < ResidueClass.ColumnClasses(_flat); column++)
            {
                ResidueClass rows = ResidueClass.OfRows(_flat, row), columns = ResidueClass.OfColumns(_flat, column);
                // Zeros would be added to pixels that no tap reaches: of a 1x1 convolution of stride 2, three quarters of dx.
                if (accumulate && rows.Taps * columns.Taps == 0) continue;
                var gather = new NativeGather(_flat, rows, columns);
                arguments.Classes[classes++] = new GatherClass
                {
                    Gather = gather,
                    Tiles = (int)_plan.Box.Covering(gather.Images, gather.OutputRows, gather.OutputColumns),
                    PlaceRow = row,
                    PlaceColumn = column,
                };
            }
        }

        if (classes == 0) return;
        arguments.Y = dx.Address;
        arguments.Addend = accumulate ? dx.Address : 0;
        LaunchGather(transposed, arguments, classes);
    }

    public override void WeightGradient(BufferView x, BufferView dy, BufferView dw)
    {
        (PixelPlanes inputs, int planes) = PixelMaps(x, _flat.N, _flat.H, _flat.W, _flat.C, _flat.Stride);
        var arguments = new GradientArguments
        {
            Inputs = inputs,
            Planes = planes,
            Errors = PixelMaps(dy, _flat.N, _flat.P, _flat.Q, _flat.K, 1).Maps[0],
            Shape = new NativeConvShape(_flat),
            BoxImages = _plan.Box.Images,
            BoxRows = _plan.Box.Rows,
            BoxColumns = _plan.Box.Columns,
            Boxes = (int)_plan.Boxes,
            BoxesPerSplit = _plan.Split.Each,
            Dw = SplitTarget(_plan.Split, dw).Dw,
        };
        Launch(
            WeightGradientTable[_plan.Columns],
            new(HopperPlan.GradientRowTiles(_flat), DivideUp(_flat.K, _plan.Columns), _plan.Split.Count), HopperPlan.BlockThreads, arguments,
            _plan.SharedBytes);
        AddSplits(_plan.Split, dw);
    }

    private static HopperPlan Choose(CudaBackend backend, in ConvRequest request) =>
        HopperPlan.Choose(request.Shape, request.Pass, backend.ManyBlocks);

    private static string? Refusal(CudaBackend backend, ConvRequest request) =>
        request.X != ElementType.BFloat16 ? Float32Operands
        : backend.Architecture != "sm_90a" ? "the device has no wgmma"
        : Choose(backend, request).Refusal is { } refusal ? refusal
        : request.Y != ElementType.BFloat16 ? Float32Result
        : IsAligned(request) && request.ChannelAlignment % 16 == 0 ? null
        : Misaligned;

    private ConvGatherArguments StartGather(int placeRows, int placeColumns, int placeStep, int columns) => new()
    {
        BoxImages = _plan.Box.Images,
        BoxRows = _plan.Box.Rows,
        BoxColumns = _plan.Box.Columns,
        PlaceRows = placeRows,
        PlaceColumns = placeColumns,
        PlaceStep = placeStep,
        Columns = columns,
        ColumnTiles = (int)DivideUp(columns, _plan.Columns),
    };

    private void LaunchGather(bool transposed, in ConvGatherArguments arguments, int classes) => Launch(
        GatherTable[(_plan.Columns, transposed)], new(_plan.Boxes * arguments.ColumnTiles, 1, classes), HopperPlan.BlockThreads, arguments,
        _plan.SharedBytes);

    /// <summary>The tensor maps of pixels, and how many there are. With a step there is one for each plane, which has every step-th pixel of
    /// every step-th row, or one that steps over the pixels between (<see cref="CudaBackend.TraversalStrides"/>).</summary>
    private (PixelPlanes Maps, int Count) PixelMaps(BufferView pixels, int images, int rows, int columns, int channels, int step)
    {
        PixelPlanes maps = default;
        if (step == 1 || Backend.TraversalStrides)
        {
            maps[0] = PixelMap(pixels, 0, (images, rows, columns), (rows * columns, columns, 1), channels, step);
            return (maps, 1);
        }

        for (int row = 0; row < step; row++)
        {
            for (int column = 0; column < step; column++)
            {
                maps[row * step + column] = PixelMap(
                    pixels, row * columns + column, (images, DivideUp32(rows - row, step), DivideUp32(columns - column, step)),
                    (rows * columns, columns * step, step), channels, 1);
            }
        }

        return (maps, step * step);
    }

    /// <summary>A tensor map of pixels from number <paramref name="first"/> on, with their distances in pixels: boxes of 64 channels of every
    /// <paramref name="step"/>-th pixel.</summary>
    private TensorMap PixelMap(
        BufferView pixels, int first, (int Images, int Rows, int Columns) sizes, (int Image, int Row, int Pixel) distances, int channels, int step)
    {
        ulong pixel = (ulong)channels * sizeof(ushort);
        // The driver takes the extent of the box in the tensor, from which the element strides take the pixels of the box.
        return Backend.Map(
            pixels.Address + (nint)((ulong)first * pixel), [(ulong)channels, (ulong)sizes.Columns, (ulong)sizes.Rows, (ulong)sizes.Images],
            [(ulong)distances.Pixel * pixel, (ulong)distances.Row * pixel, (ulong)distances.Image * pixel],
            [HopperPlan.BoxChannels, (uint)(_plan.Box.Columns * step), (uint)(_plan.Box.Rows * step), (uint)_plan.Box.Images],
            [1, (uint)step, (uint)step, 1], _mappingPixels);
    }

    /// <summary>The tensor map of weights: boxes of <paramref name="boxLines"/> lines of one tap by 64 contiguous weights.</summary>
    private TensorMap WeightMap(BufferView weights, int lines, int width, int boxLines)
    {
        ulong line = (ulong)width * sizeof(ushort);
        return Backend.Map(
            weights.Address, [(ulong)width, (ulong)lines, (ulong)(_flat.R * _flat.S)], [line, line * (ulong)lines],
            [HopperPlan.BoxChannels, (uint)boxLines, 1], [1, 1, 1], _mappingWeights);
    }

    /// <summary>struct Gather of native/gather.cuh.</summary>
    internal readonly struct NativeGather
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

        /// <summary>One residue class of a feedback convolution.</summary>
        public NativeGather(in ConvShape shape, in ResidueClass rows, in ResidueClass columns)
        {
            (Images, OutputRows, OutputColumns) = (shape.N, rows.Positions, columns.Positions);
            (InputRows, InputColumns, Channels) = (shape.P, shape.Q, shape.K);
            (Step, OriginRow, OriginColumn, Direction) = (1, rows.Reach, columns.Reach, -1);
            (TapRows, TapColumns, FirstTap) = (rows.Taps, columns.Taps, rows.FirstTap * shape.S + columns.FirstTap);
            (TapRowStep, TapColumnStep) = (shape.Stride * shape.S, shape.Stride);
        }
    }

    internal struct GatherClass
    {
        public NativeGather Gather;
        public int Tiles, PlaceRow, PlaceColumn;
    }

    [InlineArray(MostClasses)]
    internal struct GatherClasses
    {
        private GatherClass _first;
    }

    [InlineArray(MostPlanes)]
    internal struct PixelPlanes
    {
        private TensorMap _first;
    }

    // In native/ both structs are aligned to 64 bytes, as their tensor maps are, and have a size that is a multiple of 64.
    internal struct ConvGatherArguments
    {
        public PixelPlanes Inputs;
        public TensorMap Weights;
        public GatherClasses Classes;
        public int BoxImages, BoxRows, BoxColumns, PlaceRows, PlaceColumns, PlaceStep, Columns, ColumnTiles, Activation, Planes;
        public nint Y, Addend;
        public float* Scale, Bias, Partials;
        public int* Counts;
        public fixed byte End[8];
    }

    internal struct GradientArguments
    {
        public PixelPlanes Inputs;
        public TensorMap Errors;
        public NativeConvShape Shape;
        public int BoxImages, BoxRows, BoxColumns, Boxes, BoxesPerSplit, Planes;
        public fixed byte Hole[4];
        public float* Dw;
        public fixed byte End[48];
    }
}
