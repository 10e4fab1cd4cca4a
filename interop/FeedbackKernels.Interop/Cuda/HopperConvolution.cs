using static FeedbackKernels.Interop.Rounding;

namespace FeedbackKernels.Interop;

/// <summary>
/// How the kernels for Hopper (native/conv_gather_sm90.cu, conv_weight_gradient_sm90.cu) cut a convolution, or why they do not
/// take it. By the shape alone, so that a result has the same bits wherever the kernel runs.
/// </summary>
/// <param name="Refusal">Why they do not take it; null where they do.</param>
/// <param name="Columns">Columns of a block's tile, output channels or channels of dy: 64, 128 or 256.</param>
/// <param name="Box">Output pixels of a tile, of a feedback convolution with a stride those of one class; of a weight gradient
/// the pixels that a stage reduces over.</param>
/// <param name="Tiles">Boxes that cover the pixels; of a feedback convolution with a stride those of the largest class.</param>
/// <param name="BoxesPerSlice">Of a weight gradient: how many boxes one block reduces over.</param>
internal readonly record struct HopperConvolution(
    string? Refusal, int Columns = 0, PixelBox Box = default, long Tiles = 0, int BoxesPerSlice = 0)
{
    /// <summary>Rows of a tile, and channels of a box: of native/hopper_product.cuh.</summary>
    public const int Rows = 128, BoxChannels = 64;

    /// <summary>Threads of a block: two warpgroups that multiply and a warp that copies.</summary>
    public const int BlockThreads = 288;

    private const int Step = 16, MostStride = 2, LeastColumns = 32;

    // Two blocks for each multiprocessor of a large device.
    private const long ManyBlocks = 264;

    /// <summary>Pairs of operands in shared memory: StagesOf of native/hopper_product.cuh.</summary>
    public int Stages => Columns == 128 ? 3 : 4;

    /// <summary>Of a weight gradient: partial sums that are added in the end.</summary>
    public int Slices => (int)DivideUp(Tiles, BoxesPerSlice);

    /// <summary>Shared memory of a block, sizeof(GatherShared) or sizeof(GradientShared): ring, barriers, and the places of a
    /// tile's rows.</summary>
    public int SharedBytes
    {
        get
        {
            const int unit = 1024;
            int ring = Stages * ((Rows + Columns) * BoxChannels * sizeof(ushort) + 2 * sizeof(ulong));
            return (int)DivideUp(ring + (BoxesPerSlice == 0 ? Rows * sizeof(long) : 0), unit) * unit;
        }
    }

    /// <summary>The table: the first line that applies decides.</summary>
    /// <param name="architecture">Of the device's kernels.</param>
    /// <param name="shape">Sizes.</param>
    /// <param name="pass">Which of the three convolutions.</param>
    public static HopperConvolution Choose(string architecture, in ConvShape shape, ConvPass pass)
    {
        int boxed = pass == ConvPass.Feedback ? shape.K : shape.C, columns = pass == ConvPass.Feedback ? shape.C : shape.K;
        if (architecture != "sm_90a") return new("the device has no wgmma");
        if (shape.C % 8 != 0 || shape.K % 8 != 0) return new($"{shape.C} and {shape.K} channels are not both multiples of 8");
        if (boxed * 2 < DivideUp(boxed, BoxChannels) * BoxChannels) return new($"{boxed} channels leave boxes of {BoxChannels} more than half empty");
        if (columns < LeastColumns) return new($"{columns} columns leave tiles of 64 more than half empty");
        if (shape.Stride > MostStride) return new($"stride {shape.Stride} is more than {MostStride}");
        HopperConvolution plan = pass == ConvPass.WeightGradient ? Gradient(Flattened(shape)) : Gather(Flattened(shape), pass, boxed, columns);
        return plan.Tiles * DivideUp(columns, plan.Columns) <= int.MaxValue ? plan : new("there are more tiles than a grid holds");
    }

    /// <summary>A 1x1 convolution of stride 1 has no rows and columns: all pixels are those of one row.</summary>
    public static ConvShape Flattened(in ConvShape shape) =>
        shape is { R: 1, S: 1, Stride: 1, Padding: 0 }
            ? new ConvShape(1, 1, checked(shape.N * shape.H * shape.W), shape.C, shape.K, 1, 1, 1, 0)
            : shape;

    /// <summary>Of a weight gradient: blocks that it takes to hold all inputs (r, s, c), each with 64 channels of two taps.</summary>
    public static long PartsOf(in ConvShape flat) => DivideUp(flat.R * flat.S * DivideUp(flat.C, BoxChannels), 2);

    /// <summary>What the kernel is and why it serves.</summary>
    /// <param name="pass">Which of the three convolutions.</param>
    /// <param name="classes">Of a feedback convolution: classes of input pixels.</param>
    public ConvExplanation Explain(ConvPass pass, long classes)
    {
        string kernel = $"implicit GEMM {Rows}x{Columns}x{BoxChannels}, bf16 wgmma, ring of {Stages} stages by TMA";
        string box = $"{Box.Images}x{Box.Rows}x{Box.Columns}";
        return pass switch
        {
            ConvPass.Forward => new(kernel, $"{Tiles} boxes of {box} pixels; epilogue and batch norm sums in the same pass"),
            ConvPass.Feedback when classes > 1 => new(
                $"{kernel}, by residue class", $"{classes} classes of input pixels, each with the taps that reach it, in boxes of {box}"),
            ConvPass.Feedback => new(kernel, $"{Tiles} boxes of {box} pixels, taps in reverse"),
            _ => new($"{kernel}, {Slices} slices of the pixels", $"{Tiles} boxes of {box} pixels are reduced over; slices added in order"),
        };
    }

    private static HopperConvolution Gather(in ConvShape flat, ConvPass pass, int depth, int columns)
    {
        bool forward = pass == ConvPass.Forward;
        int rows = forward ? flat.P : (int)DivideUp(flat.H, flat.Stride), across = forward ? flat.Q : (int)DivideUp(flat.W, flat.Stride);
        PixelBox box = PixelBox.Fit(flat.N, rows, across, Rows, Rows, whole: false);
        long tiles = box.Covering(flat.N, rows, across);
        // 256 columns read the pixels half as often, which long sums are worth; but a device wants many blocks.
        bool wide = columns % 256 == 0 && (long)depth * flat.R * flat.S >= 512 && tiles * (columns / 256) >= ManyBlocks;
        return new(null, wide ? 256 : NarrowColumns(columns), box, tiles);
    }

    private static HopperConvolution Gradient(in ConvShape flat)
    {
        const int fewestBoxes = 4;
        PixelBox box = PixelBox.Fit(flat.N, flat.P, flat.Q, BoxChannels, Step, whole: true);
        int columns = NarrowColumns(flat.K);
        long boxes = box.Covering(flat.N, flat.P, flat.Q), blocks = PartsOf(flat) * DivideUp(flat.K, columns);
        // As many slices as give a large device a block for each place, as long as a slice is worth a block.
        long slices = Math.Clamp(DivideUp(ManyBlocks, blocks), 1, DivideUp(boxes, fewestBoxes));
        return new(null, columns, box, boxes, checked((int)DivideUp(boxes, slices)));
    }

    // Tiles of 64 where the last one of 128 would be half empty and the others few.
    private static int NarrowColumns(int columns) => columns % 128 is > 0 and <= 64 && columns < 256 ? 64 : 128;
}
