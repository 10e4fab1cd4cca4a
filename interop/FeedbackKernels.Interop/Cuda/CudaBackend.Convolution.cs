using System.Runtime.CompilerServices;
using static FeedbackKernels.Interop.Rounding;

namespace FeedbackKernels.Interop;

// native/convolution_*.cu. Which of them serves a convolution is decided in Convolution/CudaConvKernels.cs.
public sealed unsafe partial class CudaBackend
{
    private static readonly CudaKernel SplitKSumKernel = new("convolution_weight_gradient", "split_k_sum");

    private readonly CudaConvKernels _convolutions;

    private static IEnumerable<CudaKernel> ConvolutionKernels =>
    [
        .. HopperConvolution.Kernels, .. FewChannelsConvolution.Kernels, .. PipelinedConvolution.Kernels, .. PortableConvolution.Kernels,
        SplitKSumKernel,
    ];

    /// <summary>The one tile that pipelined kernels use, which tests set; null for what <see cref="PipelinedPlan"/> chooses.</summary>
    internal PipelinedTile? OnlyTile { get; init; }

    /// <summary>The number of blocks from which a large tile is chosen, and over which reductions are split. Tests lower it, so that small
    /// shapes reach the kernels of large ones.</summary>
    internal long ManyBlocks { get; init; } = NominalDevice.ManyBlocks;

    /// <summary>The kernel with which the list of convolution kernels starts. Tests set it to reach a kernel that stands behind others.</summary>
    internal string FirstKernel { get; init; } = CudaConvKernels.List[0].Name;

    /// <summary>Whether the TMA steps over pixels in a convolution of stride 2 on Hopper (element strides of one tensor map), instead of reading
    /// one of four planes of pixels. No public example of tiled maps has element strides together with padding.</summary>
    internal bool TraversalStrides { get; init; }

    /// <summary>The architecture that the kernels in use are compiled for.</summary>
    internal string Architecture => _device.Architecture;

    internal override ConvExplanation ExplainCore(in ConvRequest request)
    {
        RequireIndexable(request.Shape);
        return _convolutions.Explain(request);
    }

    internal override void ConvForwardCore(in ConvShape shape, BufferView x, BufferView w, BufferView y, in ConvEpilogue epilogue)
    {
        RequireIndexable(shape);
        BufferView weights = Operand(w, shape.WeightLength);
        var request = new ConvRequest(
            shape, ConvPass.Forward, x.Type, weights.Type, y.Type, Alignment: AlignmentOf(weights, y, epilogue.Residual),
            ChannelAlignment: AlignmentOf(epilogue.Scale, epilogue.Bias), XAlignment: AlignmentOf(x));
        _convolutions.For(request).Forward(x, weights, y, epilogue);
    }

    internal override void ConvFeedbackCore(
        in ConvShape shape, BufferView dy, BufferView weights, FeedbackLayout layout, BufferView dx, bool accumulate)
    {
        RequireIndexable(shape);
        weights = Operand(weights, shape.WeightLength);
        var request = new ConvRequest(
            shape, ConvPass.Feedback, dx.Type, weights.Type, dy.Type, Alignment: AlignmentOf(dy, weights), XAlignment: AlignmentOf(dx));
        _convolutions.For(request).Feedback(dy, weights, layout, dx, accumulate);
    }

    internal override void ConvWeightGradientCore(in ConvShape shape, BufferView x, BufferView dy, BufferView dw)
    {
        RequireIndexable(shape);
        var request = new ConvRequest(
            shape, ConvPass.WeightGradient, x.Type, dw.Type, dy.Type, Alignment: AlignmentOf(dy, dw), XAlignment: AlignmentOf(x));
        _convolutions.For(request).WeightGradient(x, dy, dw);
    }

    /// <summary>Where the splits of a weight gradient are written: dW where there is one split, else scratch memory.</summary>
    internal NativeSplitK SplitTarget(in ConvShape shape, in SplitK split, BufferView dw, bool accumulate) => new()
    {
        PixelsPerSplit = split.Each,
        Accumulate = accumulate && split.Count == 1 ? 1 : 0,
        Dw = split.Count == 1 ? dw.Floats : SplitPartials(shape, split),
    };

    /// <summary>Adds the partial sums of a weight gradient in order; nothing where there is one split.</summary>
    internal void AddSplits(in ConvShape shape, in SplitK split, BufferView dw, bool accumulate, [CallerMemberName] string operation = "")
    {
        if (split.Count == 1) return;
        const int sumThreads = 256;
        var arguments = new SplitKSumArguments
        {
            Partials = SplitPartials(shape, split),
            Dw = dw.Floats,
            Length = shape.WeightLength,
            Splits = split.Count,
            Accumulate = accumulate ? 1 : 0,
        };
        Launch(SplitKSumKernel, new Grid(DivideUp(shape.WeightLength, sumThreads)), sumThreads, arguments, shape, operation: operation);
    }

    private float* SplitPartials(in ConvShape shape, in SplitK split) =>
        (float*)Scratch.Get(ScratchPurpose.SplitK, split.Count * shape.WeightLength * sizeof(float));

    /// <summary>The weights in the type of the operands: Float32 weights are rounded first where operands are bf16.</summary>
    private BufferView Operand(BufferView weights, long length)
    {
        if (weights.Type == ActivationType) return weights;
        BufferView rounded = BufferView.FromPointer(
            Scratch.Get(ScratchPurpose.RoundedWeights, length * ActivationType.Size()), length, ActivationType);
        ConvertCore(length, weights, rounded);
        return rounded;
    }

    // Kernels distinguish multiples of 16 from other addresses.
    private static int AlignmentOf(params ReadOnlySpan<BufferView> views) => AllowWide(views) ? ConvRequest.FullAlignment : 1;

    /// <summary>The kernels use 32-bit indices within an image, over all pixels, and over all taps.</summary>
    private static void RequireIndexable(in ConvShape shape)
    {
        const int tile = PortableTile.Rows;
        Require("N*P*Q + a tile", (double)shape.N * shape.P * shape.Q + tile, shape);
        Require("N*H*W + a tile", (double)shape.N * shape.H * shape.W + tile, shape);
        Require("H*W*C", (double)shape.H * shape.W * shape.C, shape);
        Require("P*Q*K", (double)shape.P * shape.Q * shape.K, shape);
        Require("R*S*C + a tile", (double)shape.R * shape.S * shape.C + tile, shape);
        Require("R*S*K + a tile", (double)shape.R * shape.S * shape.K + tile, shape);

        static void Require(string what, double value, in ConvShape shape)
        {
            if (value > int.MaxValue)
                throw new NotSupportedException($"{what} of the convolution {shape} is {value:0}; the CUDA kernels count to {int.MaxValue}");
        }
    }

    internal struct SplitKSumArguments
    {
        public float* Partials, Dw;
        public long Length;
        public int Splits, Accumulate;
    }
}
