using FeedbackKernels.Interop;
using static FeedbackKernels.Interop.Rounding;

namespace FeedbackKernels.Bench.Estimates;

/// <summary>The work of the convolutions that run on every card: the portable ones, the pipelined ones and those of few channels.</summary>
internal static unsafe class TileWork
{
    // 128 threads with 64 to 128 sums each.
    private const int Registers = 168;

    public static KernelWork Forward(in LaunchFacts launch, in ConvForwardArguments arguments, in ConvShape shape)
    {
        Tile tile = TileOf(launch);
        int outputBytes = launch.Kernel.Contains("to_fp32", StringComparison.Ordinal) ? sizeof(float) : launch.Bytes;
        long rowTiles = DivideUp((long)shape.N * shape.P * shape.Q, tile.Rows);
        double outputs = (double)shape.OutputLength * (outputBytes + (arguments.Residual == null ? 0 : launch.Bytes))
            + ConvTraffic.Statistics(arguments.Partials != null, rowTiles, shape.K);
        double inputs = (double)launch.Bytes * (ConvTraffic.Touched(shape) + shape.WeightLength);
        return Product(launch, tile, shape, inputs, outputs, shape.FanIn);
    }

    public static KernelWork Feedback(in LaunchFacts launch, in ConvFeedbackArguments arguments, in ConvShape shape)
    {
        double inputs = (double)launch.Bytes * (shape.OutputLength + shape.WeightLength);
        double outputs = (double)launch.Bytes * shape.InputLength * (arguments.Accumulate == 0 ? 1 : 2);
        // A class of input pixels has its share of the taps.
        return Product(launch, TileOf(launch), shape, inputs, outputs, (double)shape.R * shape.S * shape.K / ResidueClass.Classes(shape));
    }

    public static KernelWork Gradient(in LaunchFacts launch, in ConvShape shape)
    {
        double inputs = (double)launch.Bytes * (ConvTraffic.Touched(shape) + shape.OutputLength);
        double outputs = (double)ConvTraffic.GradientBytes * launch.Grid.Z * shape.WeightLength;
        return Product(launch, TileOf(launch), shape, inputs, outputs, (double)shape.N * shape.P * shape.Q / launch.Grid.Z);
    }

    public static KernelWork FewChannelsForward(in FewChannelsConvolution.FewChannelsForwardArguments arguments, in ConvShape shape)
    {
        FewChannelsPlan plan = FewChannelsPlan.Choose(shape, ConvPass.Forward);
        double outputs = sizeof(ushort) * (double)shape.OutputLength * (arguments.Forward.Residual == null ? 1 : 2)
            + ConvTraffic.Statistics(arguments.Forward.Partials != null, plan.Boxes, shape.K);
        return FewChannels(nameof(CudaBackend.ConvForwardCore), shape, sizeof(ushort) * (double)shape.WeightLength + outputs, plan.Split.Each);
    }

    public static KernelWork FewChannelsGradient(
        in LaunchFacts launch, in FewChannelsConvolution.FewChannelsGradientArguments arguments, in ConvShape shape) => FewChannels(
        nameof(CudaBackend.ConvWeightGradientCore), shape,
        sizeof(ushort) * (double)shape.OutputLength + (double)ConvTraffic.GradientBytes * launch.Grid.Z * shape.WeightLength,
        arguments.BoxesPerSplit);

    public static KernelWork SumOfSplits(in CudaBackend.SplitKSumArguments arguments)
    {
        // Of native/convolution_weight_gradient.cu: loads in flight.
        const double inFlight = 8;
        int passes = arguments.Splits + 1 + arguments.Accumulate;
        return new KernelWork("sum of splits", (double)ConvTraffic.GradientBytes * passes * arguments.Length) { Rounds = arguments.Splits / inFlight + 1 };
    }

    /// <summary>The tile of a kernel: pipelined ones have it in their name.</summary>
    public static Tile TileOf(in LaunchFacts launch) => launch.Kernel.Contains("pipelined", StringComparison.Ordinal)
        ? new(launch.Rows, launch.Columns, PipelinedTile.Depth, PipelinedTile.Stages, ProductsOf(launch.Rows, launch.Columns))
        : new(
            PortableTile.Rows, PortableTile.Columns, PortableTile.Depth, 1, launch.IsBf16 ? Figure.PortableTensor : Figure.PortableVector);

    /// <summary>A product by tiles.</summary>
    /// <param name="launch">The launch.</param>
    /// <param name="tile">Its tile.</param>
    /// <param name="shape">Sizes.</param>
    /// <param name="inputs">Bytes of the operands.</param>
    /// <param name="outputs">Bytes of the results, and of what is added to them.</param>
    /// <param name="reduction">Depth of the sums of a block.</param>
    private static KernelWork Product(
        in LaunchFacts launch, in Tile tile, in ConvShape shape, double inputs, double outputs, double reduction)
    {
        double steps = Math.Ceiling(reduction / tile.Depth), depth = steps * tile.Depth;
        return new KernelWork(ConvTraffic.KindOf(launch.Operation), inputs + outputs, Figure.ProductHbm)
        {
            L2 = launch.Blocks * depth * (tile.Rows + tile.Columns) * launch.Bytes + outputs,
            Flops = shape.Flops,
            Executed = 2 * launch.Blocks * depth * tile.Rows * tile.Columns,
            Products = tile.Products,
            Steps = steps / tile.Stages,
            Registers = Registers,
        };
    }

    // Its share of the peak is of the FLOP without padding. All taps read the inputs in shared memory: they are loaded once.
    private static KernelWork FewChannels(string operation, in ConvShape shape, double others, int boxesOfBlock) =>
        new(ConvTraffic.KindOf(operation), sizeof(ushort) * (double)ConvTraffic.Touched(shape) + others, Figure.ProductHbm)
        {
            Flops = shape.Flops,
            Executed = shape.Flops,
            Products = Figure.FewChannels,
            Rounds = boxesOfBlock,
            Registers = Registers,
        };

    private static Figure ProductsOf(int rows, int columns) => (rows, columns) switch
    {
        (128, 128) => Figure.Mma128x128,
        (128, 64) => Figure.Mma128x64,
        (64, 64) => Figure.Mma64x64,
        _ => throw new NotSupportedException($"the estimate has no rate for tiles of {rows}x{columns}"),
    };

    /// <summary>A tile: rows, columns and depth of a step, steps in flight, and the share of the peak that it reaches.</summary>
    internal readonly record struct Tile(int Rows, int Columns, int Depth, int Stages, Figure Products);
}
