namespace FeedbackKernels.Interop;

public abstract partial class Backend
{
    /// <summary>y = activation(x), see <see cref="Activation"/>; y may be x.</summary>
    /// <param name="activation">The function.</param>
    /// <param name="length">Number of elements.</param>
    /// <param name="x">Input.</param>
    /// <param name="y">Result; may be x.</param>
    public void ActivationForward(Activation activation, long length, BufferView x, BufferView y)
    {
        using OperationScope call = new(this);
        RequireDefined(activation);
        RequireLength(length);
        int input = call.ReadActivations(x, length);
        call.Allow(call.WriteActivations(y, length), input);
        call.RequireApart();
        ActivationForwardCore(activation, length, x, y);
    }

    internal abstract void ActivationForwardCore(Activation activation, long length, BufferView x, BufferView y);

    /// <summary>dx = dy * activation'(x), from the activation's output y; dx may be y or dy (the chain rule of backpropagation: Rumelhart,
    /// Hinton and Williams 1986).</summary>
    /// <param name="activation">The function of the forward pass.</param>
    /// <param name="length">Number of elements.</param>
    /// <param name="y">Output of the forward pass.</param>
    /// <param name="dy">Error at the output.</param>
    /// <param name="dx">Error at the input; may be y or dy.</param>
    public void ActivationBackward(Activation activation, long length, BufferView y, BufferView dy, BufferView dx)
    {
        using OperationScope call = new(this);
        RequireDefined(activation);
        RequireLength(length);
        int output = call.ReadActivations(y, length), error = call.ReadActivations(dy, length);
        int result = call.WriteActivations(dx, length);
        call.Allow(result, output);
        call.Allow(result, error);
        call.RequireApart();
        ActivationBackwardCore(activation, length, y, dy, dx);
    }

    internal abstract void ActivationBackwardCore(Activation activation, long length, BufferView y, BufferView dy, BufferView dx);
}
