namespace FeedbackKernels.Interop;

// native/optimiser.cu
public sealed unsafe partial class CudaBackend
{
    private static readonly CudaKernel
        SgdUpdateKernel = new("optimiser", "sgd_update"),
        SgdUpdateTransposedKernel = new("optimiser", "sgd_update_transposed"),
        ClipFactorKernel = new("optimiser", "clip_factor");

    private static IEnumerable<CudaKernel> OptimiserKernels => [SgdUpdateKernel, SgdUpdateTransposedKernel, ClipFactorKernel];

    internal override void SgdUpdateCore(
        long length, BufferView parameter, BufferView gradient, BufferView velocity, in SgdStep step, BufferView copy) => Launch(
        SgdUpdateKernel, ElementGrid(length), ElementThreads,
        new SgdUpdateArguments
        {
            Length = length,
            Wide = AllowWide(parameter, gradient, velocity, copy) ? 1 : 0,
            Step = new NativeSgdStep(step),
            Parameter = parameter.Floats,
            Gradient = gradient.Floats,
            Velocity = velocity.Floats,
            Copy = copy.Pointer,
        },
        new Elements(length));

    internal override void SgdUpdateTransposedCore(
        in ConvShape shape, BufferView b, BufferView dw, BufferView velocity, in SgdStep step, BufferView copy) => Launch(
        SgdUpdateTransposedKernel, SquareGrid(shape), SquareThreads,
        new SgdUpdateTransposedArguments
        {
            Shape = new NativeTransposedShape(shape),
            Step = new NativeSgdStep(step),
            B = b.Floats,
            Dw = dw.Floats,
            Velocity = velocity.Floats,
            Copy = copy.Pointer,
        },
        shape);

    internal override void ClipFactorCore(ReadOnlySpan<BufferView> gradients, float most, BufferView factor)
    {
        long blocks = 0, elements = 0;
        foreach (BufferView gradient in gradients)
            (blocks, elements) = (blocks + ComparisonOf(gradient.Length).Blocks, elements + gradient.Length);
        double* partials = AlignmentPartials(blocks), next = partials;
        foreach (BufferView gradient in gradients) next += 3 * LaunchComparison(gradient.Length, gradient, gradient, next);
        Launch(
            ClipFactorKernel, new Grid(1), AlignmentThreads,
            new ClipFactorArguments { Blocks = blocks, Partials = partials, Factor = factor.Floats, Most = most }, new Elements(elements));
    }

    private struct SgdUpdateArguments
    {
        public long Length;
        public int Wide;
        public fixed byte Hole[4];
        public NativeSgdStep Step;
        public float* Parameter, Gradient, Velocity;
        public void* Copy;
    }

    private struct SgdUpdateTransposedArguments
    {
        public NativeTransposedShape Shape;
        public fixed byte Hole[4];
        public NativeSgdStep Step;
        public float* B, Dw, Velocity;
        public void* Copy;
    }

    private struct ClipFactorArguments
    {
        public long Blocks;
        public double* Partials;
        public float* Factor;
        public float Most;
        public fixed byte End[4];
    }
}
