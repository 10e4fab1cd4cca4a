using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using static FeedbackKernels.Interop.Rounding;

namespace FeedbackKernels.Interop;

// native/transposed.cu, alignment.cu
public sealed unsafe partial class CudaBackend
{
    private const int SquareSide = 32, SquareThreads = 256, AlignmentThreads = 256;

    internal override void TransposedCombineCore(
        in ConvShape shape, float alpha, BufferView w, float beta, BufferView r, BufferView b, BufferView copy) => Launch(
        "transposed", "transposed_combine", SquareGrid(shape), SquareThreads,
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
        "transposed", "sign_transposed", SquareGrid(shape), SquareThreads,
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

    internal override void SgdUpdateTransposedCore(
        in ConvShape shape, BufferView b, BufferView dw, BufferView velocity, in SgdStep step, BufferView copy) => Launch(
        "transposed", "sgd_update_transposed", SquareGrid(shape), SquareThreads,
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

    internal override WeightAlignment AlignCore(in ConvShape shape, BufferView w, BufferView b)
    {
        Grid grid = SquareGrid(shape);
        long blocks = (long)grid.X * grid.Y * grid.Z;
        double* partials = AlignmentPartials(blocks);
        Launch(
            "alignment", "align", grid, SquareThreads,
            new AlignArguments { Shape = new NativeTransposedShape(shape), W = w.Floats, B = b.Floats, Partials = partials }, shape);
        return FinishAlignment(blocks, partials, shape);
    }

    internal override WeightAlignment CompareCore(long length, BufferView a, BufferView b)
    {
        long blocks = ComparisonOf(length).Blocks;
        double* partials = AlignmentPartials(blocks);
        LaunchComparison(length, a, b, partials);
        return FinishAlignment(blocks, partials, new Elements(length));
    }

    internal override void ClipFactorCore(ReadOnlySpan<BufferView> gradients, float most, BufferView factor)
    {
        long blocks = 0, elements = 0;
        foreach (BufferView gradient in gradients) (blocks, elements) = (blocks + ComparisonOf(gradient.Length).Blocks, elements + gradient.Length);
        double* partials = AlignmentPartials(blocks), next = partials;
        foreach (BufferView gradient in gradients) next += 3 * LaunchComparison(gradient.Length, gradient, gradient, next);
        Launch(
            "alignment", "clip_factor", new Grid(1), AlignmentThreads,
            new ClipFactorArguments { Blocks = blocks, Partials = partials, Factor = factor.Floats, Most = most }, new Elements(elements));
    }

    private static (long Elements, long Blocks) ComparisonOf(long length)
    {
        const int mostBlocks = 1024, fewestElements = 4096;
        long each = Math.Max(fewestElements, DivideUp(length, mostBlocks));
        return (each, DivideUp(length, each));
    }

    /// <summary>Queues the sums of each block, and returns the number of blocks.</summary>
    private long LaunchComparison(long length, BufferView a, BufferView b, double* partials, [CallerMemberName] string operation = "")
    {
        (long each, long blocks) = ComparisonOf(length);
        Launch(
            "alignment", $"compare_{NameOf(a.Type)}", new Grid(blocks), AlignmentThreads,
            new CompareArguments { Length = length, ElementsPerBlock = each, A = a.Pointer, B = b.Pointer, Partials = partials },
            new Elements(length), operation: operation);
        return blocks;
    }

    private double* AlignmentPartials(long blocks) => (double*)_scratch.Get(ScratchPurpose.AlignmentSums, 3 * (blocks + 1) * sizeof(double));

    private WeightAlignment FinishAlignment<TSizes>(long blocks, double* partials, in TSizes sizes, [CallerMemberName] string operation = "")
        where TSizes : unmanaged
    {
        double* result = partials + 3 * blocks;
        Launch(
            "alignment", "alignment_finish", new Grid(1), AlignmentThreads,
            new AlignmentFinishArguments { Blocks = blocks, Partials = partials, Result = result }, sizes,
            operation: operation);
        Span<double> sums = stackalloc double[3];
        DownloadBytes((nint)result, MemoryMarshal.AsBytes(sums));
        return new WeightAlignment(sums[0], sums[1], sums[2]);
    }

    private static Grid SquareGrid(in ConvShape shape) =>
        new(DivideUp(shape.K, SquareSide), DivideUp(shape.C, SquareSide), shape.R * shape.S);

    private struct TransposedCombineArguments
    {
        public NativeTransposedShape Shape;
        public float Alpha, Beta;
        public fixed byte Hole[4];
        public float* W, R, B;
        public void* Copy;
    }

    private struct SignTransposedArguments
    {
        public NativeTransposedShape Shape;
        public float Scale;
        public float* W, Magnitudes, B;
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

    private struct AlignArguments
    {
        public NativeTransposedShape Shape;
        public fixed byte Hole[4];
        public float* W, B;
        public double* Partials;
    }

    private struct CompareArguments
    {
        public long Length, ElementsPerBlock;
        public void* A, B;
        public double* Partials;
    }

    private struct AlignmentFinishArguments
    {
        public long Blocks;
        public double* Partials, Result;
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
