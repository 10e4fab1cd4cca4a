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
}
