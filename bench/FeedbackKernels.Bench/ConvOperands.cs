using FeedbackKernels.Interop;

namespace FeedbackKernels.Bench;

/// <summary>The tensors of one convolution, filled with normal numbers: zeros would flatter the clock.</summary>
internal sealed class ConvOperands : IDisposable
{
    public ConvOperands(Backend backend, ConvShape shape)
    {
        (Backend, Shape) = (backend, shape);
        // Weights as products read them in a training step: the copies, where the backend has such.
        ElementType type = backend.ActivationType;
        X = New(shape.InputLength, 1, type);
        W = New(shape.WeightLength, 2, type);
        B = New(shape.WeightLength, 3, type);
        Y = New(shape.OutputLength, 4, type);
        Dx = New(shape.InputLength, 5, type);
        Dw = New(shape.WeightLength, 6, ElementType.Float32);
    }

    public Backend Backend { get; }

    public ConvShape Shape { get; }

    public DeviceBuffer X { get; }

    public DeviceBuffer W { get; }

    public DeviceBuffer B { get; }

    /// <summary>The output, and the error at it.</summary>
    public DeviceBuffer Y { get; }

    public DeviceBuffer Dx { get; }

    public DeviceBuffer Dw { get; }

    public void Run(ConvPass pass)
    {
        switch (pass)
        {
            case ConvPass.Forward:
                Backend.ConvForward(Shape, X, W, Y);
                break;
            case ConvPass.Feedback:
                Backend.ConvFeedback(Shape, Y, B, FeedbackLayout.Feedback, Dx);
                break;
            default:
                Backend.ConvWeightGradient(Shape, X, Y, Dw);
                break;
        }
    }

    public void Dispose()
    {
        foreach (DeviceBuffer buffer in (DeviceBuffer[])[X, W, B, Y, Dx, Dw]) buffer.Dispose();
    }

    private DeviceBuffer New(long length, uint stream, ElementType type)
    {
        DeviceBuffer numbers = Backend.Allocate(length, "operand");
        Backend.FillGaussian(numbers, new RandomKey(1, RandomPurpose.User, stream), 0.5f);
        if (type == ElementType.Float32) return numbers;
        DeviceBuffer rounded = Backend.Allocate(length, "operand", type);
        Backend.Convert(length, numbers, rounded);
        numbers.Dispose();
        return rounded;
    }
}
