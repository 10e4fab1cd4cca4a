using FeedbackKernels.Interop;

namespace FeedbackKernels.Bench;

/// <summary>
/// The tensors of one convolution, filled with normal numbers: zeros would flatter the clock. On a device whose cache may
/// hold them from one call to the next there are several sets of activations, taken in turn, as no training step finds them.
/// </summary>
internal sealed class ConvOperands : IDisposable
{
    // More than twice the level-2 cache of any GPU so far (H100 and H200: 50 MB); the PyTorch peer does the same.
    private const long RotatedBytes = 120_000_000;
    private const int MostSets = 8;

    private readonly List<DeviceBuffer> _buffers = [];
    private readonly (DeviceBuffer X, DeviceBuffer Y, DeviceBuffer Dx)[] _sets;
    private readonly DeviceBuffer _w, _b, _dw;
    private int _next;

    public ConvOperands(Backend backend, ConvShape shape)
    {
        (Backend, Shape) = (backend, shape);
        _w = New(shape.WeightLength, 2);
        _b = New(shape.WeightLength, 3);
        _dw = New(shape.WeightLength, 6);
        long bytes = sizeof(float) * (shape.InputLength + shape.OutputLength);
        int sets = backend.QueuesWork ? (int)Math.Clamp(RotatedBytes / bytes + 1, 1, MostSets) : 1;
        _sets = [.. Enumerable.Range(0, sets).Select(_ => (New(shape.InputLength, 1), New(shape.OutputLength, 4), New(shape.InputLength, 5)))];
    }

    public Backend Backend { get; }

    public ConvShape Shape { get; }

    public void Run(ConvPass pass)
    {
        (DeviceBuffer x, DeviceBuffer y, DeviceBuffer dx) = _sets[_next];
        _next = (_next + 1) % _sets.Length;
        switch (pass)
        {
            case ConvPass.Forward:
                Backend.ConvForward(Shape, x, _w, y);
                break;
            case ConvPass.Feedback:
                // What the forward pass writes is as good an error as any.
                Backend.ConvFeedback(Shape, y, _b, FeedbackLayout.Feedback, dx);
                break;
            default:
                Backend.ConvWeightGradient(Shape, x, y, _dw);
                break;
        }
    }

    public void Dispose()
    {
        foreach (DeviceBuffer buffer in _buffers) buffer.Dispose();
    }

    private DeviceBuffer New(long length, uint stream)
    {
        DeviceBuffer buffer = Backend.Allocate(length, "operand");
        _buffers.Add(buffer);
        Backend.FillGaussian(buffer, new RandomKey(1, RandomPurpose.User, stream), 0.5f);
        return buffer;
    }
}
