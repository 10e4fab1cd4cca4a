namespace FeedbackKernels.Interop;

public sealed unsafe partial class CpuBackend
{
    internal override void SgdUpdateCore(
        long length, BufferView parameter, BufferView gradient, BufferView velocity, in SgdStep step, BufferView copy) =>
        Map(_kernels->Sgd, length, new MapArguments { X = gradient.Floats, Y = parameter.Floats, Z = velocity.Floats, Step = new SgdFactors(step) });

    internal override void SgdUpdateTransposedCore(
        in ConvShape shape, BufferView b, BufferView dw, BufferView velocity, in SgdStep step, BufferView copy) =>
        MapTransposed(_kernels->Sgd, shape, dw, new MapArguments { Y = b.Floats, Z = velocity.Floats, Step = new SgdFactors(step) });

    internal override void SgdUpdateBothCore(
        in ConvShape shape, BufferView w, BufferView dw, BufferView velocity, BufferView b, BufferView bVelocity, in SgdStep step,
        BufferView wCopy, BufferView bCopy) =>
        MapTransposed(
            _kernels->Sgd, shape, dw, new MapArguments { Y = b.Floats, Z = bVelocity.Floats, Step = new SgdFactors(step) },
            new MapArguments { X = dw.Floats, Y = w.Floats, Z = velocity.Floats, Step = new SgdFactors(step) });

    internal override void SgdUpdateSlabCore(
        ReadOnlySpan<SlabSegment> segments, BufferView values, BufferView gradients, BufferView velocities, in SgdStep step, BufferView copies)
    {
        fixed (SlabSegment* first = segments)
        {
            var job = new SlabJob
            {
                Kernel = _kernels->Sgd,
                Arguments = new MapArguments { X = gradients.Floats, Y = values.Floats, Z = velocities.Floats, Step = new SgdFactors(step) },
                Segments = first,
                FirstItems = _scratch.Ints(ScratchUse.SlabItems, segments.Length),
                Count = segments.Length,
            };
            _pool.Run(job.CountItems(), ref job);
        }
    }
}
