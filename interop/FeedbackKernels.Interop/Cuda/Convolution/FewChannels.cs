using static FeedbackKernels.Interop.Rounding;

namespace FeedbackKernels.Interop;

/// <summary>
/// Tiles and boxes of a convolution of few channels, or why it is refused. They depend on the shape alone, so that sums have the same
/// order on every device.
/// </summary>
/// <param name="Refusal">Why the kernels do not take the shape; null where they do.</param>
/// <param name="Rows">Rows of a tile: pixels of a box, or elements of the filter in a weight gradient.</param>
/// <param name="Columns">Columns of a tile: output channels.</param>
/// <param name="Tiles">Tiles that cover the output channels, and in a weight gradient the filter as well.</param>
/// <param name="SharedBytes">Shared memory of a block.</param>
/// <param name="Boxes">Boxes of output pixels.</param>
/// <param name="Split">How the boxes are divided over blocks, each of which computes or reduces over its boxes one after the
/// other.</param>
internal readonly record struct FewChannelsPlan(
    string? Refusal, int Rows = 0, int Columns = 0, long Tiles = 0, int SharedBytes = 0, long Boxes = 0, SplitK Split = default)
{
    /// <summary>Threads of a block.</summary>
    public const int BlockThreads = 128;

    /// <summary>Output pixels of a box: of native/input_patch.cuh.</summary>
    public const int BoxRows = 8, BoxColumns = 16, BoxPixels = BoxRows * BoxColumns;

    // From 8 channels on, if they are a multiple of 8, copies of 16 bytes are faster.
    private const int MostChannels = 7;

    // A block may have 99 KiB on the smallest devices from sm_80 on.
    private const long MostSharedBytes = 96 << 10;

    // Four blocks for each multiprocessor: one copies while others multiply.
    private const long WantedBlocks = 4 * NominalDevice.Multiprocessors;

    /// <summary>Chooses tile and boxes; the first condition that fails is the refusal.</summary>
    /// <param name="shape">Sizes.</param>
    /// <param name="pass">Which of the three convolutions.</param>
    public static FewChannelsPlan Choose(in ConvShape shape, ConvPass pass)
    {
        if (pass == ConvPass.Feedback) return new("there is no feedback kernel for few channels");
        if (shape.C > MostChannels) return new($"{shape.C} channels are more than {MostChannels}");
        if (shape.K % 8 != 0) return new($"{shape.K} output channels are no multiple of 8");
        long boxes = shape.N * DivideUp(shape.P, BoxRows) * DivideUp(shape.Q, BoxColumns), pixels = (long)shape.N * shape.P * shape.Q;
        if (boxes * BoxPixels > 4 * pixels) return new($"{shape.P}x{shape.Q} pixels leave boxes of {BoxRows}x{BoxColumns} more than three quarters empty");
        if (boxes > int.MaxValue) return new("there are more boxes than a grid holds");
        bool forward = pass == ConvPass.Forward;
        int columns = forward && shape.K <= 32 ? 32 : 64, rows = forward ? BoxPixels : shape.FanIn <= 64 ? 64 : 192;
        long tiles = DivideUp(shape.K, columns) * (forward ? 1 : DivideUp(shape.FanIn, rows));
        long bytes = forward ? ForwardBytes(shape, columns) : GradientBytes(shape, columns);
        if (bytes > MostSharedBytes) return new($"a block would take {bytes} bytes of shared memory, more than {MostSharedBytes}");
        long each = DivideUp(boxes, Math.Clamp(WantedBlocks / tiles, 1, boxes));
        return new(null, rows, columns, tiles, (int)bytes, boxes, SplitK.Of(boxes, each));
    }

    // Weights, pairs of taps, and the inputs of a box or, in the same place, its results in binary32.
    private static long ForwardBytes(in ConvShape shape, int columns)
    {
        const int pairsOfStep = 8, bytesOfPair = 8;
        long steps = DivideUp(shape.R * DivideUp((long)shape.S * shape.C, 2), pairsOfStep);
        bool twice = (long)shape.Stride * shape.C % 2 != 0;
        return steps * 2 * pairsOfStep * LineBytes(columns) + steps * pairsOfStep * bytesOfPair
            + Math.Max(PatchBytes(shape, twice ? 2 : 1), BoxPixels * columns * sizeof(float));
    }

    // Inputs and errors of two boxes: one is copied while the other is multiplied.
    private static long GradientBytes(in ConvShape shape, int columns) => 2 * (BoxPixels * LineBytes(columns) + PatchBytes(shape, 1));

    private static long LineBytes(int columns) => (columns + 8) * sizeof(ushort);

    private static long PatchBytes(in ConvShape shape, int copies)
    {
        long rows = (BoxRows - 1L) * shape.Stride + shape.R, elements = ((BoxColumns - 1L) * shape.Stride + shape.S) * shape.C;
        return DivideUp(copies * rows * DivideUp(elements, 2) * 2 * sizeof(ushort), 16) * 16;
    }
}

/// <summary>
/// The first convolution of a network, which has few input channels: native/convolution_forward_few_channels.cu and
/// convolution_weight_gradient_few_channels.cu. The inputs of a box of output pixels are copied to shared memory once, and all taps read
/// them there.
/// </summary>
internal sealed unsafe class FewChannelsConvolution(CudaBackend backend, in ConvRequest request, in FewChannelsPlan plan)
    : CudaConvolution(backend, request)
{
    /// <summary>The entry in the list.</summary>
    public static readonly CudaConvKernel Kernel = new(
        "few channels", Refusal,
        (backend, request) => new FewChannelsConvolution(backend, request, FewChannelsPlan.Choose(request.Shape, request.Pass)));

    // By columns and by rows of the tile.
    private static readonly CudaKernelTable<int> ForwardTable = new(
        "convolution_forward_few_channels", (32, "conv_forward_few_channels_32"), (64, "conv_forward_few_channels_64"));

    private static readonly CudaKernelTable<int> WeightGradientTable = new(
        "convolution_weight_gradient_few_channels",
        (64, "conv_weight_gradient_few_channels_64"), (192, "conv_weight_gradient_few_channels_192"));

    private readonly FewChannelsPlan _plan = plan;

    /// <summary>All kernels that this launches.</summary>
    public static IEnumerable<CudaKernel> Kernels => [.. ForwardTable.All, .. WeightGradientTable.All];

    public override ConvExplanation Explain()
    {
        string kernel = $"few channels, {_plan.Rows}x{_plan.Columns}, bf16 tensor cores, "
            + $"inputs of {FewChannelsPlan.BoxRows}x{FewChannelsPlan.BoxColumns} pixels in shared memory";
        string boxes = $"{_plan.Boxes} boxes, {_plan.Split.Each} in each block";
        return Pass switch
        {
            ConvPass.Forward => new(kernel, $"{boxes}; epilogue and batch norm sums in the same pass"),
            _ when _plan.Split.Count == 1 => new(kernel, $"{boxes}; reduced over all pixels"),
            _ => new($"{kernel}, split-K {_plan.Split.Count}", $"{boxes}; partial sums are added in order"),
        };
    }

    public override void Forward(BufferView x, BufferView w, BufferView y, in ConvEpilogue epilogue)
    {
        var arguments = new FewChannelsForwardArguments
        {
            Forward = new ConvForwardArguments(Shape, x, w, y, epilogue, Partials(epilogue, _plan.Boxes)),
            Counts = Counts(epilogue, _plan.Boxes),
        };
        Launch(
            ForwardTable[_plan.Columns], new(_plan.Tiles * _plan.Split.Count), FewChannelsPlan.BlockThreads, arguments, _plan.SharedBytes);
        FinishStatistics(epilogue, _plan.Boxes, 0, arguments.Forward.Partials, arguments.Counts);
    }

    public override void WeightGradient(BufferView x, BufferView dy, BufferView dw)
    {
        var arguments = new FewChannelsGradientArguments
        {
            Shape = new NativeConvShape(Shape),
            X = x.Pointer,
            Dy = dy.Pointer,
            Dw = SplitTarget(_plan.Split, dw).Dw,
            BoxesPerSplit = _plan.Split.Each,
        };
        Launch(
            WeightGradientTable[_plan.Rows], new(_plan.Tiles, 1, _plan.Split.Count), FewChannelsPlan.BlockThreads, arguments,
            _plan.SharedBytes);
        AddSplits(_plan.Split, dw);
    }

    private static string? Refusal(CudaBackend backend, ConvRequest request) =>
        request.X != ElementType.BFloat16 ? Float32Operands
        : FewChannelsPlan.Choose(request.Shape, request.Pass).Refusal is { } refusal ? refusal
        : request.Y != ElementType.BFloat16 ? Float32Result
        // x may start anywhere.
        : request.Alignment % 16 == 0 ? null
        : Misaligned;

    internal struct FewChannelsForwardArguments
    {
        public ConvForwardArguments Forward;
        public int* Counts;
    }

    internal struct FewChannelsGradientArguments
    {
        public NativeConvShape Shape;
        public fixed byte Hole[4];
        public void* X, Dy;
        public float* Dw;
        public int BoxesPerSplit;
        public fixed byte End[4];
    }
}
