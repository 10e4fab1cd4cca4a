using FeedbackKernels.Interop;

namespace FeedbackKernels.Bench.Estimates;

/// <summary>The work of the weight mirror's products. One operand is noise, which is made in registers.</summary>
internal static class MirrorWork
{
    private const int Registers = 168;

    public static KernelWork Respond(in LaunchFacts launch, in CudaBackend.MirrorRespondArguments arguments)
    {
        ConvShape shape = ShapeOf(arguments.Shape);
        return Product(launch, shape, (double)launch.Bytes * (shape.WeightLength + shape.OutputLength), shape.FanIn);
    }

    public static KernelWork Correlate(in LaunchFacts launch, in CudaBackend.MirrorCorrelateArguments arguments)
    {
        ConvShape shape = ShapeOf(arguments.Shape);
        double written = (double)ConvTraffic.GradientBytes * launch.Grid.Z * shape.WeightLength;
        return Product(launch, shape, (double)launch.Bytes * shape.OutputLength + written, (double)shape.N * shape.P * shape.Q / launch.Grid.Z);
    }

    private static KernelWork Product(in LaunchFacts launch, in ConvShape shape, double bytes, double reduction)
    {
        double steps = Math.Ceiling(reduction / PortableTile.Depth), depth = steps * PortableTile.Depth;
        return new KernelWork("mirror", bytes, Figure.ProductHbm)
        {
            L2 = launch.Blocks * depth * PortableTile.Columns * launch.Bytes + bytes,
            Flops = shape.Flops,
            Executed = 2 * launch.Blocks * depth * PortableTile.Rows * PortableTile.Columns,
            Products = launch.IsBf16 ? Figure.MirrorTensor : Figure.MirrorVector,
            Steps = steps,
            Registers = Registers,
        };
    }

    private static ConvShape ShapeOf(in NativeConvShape s) => new(s.N, s.H, s.W, s.C, s.K, s.R, s.S, s.Stride, s.Padding);
}
