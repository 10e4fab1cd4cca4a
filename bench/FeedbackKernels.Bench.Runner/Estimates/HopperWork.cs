using FeedbackKernels.Interop;

namespace FeedbackKernels.Bench.Estimates;

/// <summary>The work of the kernels by TMA and wgmma: every stage of the ring is loaded from the level-2 cache, tap after tap.</summary>
internal static unsafe class HopperWork
{
    private const int Bf16 = sizeof(ushort);

    // 65,536 registers for two blocks of 288 threads; one block of 256 columns has half the multiprocessor's at most.
    private const int Registers = 112;

    public static KernelWork Gather(in LaunchFacts launch, in HopperConvolution.ConvGatherArguments arguments, in ConvShape shape)
    {
        int columns = launch.Columns, boxPixels = arguments.BoxImages * arguments.BoxRows * arguments.BoxColumns;
        double stages = 0, longest = 0, pixels = 0;
        long tiles = 0;
        for (int i = 0; i < launch.Grid.Z; i++)
        {
            HopperConvolution.GatherClass part = arguments.Classes[i];
            double each = part.Gather.TapRows * part.Gather.TapColumns * Rounding.DivideUp(part.Gather.Channels, HopperPlan.BoxChannels);
            stages += each * part.Tiles * arguments.ColumnTiles;
            longest = Math.Max(longest, each);
            tiles += part.Tiles;
            pixels += (double)part.Gather.Images * part.Gather.OutputRows * part.Gather.OutputColumns;
        }

        bool forward = launch.Operation == nameof(CudaBackend.ConvForwardCore);
        double outputs = Bf16 * pixels * arguments.Columns * (arguments.Addend == 0 ? 1 : 2)
            + ConvTraffic.Statistics(arguments.Partials != null, tiles, arguments.Columns);
        double inputs = Bf16 * (forward ? ConvTraffic.Touched(shape) : shape.OutputLength);
        return new KernelWork(ConvTraffic.KindOf(launch.Operation), inputs + Bf16 * shape.WeightLength + outputs, Figure.ProductHbm)
        {
            L2 = stages * (boxPixels + columns) * HopperPlan.BoxChannels * Bf16 + outputs,
            Flops = shape.Flops,
            Executed = 2 * stages * HopperPlan.Rows * columns * HopperPlan.BoxChannels,
            Products = columns switch { 64 => Figure.Wgmma64, 128 => Figure.Wgmma128, _ => Figure.Wgmma256 },
            Steps = longest / StagesOf(columns),
            Registers = Registers,
        };
    }

    public static KernelWork Gradient(in LaunchFacts launch, in HopperConvolution.GradientArguments arguments, in ConvShape shape)
    {
        int columns = launch.Columns;
        double reduced = (double)arguments.Boxes * arguments.BoxImages * arguments.BoxRows * arguments.BoxColumns;
        double tiles = (double)launch.Grid.X * launch.Grid.Y, written = (double)ConvTraffic.GradientBytes * launch.Grid.Z * shape.WeightLength;
        return new KernelWork(
            ConvTraffic.KindOf(launch.Operation), Bf16 * (ConvTraffic.Touched(shape) + shape.OutputLength) + written, Figure.ProductHbm)
        {
            L2 = tiles * reduced * (HopperPlan.Rows + columns) * Bf16 + written,
            Flops = shape.Flops,
            Executed = 2 * tiles * reduced * HopperPlan.Rows * columns,
            Products = columns == 64 ? Figure.WgmmaGradient64 : Figure.WgmmaGradient128,
            Steps = (double)arguments.BoxesPerSplit / StagesOf(columns),
            Registers = Registers,
        };
    }

    private static int StagesOf(int columns) => new HopperPlan(null, columns).Stages;
}
