using static FeedbackKernels.Interop.Rounding;

namespace FeedbackKernels.Interop;

/// <summary>
/// How the kernels for few channels (native/conv_forward_few_channels.cu, conv_weight_gradient_few_channels.cu) cut a
/// convolution, or why they do not take it. By the shape alone, so that sums have the same order on every device.
/// </summary>
/// <param name="Refusal">Why they do not take it; null where they do.</param>
/// <param name="Rows">Of a tile: pixels of a box, or numbers of the filter.</param>
/// <param name="Columns">Of a tile: channels.</param>
/// <param name="Tiles">Tiles that cover the filter's numbers and the channels; of a forward convolution the channels.</param>
/// <param name="Boxes">Boxes of output pixels.</param>
/// <param name="BoxesPerBlock">Boxes that a block computes or reduces over, one after the other.</param>
/// <param name="SharedBytes">Shared memory of a block.</param>
internal readonly record struct FewChannelsConvolution(
    string? Refusal, int Rows = 0, int Columns = 0, long Tiles = 0, int Boxes = 0, int BoxesPerBlock = 0, int SharedBytes = 0)
{
    /// <summary>Threads of a block.</summary>
    public const int BlockThreads = 128;

    // Of native/input_patch.cuh.
    private const int BoxRows = 8, BoxColumns = 16, BoxPixels = BoxRows * BoxColumns;

    // Where channels are a multiple of 8, copies of 16 bytes serve better.
    private const int MostChannels = 7;

    // A block may have 99 KiB on the smallest devices from sm_80 on.
    private const long MostSharedBytes = 96 << 10;

    // Four blocks for each multiprocessor of a large device, which share it while one of them copies.
    private const long ManyBlocks = 528;

    /// <summary>Blocks that share the boxes; of a weight gradient the slices.</summary>
    public int Blocks => (int)DivideUp(Boxes, BoxesPerBlock);

    /// <summary>The first condition that fails decides.</summary>
    /// <param name="shape">Sizes.</param>
    /// <param name="pass">Which of the three convolutions.</param>
    public static FewChannelsConvolution Choose(in ConvShape shape, ConvPass pass)
    {
        if (pass == ConvPass.Feedback) return new("there is no kernel that gathers errors for few channels");
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
        long each = DivideUp(boxes, Math.Clamp(DivideUp(ManyBlocks, tiles), 1, boxes));
        return new(null, rows, columns, tiles, (int)boxes, (int)each, (int)bytes);
    }

    /// <summary>What the kernel is and why it serves.</summary>
    /// <param name="pass">Which of the three convolutions.</param>
    public ConvExplanation Explain(ConvPass pass)
    {
        string kernel = $"few channels, {Rows}x{Columns}, bf16 tensor cores, inputs of {BoxRows}x{BoxColumns} pixels in shared memory";
        string boxes = $"{Boxes} boxes, {BoxesPerBlock} of them a block";
        return pass switch
        {
            ConvPass.Forward => new(kernel, $"{boxes}; epilogue and batch norm sums in the same pass"),
            _ when Blocks == 1 => new(kernel, $"{boxes}; reduced over all pixels"),
            _ => new($"{kernel}, {Blocks} slices of the pixels", $"{boxes}; slices added in order"),
        };
    }

    // Weights, pairs of taps, and first the inputs of a box, then its results in binary32.
    private static long ForwardBytes(in ConvShape shape, int columns)
    {
        const int pairsOfStep = 8, bytesOfPair = 8;
        long steps = DivideUp(shape.R * DivideUp((long)shape.S * shape.C, 2), pairsOfStep);
        bool twice = (long)shape.Stride * shape.C % 2 != 0;
        return steps * 2 * pairsOfStep * LineBytes(columns) + steps * pairsOfStep * bytesOfPair
            + Math.Max(PatchBytes(shape, twice ? 2 : 1), BoxPixels * columns * sizeof(float));
    }

    // Two boxes under way.
    private static long GradientBytes(in ConvShape shape, int columns) => 2 * (BoxPixels * LineBytes(columns) + PatchBytes(shape, 1));

    private static long LineBytes(int columns) => (columns + 8) * sizeof(ushort);

    private static long PatchBytes(in ConvShape shape, int copies)
    {
        long rows = (BoxRows - 1L) * shape.Stride + shape.R, numbers = ((BoxColumns - 1L) * shape.Stride + shape.S) * shape.C;
        return DivideUp(copies * rows * DivideUp(numbers, 2) * 2 * sizeof(ushort), 16) * 16;
    }
}
