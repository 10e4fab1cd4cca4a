using static FeedbackKernels.Interop.Rounding;

namespace FeedbackKernels.Interop;

/// <summary>A tile of native/pipeline.cuh.</summary>
/// <param name="Rows">Output pixels, or inputs of a filter in a weight gradient.</param>
/// <param name="Columns">Channels.</param>
internal readonly record struct PipelinedTile(int Rows, int Columns)
{
    /// <summary>Depths of the reduction in a step, and steps in shared memory.</summary>
    public const int Depth = 32, Stages = 4;

    /// <summary>Shared memory of a block: the operands of the stages or, in the same place, the results in binary32.</summary>
    public int SharedBytes => Math.Max(Stages * (Rows + Columns) * Depth * sizeof(ushort), Rows * Columns * sizeof(float));

    /// <summary>Tiles that cover a matrix.</summary>
    public long Covering(long rows, int columns) => DivideUp(rows, Rows) * DivideUp(columns, Columns);

    /// <inheritdoc/>
    public override string ToString() => $"{Rows}x{Columns}";
}

/// <summary>
/// Tiles of a pipelined convolution, or why it is refused. They depend on the shape alone, so that sums have the same order on every
/// device.
/// </summary>
/// <param name="Refusal">Why the kernels do not take the shape; null where they do.</param>
/// <param name="Tile">The tile of a block.</param>
/// <param name="Tiles">Tiles of the matrix; in a feedback convolution with a stride, those of the largest residue class.</param>
/// <param name="Reason">Why this tile.</param>
/// <param name="Split">How a weight gradient is split, in output pixels.</param>
internal readonly record struct PipelinedPlan(
    string? Refusal, PipelinedTile Tile = default, long Tiles = 0, string Reason = "", SplitK Split = default)
{
    /// <summary>Threads of a block.</summary>
    public const int BlockThreads = 128;

    // A split of a weight gradient with fewer pixels writes more than it reads.
    private const int FewestPixels = 256;

    // A kernel has 16 bits for the rows of a filter and 16 for its columns, and its last step may go 4 rows too far.
    private const int MostTaps = 11;

    // Large tiles read each operand less often. Small tiles give every multiprocessor a block, and less of them is empty.
    private static readonly (PipelinedTile Tile, long LeastRows, int LeastColumns, bool ManyBlocks)[] Table =
    [
        (new(128, 128), 65, 65, true),
        (new(128, 64), 65, 1, true),
        (new(64, 64), 1, 1, false),
    ];

    /// <summary>All tiles that there are kernels for.</summary>
    public static IEnumerable<PipelinedTile> AllTiles => Table.Select(line => line.Tile);

    /// <summary>Chooses the tile: the first line of the table that applies.</summary>
    /// <param name="shape">Sizes.</param>
    /// <param name="pass">Which of the three convolutions.</param>
    /// <param name="only">The tile to use instead; null for none.</param>
    /// <param name="manyBlocks">Blocks that keep the device busy.</param>
    public static PipelinedPlan Choose(
        in ConvShape shape, ConvPass pass, PipelinedTile? only = null, long manyBlocks = NominalDevice.ManyBlocks)
    {
        if (shape.C % 8 != 0 || shape.K % 8 != 0) return new($"{shape.C} and {shape.K} channels are not both multiples of 8");
        if (Math.Max(shape.R, shape.S) > MostTaps) return new($"filters of {shape.R}x{shape.S} are larger than {MostTaps}x{MostTaps}");
        // The longest distance that a kernel moves in one step: 32 images of one pixel, and two more for carries.
        double image = (double)(shape.H + 2 * shape.Padding + shape.Stride) * (shape.W + 2 * shape.Padding + shape.Stride) * shape.C;
        if (Math.Max(34 * image, Math.Max((double)shape.P * shape.Q * shape.K, shape.WeightLength)) > int.MaxValue)
            return new("images or weights are too large for distances of 32 bits");

        long pixels = (long)shape.N * shape.P * shape.Q;
        (long rows, int columns, long times) = pass switch
        {
            ConvPass.Forward => (pixels, shape.K, 1),
            ConvPass.Feedback => (ResidueClass.MostPixels(shape), shape.C, ResidueClass.Classes(shape)),
            _ => (shape.FanIn, shape.K, DivideUp(pixels, FewestPixels)),
        };
        (PipelinedTile tile, string reason) = only is { } asked ? (asked, "as asked for") : FirstOf(rows, columns, times, manyBlocks);
        long tiles = tile.Covering(rows, columns);
        if (tiles > int.MaxValue) return new("there are more tiles than a grid holds");
        if (pass != ConvPass.WeightGradient) return new(null, tile, tiles, reason);
        long splits = Math.Clamp(manyBlocks / tiles, 1, times);
        long each = DivideUp(DivideUp(pixels, splits), PipelinedTile.Depth) * PipelinedTile.Depth;
        return new(null, tile, tiles, reason, SplitK.Of(pixels, each));
    }

    private static (PipelinedTile Tile, string Reason) FirstOf(long rows, int columns, long times, long manyBlocks)
    {
        string passed = "";
        foreach ((PipelinedTile tile, long leastRows, int leastColumns, bool many) in Table)
        {
            long blocks = tile.Covering(rows, columns) * times, leastBlocks = many ? manyBlocks : 1;
            if (rows >= leastRows && columns >= leastColumns && blocks >= leastBlocks) return (tile, $"{passed}{tile} makes up to {blocks} blocks");
            passed += rows < leastRows ? $"{rows} rows leave {tile} half empty, "
                : columns < leastColumns ? $"{columns} columns leave {tile} half empty, "
                : $"{tile} makes {blocks} blocks of {leastBlocks} wanted, ";
        }

        throw new InvalidOperationException($"no line of the table takes {rows} rows and {columns} columns");
    }
}

/// <summary>
/// Convolutions whose operands are copied by cp.async in several stages: native/convolution_forward_pipelined.cu,
/// convolution_feedback_pipelined.cu and convolution_weight_gradient_pipelined.cu.
/// </summary>
internal sealed unsafe class PipelinedConvolution(CudaBackend backend, in ConvRequest request, in PipelinedPlan plan)
    : CudaConvolution(backend, request)
{
    /// <summary>The entry in the list.</summary>
    public static readonly CudaConvKernel Kernel = new(
        "pipelined", Refusal, (backend, request) => new PipelinedConvolution(backend, request, Choose(backend, request)));

    private static readonly CudaKernelTable<(PipelinedTile Tile, ElementType Y)> ForwardTable = new(
        "convolution_forward_pipelined",
        ((new(128, 128), ElementType.BFloat16), "conv_forward_pipelined_128_128"),
        ((new(128, 64), ElementType.BFloat16), "conv_forward_pipelined_128_64"),
        ((new(64, 64), ElementType.BFloat16), "conv_forward_pipelined_64_64"),
        ((new(128, 128), ElementType.Float32), "conv_forward_pipelined_to_fp32_128_128"),
        ((new(128, 64), ElementType.Float32), "conv_forward_pipelined_to_fp32_128_64"),
        ((new(64, 64), ElementType.Float32), "conv_forward_pipelined_to_fp32_64_64"));

    private static readonly CudaKernelTable<(PipelinedTile Tile, FeedbackLayout Layout)> FeedbackTable = new(
        "convolution_feedback_pipelined",
        ((new(128, 128), FeedbackLayout.Feedback), "conv_feedback_pipelined_128_128"),
        ((new(128, 64), FeedbackLayout.Feedback), "conv_feedback_pipelined_128_64"),
        ((new(64, 64), FeedbackLayout.Feedback), "conv_feedback_pipelined_64_64"),
        ((new(128, 128), FeedbackLayout.Forward), "conv_feedback_transposed_pipelined_128_128"),
        ((new(128, 64), FeedbackLayout.Forward), "conv_feedback_transposed_pipelined_128_64"),
        ((new(64, 64), FeedbackLayout.Forward), "conv_feedback_transposed_pipelined_64_64"));

    private static readonly CudaKernelTable<PipelinedTile> WeightGradientTable = new(
        "convolution_weight_gradient_pipelined",
        (new(128, 128), "conv_weight_gradient_pipelined_128_128"), (new(128, 64), "conv_weight_gradient_pipelined_128_64"),
        (new(64, 64), "conv_weight_gradient_pipelined_64_64"));

    private readonly PipelinedPlan _plan = plan;

    /// <summary>All kernels that this launches.</summary>
    public static IEnumerable<CudaKernel> Kernels => [.. ForwardTable.All, .. FeedbackTable.All, .. WeightGradientTable.All];

    public override ConvExplanation Explain()
    {
        string kernel = $"implicit GEMM {_plan.Tile}x{PipelinedTile.Depth}, bf16 tensor cores, {PipelinedTile.Stages} stages by cp.async";
        long classes = ResidueClass.Classes(Shape);
        return Pass switch
        {
            ConvPass.Forward => new(kernel, $"{_plan.Reason}; epilogue and batch norm sums in the same pass"),
            ConvPass.Feedback when classes > 1 => new(
                $"{kernel}, by residue class", $"{_plan.Reason}; {classes} classes of input pixels, each with the taps that reach it"),
            ConvPass.Feedback => new(kernel, $"{_plan.Reason}; taps in reverse"),
            _ when _plan.Split.Count == 1 => new(kernel, $"{_plan.Reason}; reduced over all pixels"),
            _ => new($"{kernel}, split-K {_plan.Split.Count}", $"{_plan.Reason}; partial sums are added in order"),
        };
    }

    public override void Forward(BufferView x, BufferView w, BufferView y, in ConvEpilogue epilogue)
    {
        long rowTiles = DivideUp((long)Shape.N * Shape.P * Shape.Q, _plan.Tile.Rows);
        var arguments = new ConvForwardArguments(Shape, x, w, y, epilogue, Partials(epilogue, rowTiles));
        Launch(ForwardTable[(_plan.Tile, y.Type)], 1, arguments);
        FinishStatistics(epilogue, rowTiles, _plan.Tile.Rows, arguments.Partials, counts: null);
    }

    public override void Feedback(BufferView dy, BufferView weights, FeedbackLayout layout, BufferView dx, bool accumulate) => Launch(
        FeedbackTable[(_plan.Tile, layout)], ResidueClass.Classes(Shape), new ConvFeedbackArguments(Shape, dy, weights, dx, accumulate));

    public override void WeightGradient(BufferView x, BufferView dy, BufferView dw)
    {
        var arguments = new ConvWeightGradientArguments(Shape, x, dy, SplitTarget(_plan.Split, dw));
        Launch(WeightGradientTable[_plan.Tile], _plan.Split.Count, arguments);
        AddSplits(_plan.Split, dw);
    }

    private static PipelinedPlan Choose(CudaBackend backend, in ConvRequest request) =>
        PipelinedPlan.Choose(request.Shape, request.Pass, backend.OnlyTile, backend.ManyBlocks);

    private static string? Refusal(CudaBackend backend, ConvRequest request) =>
        request.X != ElementType.BFloat16 ? Float32Operands
        : Choose(backend, request).Refusal is { } refusal ? refusal
        : IsAligned(request) ? null
        : Misaligned;

    private void Launch<TArguments>(CudaKernel kernel, long layers, in TArguments arguments) where TArguments : unmanaged =>
        Launch(kernel, new(_plan.Tiles, 1, layers), PipelinedPlan.BlockThreads, arguments, _plan.Tile.SharedBytes);
}
