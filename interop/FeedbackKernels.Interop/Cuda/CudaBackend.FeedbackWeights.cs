using static FeedbackKernels.Interop.Rounding;

namespace FeedbackKernels.Interop;

// native/feedback_weights.cu
public sealed unsafe partial class CudaBackend
{
    // Of native/transposed.cuh.
    private const int SquareSide = 32, SquareThreads = 256;

    private static readonly CudaKernel
        TransposedCombineKernel = new("feedback_weights", "transposed_combine"),
        SignTransposedKernel = new("feedback_weights", "sign_transposed");

    private static IEnumerable<CudaKernel> FeedbackWeightsKernels => [TransposedCombineKernel, SignTransposedKernel];

    internal override void TransposedCombineCore(
        in ConvShape shape, float alpha, BufferView w, float beta, BufferView r, BufferView b, BufferView copy) => Launch(
        TransposedCombineKernel, SquareGrid(shape), SquareThreads,
        new TransposedCombineArguments
        {
            Shape = new NativeTransposedShape(shape),
            Alpha = alpha,
            Beta = beta,
            W = w.Floats,
            R = r.Floats,
            B = b.Floats,
            Copy = copy.Pointer,
        },
        shape);

    internal override void SignTransposedCore(
        in ConvShape shape, BufferView w, BufferView magnitudes, float scale, BufferView b, BufferView copy) => Launch(
        SignTransposedKernel, SquareGrid(shape), SquareThreads,
        new SignTransposedArguments
        {
            Shape = new NativeTransposedShape(shape),
            Scale = scale,
            W = w.Floats,
            Magnitudes = magnitudes.Floats,
            B = b.Floats,
            Copy = copy.Pointer,
        },
        shape);

    private static Grid SquareGrid(in ConvShape shape) =>
        new(DivideUp(shape.K, SquareSide), DivideUp(shape.C, SquareSide), shape.R * shape.S);

    internal struct TransposedCombineArguments
    {
        public NativeTransposedShape Shape;
        public float Alpha, Beta;
        public fixed byte Hole[4];
        public float* W, R, B;
        public void* Copy;
    }

    internal struct SignTransposedArguments
    {
        public NativeTransposedShape Shape;
        public float Scale;
        public float* W, Magnitudes, B;
        public void* Copy;
    }
}
