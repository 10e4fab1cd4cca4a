using static FeedbackKernels.Interop.Rounding;

namespace FeedbackKernels.Interop;

// native/mirror.cu
public sealed unsafe partial class CudaBackend
{
    internal override void MirrorCorrelateCore(in MirrorStep step, BufferView w, BufferView correlation, bool accumulate)
    {
        ConvShape shape = step.ResponseShape;
        RequireIndexable(shape);
        var noise = new NativeMirrorNoise(step.Noise);
        BufferView response = BufferView.FromPointer(
            _scratch.Get(ScratchPurpose.MirrorResponse, shape.OutputLength * ActivationType.Size()), shape.OutputLength, ActivationType);
        BufferView weights = Operand(w, shape.WeightLength);
        // Noise is made several numbers at a time where those never straddle two pixels.
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
            "mirror", $"mirror_respond_{ProductName}_{widthX}_{widthK}",
            new Grid(DivideUp((long)shape.N * shape.P * shape.Q, TileRows), DivideUp(shape.K, TileColumns)), TileThreads, respond, step.Layer);

        Slices slices = SlicesOf(shape);
        var correlate = new MirrorCorrelateArguments
        {
            Shape = respond.Shape,
            FirstSample = step.FirstSample,
            Noise = noise,
            Response = response.Pointer,
            Slices = StartSlices(shape, slices, correlation, accumulate),
        };
        Launch("mirror", $"mirror_correlate_{ProductName}_{widthX}_{widthK}", GradientGrid(shape, slices), TileThreads, correlate, step.Layer);
        AddSlices(shape, slices, correlation, accumulate);
    }

    private struct MirrorRespondArguments
    {
        public NativeConvShape Shape;
        public int Relu;
        public long FirstSample;
        public NativeMirrorNoise Noise;
        public void* W, Response;
    }

    private struct MirrorCorrelateArguments
    {
        public NativeConvShape Shape;
        public fixed byte Hole[4];
        public long FirstSample;
        public NativeMirrorNoise Noise;
        public void* Response;
        public NativeGradientSlices Slices;
    }
}
