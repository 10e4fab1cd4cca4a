using static FeedbackKernels.Interop.Rounding;

namespace FeedbackKernels.Interop;

/// <summary>The tile of native/product_tile.cuh, which the portable convolutions and the mirror use.</summary>
internal static class PortableTile
{
    /// <summary>Rows and columns of the tile, depths of a step, threads of a block.</summary>
    public const int Rows = 128, Columns = 64, Depth = 16, Threads = 128;

    // A split of a weight gradient reads as much as it writes where it has fewer pixels.
    private const int FewestPixels = 128;

    /// <summary>How a weight gradient is split: over as many blocks as a large device takes, as long as a split is worth a block.</summary>
    /// <param name="shape">Sizes.</param>
    /// <param name="manyBlocks">Blocks that keep the device busy.</param>
    public static SplitK Split(in ConvShape shape, long manyBlocks = NominalDevice.ManyBlocks)
    {
        long pixels = (long)shape.N * shape.P * shape.Q;
        long tiles = DivideUp(shape.FanIn, Rows) * DivideUp(shape.K, Columns);
        long wanted = Math.Clamp(manyBlocks / tiles, 1, DivideUp(pixels, FewestPixels));
        return SplitK.Of(pixels, DivideUp(DivideUp(pixels, wanted), Depth) * Depth);
    }

    /// <summary>The blocks of a weight gradient.</summary>
    public static CudaBackend.Grid GradientGrid(in ConvShape shape, in SplitK split) =>
        new(DivideUp(shape.FanIn, Rows), DivideUp(shape.K, Columns), split.Count);
}

/// <summary>
/// The convolutions that serve every request: native/convolution_forward.cu, convolution_feedback.cu and
/// convolution_weight_gradient.cu.
/// </summary>
internal sealed unsafe class PortableConvolution : CudaConvolution
{
    /// <summary>The entry in the list.</summary>
    public static readonly CudaConvKernel Kernel = new("portable", (_, _) => null, (backend, request) => new PortableConvolution(backend, request));

    // By the number of elements that a load of x and of W takes, and by whether y is float where operands are bf16.
    private static readonly CudaKernelTable<(ElementType Type, ElementType Y, int WidthX, int WidthW)> ForwardTable = new(
        "convolution_forward",
        ((ElementType.Float32, ElementType.Float32, 4, 4), "conv_forward_fp32_4_4"),
        ((ElementType.Float32, ElementType.Float32, 4, 1), "conv_forward_fp32_4_1"),
        ((ElementType.Float32, ElementType.Float32, 1, 4), "conv_forward_fp32_1_4"),
        ((ElementType.Float32, ElementType.Float32, 1, 1), "conv_forward_fp32_1_1"),
        ((ElementType.BFloat16, ElementType.BFloat16, 8, 8), "conv_forward_bf16_8_8"),
        ((ElementType.BFloat16, ElementType.BFloat16, 8, 1), "conv_forward_bf16_8_1"),
        ((ElementType.BFloat16, ElementType.BFloat16, 1, 8), "conv_forward_bf16_1_8"),
        ((ElementType.BFloat16, ElementType.BFloat16, 1, 1), "conv_forward_bf16_1_1"),
        ((ElementType.BFloat16, ElementType.Float32, 8, 8), "conv_forward_bf16_to_fp32_8_8"),
        ((ElementType.BFloat16, ElementType.Float32, 8, 1), "conv_forward_bf16_to_fp32_8_1"),
        ((ElementType.BFloat16, ElementType.Float32, 1, 8), "conv_forward_bf16_to_fp32_1_8"),
        ((ElementType.BFloat16, ElementType.Float32, 1, 1), "conv_forward_bf16_to_fp32_1_1"));

    // By the number of elements that a load of dy and a store of dx take.
    private static readonly CudaKernelTable<(ElementType Type, FeedbackLayout Layout, int WidthDy, int WidthDx)> FeedbackTable = new(
        "convolution_feedback",
        ((ElementType.Float32, FeedbackLayout.Feedback, 4, 4), "conv_feedback_fp32_4_4"),
        ((ElementType.Float32, FeedbackLayout.Feedback, 4, 1), "conv_feedback_fp32_4_1"),
        ((ElementType.Float32, FeedbackLayout.Feedback, 1, 4), "conv_feedback_fp32_1_4"),
        ((ElementType.Float32, FeedbackLayout.Feedback, 1, 1), "conv_feedback_fp32_1_1"),
        ((ElementType.BFloat16, FeedbackLayout.Feedback, 8, 8), "conv_feedback_bf16_8_8"),
        ((ElementType.BFloat16, FeedbackLayout.Feedback, 8, 1), "conv_feedback_bf16_8_1"),
        ((ElementType.BFloat16, FeedbackLayout.Feedback, 1, 8), "conv_feedback_bf16_1_8"),
        ((ElementType.BFloat16, FeedbackLayout.Feedback, 1, 1), "conv_feedback_bf16_1_1"),
        ((ElementType.Float32, FeedbackLayout.Forward, 4, 4), "conv_feedback_transposed_fp32_4_4"),
        ((ElementType.Float32, FeedbackLayout.Forward, 4, 1), "conv_feedback_transposed_fp32_4_1"),
        ((ElementType.Float32, FeedbackLayout.Forward, 1, 4), "conv_feedback_transposed_fp32_1_4"),
        ((ElementType.Float32, FeedbackLayout.Forward, 1, 1), "conv_feedback_transposed_fp32_1_1"),
        ((ElementType.BFloat16, FeedbackLayout.Forward, 8, 8), "conv_feedback_transposed_bf16_8_8"),
        ((ElementType.BFloat16, FeedbackLayout.Forward, 8, 1), "conv_feedback_transposed_bf16_8_1"),
        ((ElementType.BFloat16, FeedbackLayout.Forward, 1, 8), "conv_feedback_transposed_bf16_1_8"),
        ((ElementType.BFloat16, FeedbackLayout.Forward, 1, 1), "conv_feedback_transposed_bf16_1_1"));

    // By the number of elements that a load of x and of dy takes.
    private static readonly CudaKernelTable<(ElementType Type, int WidthX, int WidthDy)> WeightGradientTable = new(
        "convolution_weight_gradient",
        ((ElementType.Float32, 4, 4), "conv_weight_gradient_fp32_4_4"), ((ElementType.Float32, 4, 1), "conv_weight_gradient_fp32_4_1"),
        ((ElementType.Float32, 1, 4), "conv_weight_gradient_fp32_1_4"), ((ElementType.Float32, 1, 1), "conv_weight_gradient_fp32_1_1"),
        ((ElementType.BFloat16, 8, 8), "conv_weight_gradient_bf16_8_8"), ((ElementType.BFloat16, 8, 1), "conv_weight_gradient_bf16_8_1"),
        ((ElementType.BFloat16, 1, 8), "conv_weight_gradient_bf16_1_8"), ((ElementType.BFloat16, 1, 1), "conv_weight_gradient_bf16_1_1"));

    private readonly ElementType _type;
    private readonly SplitK _split;

    private PortableConvolution(CudaBackend backend, in ConvRequest request) : base(backend, request)
    {
        _type = request.X;
        if (request.Pass != ConvPass.WeightGradient) return;
        // Where only an address keeps a pipelined kernel from serving, its split is used, because no bit may depend on addresses.
        PipelinedPlan pipelined = PipelinedPlan.Choose(request.Shape, request.Pass, backend.OnlyTile, backend.ManyBlocks);
        _split = _type == ElementType.BFloat16 && pipelined.Refusal is null ? pipelined.Split : PortableTile.Split(request.Shape, backend.ManyBlocks);
    }

    /// <summary>All kernels that this launches.</summary>
    public static IEnumerable<CudaKernel> Kernels => [.. ForwardTable.All, .. FeedbackTable.All, .. WeightGradientTable.All];

    public override ConvExplanation Explain()
    {
        string tile = $"implicit GEMM {PortableTile.Rows}x{PortableTile.Columns}x{PortableTile.Depth}, "
            + (_type == ElementType.BFloat16 ? "bf16 tensor cores" : "fp32");
        return Pass switch
        {
            ConvPass.Forward => new(tile, "loads taps into shared memory; epilogue and batch norm sums in the same pass"),
            ConvPass.Feedback when Shape.Stride > 1 => new(
                $"{tile}, by residue class", $"{ResidueClass.Classes(Shape)} classes of input pixels, each with the taps that reach it"),
            ConvPass.Feedback => new(tile, "loads taps into shared memory, in reverse"),
            _ when _split.Count == 1 => new(tile, "inputs by channels, reduced over all pixels"),
            _ => new($"{tile}, split-K {_split.Count}", "inputs by channels, reduced over pixels; partial sums are added in order"),
        };
    }

    public override void Forward(BufferView x, BufferView w, BufferView y, in ConvEpilogue epilogue)
    {
        long tiles = DivideUp((long)Shape.N * Shape.P * Shape.Q, PortableTile.Rows);
        var arguments = new ConvForwardArguments(Shape, x, w, y, epilogue, Partials(epilogue, tiles));
        CudaKernel kernel = ForwardTable[(x.Type, y.Type, Backend.WidthOf(Shape.C, x), Backend.WidthOf(Shape.K, w, y, epilogue.Residual))];
        Launch(kernel, new(tiles, DivideUp(Shape.K, PortableTile.Columns)), PortableTile.Threads, arguments);
        FinishStatistics(epilogue, tiles, PortableTile.Rows, arguments.Partials, counts: null);
    }

    public override void Feedback(BufferView dy, BufferView weights, FeedbackLayout layout, BufferView dx, bool accumulate)
    {
        bool transposed = layout == FeedbackLayout.Forward;
        int widthDy = transposed ? Backend.WidthOf(Shape.K, dy, weights) : Backend.WidthOf(Shape.K, dy);
        int widthDx = transposed ? Backend.WidthOf(Shape.C, dx) : Backend.WidthOf(Shape.C, dx, weights);
        var grid = new CudaBackend.Grid(
            DivideUp(ResidueClass.MostPixels(Shape), PortableTile.Rows), DivideUp(Shape.C, PortableTile.Columns), ResidueClass.Classes(Shape));
        Launch(
            FeedbackTable[(dy.Type, layout, widthDy, widthDx)], grid, PortableTile.Threads,
            new ConvFeedbackArguments(Shape, dy, weights, dx, accumulate));
    }

    public override void WeightGradient(BufferView x, BufferView dy, BufferView dw)
    {
        CudaKernel kernel = WeightGradientTable[(x.Type, Backend.WidthOf(Shape.C, x), Backend.WidthOf(Shape.K, dy, dw))];
        var arguments = new ConvWeightGradientArguments(Shape, x, dy, SplitTarget(_split, dw));
        Launch(kernel, PortableTile.GradientGrid(Shape, _split), PortableTile.Threads, arguments);
        AddSplits(_split, dw);
    }
}
