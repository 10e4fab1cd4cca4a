using static FeedbackKernels.Interop.Rounding;

namespace FeedbackKernels.Interop;

// native/mirror.cu
public sealed unsafe partial class CudaBackend
{
    // By the number of noise values that are made at a time, and of elements that a load of W or of the response takes.
    private static readonly CudaKernelTable<(ElementType Type, int WidthX, int WidthK)> MirrorRespondKernels = new(
        "mirror",
        ((ElementType.Float32, 4, 4), "mirror_respond_fp32_4_4"), ((ElementType.Float32, 4, 1), "mirror_respond_fp32_4_1"),
        ((ElementType.Float32, 1, 4), "mirror_respond_fp32_1_4"), ((ElementType.Float32, 1, 1), "mirror_respond_fp32_1_1"),
        ((ElementType.BFloat16, 8, 8), "mirror_respond_bf16_8_8"), ((ElementType.BFloat16, 8, 1), "mirror_respond_bf16_8_1"),
        ((ElementType.BFloat16, 1, 8), "mirror_respond_bf16_1_8"), ((ElementType.BFloat16, 1, 1), "mirror_respond_bf16_1_1"));

    private static readonly CudaKernelTable<(ElementType Type, int WidthX, int WidthK)> MirrorCorrelateKernels = new(
        "mirror",
        ((ElementType.Float32, 4, 4), "mirror_correlate_fp32_4_4"), ((ElementType.Float32, 4, 1), "mirror_correlate_fp32_4_1"),
        ((ElementType.Float32, 1, 4), "mirror_correlate_fp32_1_4"), ((ElementType.Float32, 1, 1), "mirror_correlate_fp32_1_1"),
        ((ElementType.BFloat16, 8, 8), "mirror_correlate_bf16_8_8"), ((ElementType.BFloat16, 8, 1), "mirror_correlate_bf16_8_1"),
        ((ElementType.BFloat16, 1, 8), "mirror_correlate_bf16_1_8"), ((ElementType.BFloat16, 1, 1), "mirror_correlate_bf16_1_1"));

    private static IEnumerable<CudaKernel> MirrorKernels => [.. MirrorRespondKernels.All, .. MirrorCorrelateKernels.All];

    internal override void MirrorCorrelateCore(in MirrorStep step, BufferView w, BufferView correlation, bool accumulate)
    {
        ConvShape shape = step.ResponseShape;
        RequireIndexable(shape);
        var noise = new NativeMirrorNoise(step.Noise);
        BufferView response = BufferView.FromPointer(
            Scratch.Get(ScratchPurpose.MirrorResponse, shape.OutputLength * ActivationType.Size()), shape.OutputLength, ActivationType);
        BufferView weights = Operand(w, shape.WeightLength);
        // Noise is made several values at a time where they always belong to one pixel.
        int widthX = WidthOf(shape.C), widthK = WidthOf(shape.K, weights, response, correlation);
        var respond = new MirrorRespondArguments
        {
            Shape = new NativeConvShape(shape),
            Relu = step.ReluResponse ? 1 : 0,
            FirstSample = step.FirstSample,
            Noise = noise,
            W = weights.Pointer,
            Response = response.Pointer,
        };
        Launch(
            MirrorRespondKernels[(ActivationType, widthX, widthK)],
            new Grid(DivideUp((long)shape.N * shape.P * shape.Q, PortableTile.Rows), DivideUp(shape.K, PortableTile.Columns)), PortableTile.Threads,
            respond, step.Layer);

        SplitK split = PortableTile.Split(shape, ManyBlocks);
        var correlate = new MirrorCorrelateArguments
        {
            Shape = respond.Shape,
            FirstSample = step.FirstSample,
            Noise = noise,
            Response = response.Pointer,
            Split = SplitTarget(shape, split, correlation, accumulate),
        };
        Launch(
            MirrorCorrelateKernels[(ActivationType, widthX, widthK)], PortableTile.GradientGrid(shape, split), PortableTile.Threads, correlate,
            step.Layer);
        AddSplits(shape, split, correlation, accumulate);
    }

    internal override void MirrorCorrectCore(in MirrorStep step, BufferView w, float factor, BufferView b, BufferView copy)
    {
        // As on the CPU: the difference of the responses is the response of W - Bᵀ. Formed from the masters, it is rounded once, so that
        // an error of B is corrected to the precision of the masters although the operands are bf16.
        ConvShape layer = step.Layer;
        BufferView difference = MirrorWeights(ScratchPurpose.MirrorDifference, ElementType.Float32), operand = difference;
        BufferView correlation = MirrorWeights(ScratchPurpose.MirrorCorrelation, ElementType.Float32), rounded = default;
        if (ActivationType != ElementType.Float32) operand = rounded = MirrorWeights(ScratchPurpose.MirrorOperand, ActivationType);
        TransposedCombineCore(layer.Transpose(), -1, b, 1, w, difference, rounded);
        MirrorCorrelateCore(step, operand, correlation, accumulate: false);
        TransposedCombineCore(layer, factor, correlation, 1, b, b, copy);

        BufferView MirrorWeights(ScratchPurpose purpose, ElementType type) =>
            BufferView.FromPointer(Scratch.Get(purpose, layer.WeightLength * type.Size()), layer.WeightLength, type);
    }

    internal struct MirrorRespondArguments
    {
        public NativeConvShape Shape;
        public int Relu;
        public long FirstSample;
        public NativeMirrorNoise Noise;
        public void* W, Response;
    }

    internal struct MirrorCorrelateArguments
    {
        public NativeConvShape Shape;
        public fixed byte Hole[4];
        public long FirstSample;
        public NativeMirrorNoise Noise;
        public void* Response;
        public NativeSplitK Split;
    }
}
