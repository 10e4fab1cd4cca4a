namespace FeedbackKernels.Interop;

public sealed unsafe partial class CpuBackend
{
    internal override void ActivationForwardCore(Activation activation, long length, BufferView x, BufferView y) =>
        Map(
            activation switch
            {
                Activation.Relu => _kernels->Relu,
                Activation.Sigmoid => _kernels->Sigmoid,
                _ => _kernels->Copy,
            },
            length, new MapArguments { X = x.Floats, Y = y.Floats });

    internal override void ActivationBackwardCore(Activation activation, long length, BufferView y, BufferView dy, BufferView dx)
    {
        if (activation == Activation.None) Map(_kernels->Copy, length, new MapArguments { X = dy.Floats, Y = dx.Floats });
        else
        {
            Map(
                activation == Activation.Relu ? _kernels->ReluBackward : _kernels->SigmoidBackward,
                length, new MapArguments { X = y.Floats, Y = dy.Floats, Z = dx.Floats });
        }
    }
}
