using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using static FeedbackKernels.Interop.Rounding;

namespace FeedbackKernels.Interop;

// native/alignment.cu
public sealed unsafe partial class CudaBackend
{
    // Of native/inner_products.cuh.
    private const int AlignmentThreads = 256;

    private static readonly CudaKernelTable<ElementType> CompareKernels = new(
        "alignment", (ElementType.Float32, "compare_fp32"), (ElementType.BFloat16, "compare_bf16"));

    private static readonly CudaKernel
        AlignKernel = new("alignment", "align"),
        AlignmentFinishKernel = new("alignment", "alignment_finish");

    private static IEnumerable<CudaKernel> AlignmentKernels => [.. CompareKernels.All, AlignKernel, AlignmentFinishKernel];

    internal override WeightAlignment AlignCore(in ConvShape shape, BufferView w, BufferView b)
    {
        Grid grid = SquareGrid(shape);
        long blocks = (long)grid.X * grid.Y * grid.Z;
        double* partials = AlignmentPartials(blocks);
        Launch(
            AlignKernel, grid, SquareThreads,
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

    private static (long Elements, long Blocks) ComparisonOf(long length)
    {
        const int mostBlocks = 1024, fewestElements = 4096;
        long each = Math.Max(fewestElements, DivideUp(length, mostBlocks));
        return (each, DivideUp(length, each));
    }

    /// <summary>Queues the kernel that computes the sums of each block, and returns the number of blocks.</summary>
    private long LaunchComparison(long length, BufferView a, BufferView b, double* partials, [CallerMemberName] string operation = "")
    {
        (long each, long blocks) = ComparisonOf(length);
        Launch(
            CompareKernels[a.Type], new Grid(blocks), AlignmentThreads,
            new CompareArguments { Length = length, ElementsPerBlock = each, A = a.Pointer, B = b.Pointer, Partials = partials },
            new Elements(length), operation: operation);
        return blocks;
    }

    /// <summary>Scratch memory for three sums of each block, and for their totals.</summary>
    private double* AlignmentPartials(long blocks) => (double*)Scratch.Get(ScratchPurpose.AlignmentSums, 3 * (blocks + 1) * sizeof(double));

    private WeightAlignment FinishAlignment<TSizes>(long blocks, double* partials, in TSizes sizes, [CallerMemberName] string operation = "")
        where TSizes : unmanaged
    {
        double* result = partials + 3 * blocks;
        Launch(
            AlignmentFinishKernel, new Grid(1), AlignmentThreads,
            new AlignmentFinishArguments { Blocks = blocks, Partials = partials, Result = result }, sizes,
            operation: operation);
        Span<double> sums = stackalloc double[3];
        DownloadBytes((nint)result, MemoryMarshal.AsBytes(sums));
        return new WeightAlignment(sums[0], sums[1], sums[2]);
    }

    internal struct AlignArguments
    {
        public NativeTransposedShape Shape;
        public fixed byte Hole[4];
        public float* W, B;
        public double* Partials;
    }

    internal struct CompareArguments
    {
        public long Length, ElementsPerBlock;
        public void* A, B;
        public double* Partials;
    }

    internal struct AlignmentFinishArguments
    {
        public long Blocks;
        public double* Partials, Result;
    }
}
