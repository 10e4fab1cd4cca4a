namespace FeedbackKernels.Interop;

public sealed partial class ReferenceBackend
{
    internal override void ActivationForwardCore(Activation activation, long length, BufferView x, BufferView y)
    {
        for (long i = 0; i < length; i++) y.Write(i, Apply(activation, x.Read(i)));
    }

    internal override void ActivationBackwardCore(Activation activation, long length, BufferView y, BufferView dy, BufferView dx)
    {
        for (long i = 0; i < length; i++)
        {
            double output = y.Read(i);
            double slope = activation switch
            {
                Activation.Relu => output > 0 ? 1 : 0,
                Activation.Sigmoid => output * (1 - output),
                _ => 1,
            };
            dx.Write(i, dy.Read(i) * slope);
        }
    }

    internal static double Apply(Activation activation, double x) => activation switch
    {
        // NaN stays NaN.
        Activation.Relu => x > 0 || double.IsNaN(x) ? x : 0,
        Activation.Sigmoid => 1 / (1 + Math.Exp(-x)),
        _ => x,
    };
}
