using System.Runtime.InteropServices;
using static FeedbackKernels.Interop.Rounding;

namespace FeedbackKernels.Interop;

// native/optimiser.cu
public sealed unsafe partial class CudaBackend
{
    private static readonly CudaKernel
        SgdUpdateKernel = new("optimiser", "sgd_update"),
        SgdUpdateTransposedKernel = new("optimiser", "sgd_update_transposed"),
        SgdUpdateSlabKernel = new("optimiser", "sgd_update_slab"),
        SgdUpdateCoupledSlabKernel = new("optimiser", "sgd_update_coupled_slab"),
        ClipFactorKernel = new("optimiser", "clip_factor");

    private static IEnumerable<CudaKernel> OptimiserKernels =>
        [SgdUpdateKernel, SgdUpdateTransposedKernel, SgdUpdateSlabKernel, SgdUpdateCoupledSlabKernel, ClipFactorKernel];

    // Of native/optimiser.cu: elements of a block.
    private const int SlabBlockElements = 4096;

    // A model has one table of segments for each of the two operations; more are those of other models, or of a decay that changed.
    private const int MostSegmentTables = 8;

    private readonly List<(byte[] Content, CudaMemory Memory)> _segmentTables = [];

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

    internal override void SgdUpdateSlabCore(
        ReadOnlySpan<SlabSegment> segments, BufferView values, BufferView gradients, BufferView velocities, in SgdStep step, BufferView copies)
    {
        NativeSlabSegment[] room = ArrayOf(ref _slabSegments, segments.Length);
        long blocks = 0, elements = 0;
        bool wide = AllowWide(values, gradients, velocities, copies);
        for (int i = 0; i < segments.Length; i++)
        {
            SlabSegment segment = segments[i];
            room[i] = new NativeSlabSegment
            {
                Offset = segment.Offset,
                Length = segment.Length,
                FirstBlock = blocks,
                WeightDecay = segment.WeightDecay,
                Shrink = segment.Shrink,
            };
            blocks += DivideUp(segment.Length, SlabBlockElements);
            elements += segment.Length;
            wide &= segment.Offset % 4 == 0;
        }

        Launch(
            SgdUpdateSlabKernel, new Grid(blocks), ElementThreads,
            new SgdUpdateSlabArguments
            {
                Segments = TableOf(MemoryMarshal.AsBytes(room.AsSpan(0, segments.Length))),
                Count = segments.Length,
                Wide = wide ? 1 : 0,
                Step = new NativeSgdStep(step),
                Values = values.Floats,
                Gradients = gradients.Floats,
                Velocities = velocities.Floats,
                Copies = copies.Pointer,
            },
            new Elements(elements));
    }

    internal override void SgdUpdateCoupledSlabCore(
        ReadOnlySpan<CoupledSegment> segments, BufferView values, BufferView gradients, BufferView velocities, BufferView feedback,
        BufferView feedbackVelocities, in SgdStep step, BufferView copies, BufferView feedbackCopies)
    {
        NativeCoupledSegment[] room = ArrayOf(ref _coupledSegments, segments.Length);
        long blocks = 0, elements = 0;
        for (int i = 0; i < segments.Length; i++)
        {
            CoupledSegment segment = segments[i];
            Grid grid = SquareGrid(segment.Shape);
            room[i] = new NativeCoupledSegment
            {
                Offset = segment.Offset,
                FeedbackOffset = segment.FeedbackOffset,
                FirstBlock = blocks,
                C = segment.Shape.C,
                K = segment.Shape.K,
                WeightDecay = segment.WeightDecay,
                Shrink = segment.Shrink,
            };
            blocks += (long)grid.X * grid.Y * grid.Z;
            elements += segment.Shape.WeightLength;
        }

        Launch(
            SgdUpdateCoupledSlabKernel, new Grid(blocks), SquareThreads,
            new SgdUpdateCoupledSlabArguments
            {
                Segments = TableOf(MemoryMarshal.AsBytes(room.AsSpan(0, segments.Length))),
                Count = segments.Length,
                Step = new NativeSgdStep(step),
                Values = values.Floats,
                Gradients = gradients.Floats,
                Velocities = velocities.Floats,
                Feedback = feedback.Floats,
                FeedbackVelocities = feedbackVelocities.Floats,
                Copies = copies.Pointer,
                FeedbackCopies = feedbackCopies.Pointer,
            },
            new Elements(elements));
    }

    // Made once for the largest model: a step allocates nothing.
    private NativeSlabSegment[]? _slabSegments;
    private NativeCoupledSegment[]? _coupledSegments;

    private static T[] ArrayOf<T>(ref T[]? array, int length) => array is { } there && there.Length >= length ? there : array = new T[length];

    /// <summary>The address of a table on the device. Steps of one model have the same table each time: it is copied once.</summary>
    private void* TableOf(ReadOnlySpan<byte> content)
    {
        foreach ((byte[] known, CudaMemory memory) in _segmentTables)
        {
            if (content.SequenceEqual(known)) return (void*)memory.DangerousGetHandle();
        }

        if (_segmentTables.Count == MostSegmentTables)
        {
            // Stays until what was queued has read it.
            _segmentTables[0].Memory.Dispose();
            _segmentTables.RemoveAt(0);
        }

        CudaMemory made = _heap.Allocate(content.Length, "a table of parameters");
        // Queued ahead of what an open step has recorded, which does not use this memory: the step is not divided.
        using CudaContext.Scope scope = _context.Enter();
        _stage.Upload(content, made.DangerousGetHandle());
        _segmentTables.Add((content.ToArray(), made));
        return (void*)made.DangerousGetHandle();
    }

    private void DisposeSegmentTables()
    {
        foreach ((_, CudaMemory memory) in _segmentTables) memory.Dispose();
        _segmentTables.Clear();
    }

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

    internal struct SgdUpdateArguments
    {
        public long Length;
        public int Wide;
        public fixed byte Hole[4];
        public NativeSgdStep Step;
        public float* Parameter, Gradient, Velocity;
        public void* Copy;
    }

    internal struct SgdUpdateTransposedArguments
    {
        public NativeTransposedShape Shape;
        public fixed byte Hole[4];
        public NativeSgdStep Step;
        public float* B, Dw, Velocity;
        public void* Copy;
    }

    internal struct ClipFactorArguments
    {
        public long Blocks;
        public double* Partials;
        public float* Factor;
        public float Most;
        public fixed byte End[4];
    }

    private struct NativeSlabSegment
    {
        public long Offset, Length, FirstBlock;
        public float WeightDecay, Shrink;
    }

    private struct NativeCoupledSegment
    {
        public long Offset, FeedbackOffset, FirstBlock;
        public int C, K;
        public float WeightDecay, Shrink;
    }

    internal struct SgdUpdateSlabArguments
    {
        public void* Segments;
        public int Count, Wide;
        public NativeSgdStep Step;
        public float* Values, Gradients, Velocities;
        public void* Copies;
    }

    internal struct SgdUpdateCoupledSlabArguments
    {
        public void* Segments;
        public int Count;
        public fixed byte Hole[4];
        public NativeSgdStep Step;
        public float* Values, Gradients, Velocities, Feedback, FeedbackVelocities;
        public void* Copies, FeedbackCopies;
    }
}
