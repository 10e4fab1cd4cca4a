using FeedbackKernels.Interop;

namespace FeedbackKernels.Bench;

/// <summary>
/// The tensors of one convolution, filled with normal numbers: with zeros the chip would draw less power and clock higher. On a
/// device with a large cache there are several sets of activations, used in turn, because a training step never finds its
/// activations in the cache.
/// </summary>
internal sealed class ConvOperands : IDisposable
{
    // More than twice the level-2 cache of any GPU so far (H100 and H200: 50 MB), as in the PyTorch peer.
    private const long RotatedBytes = 120_000_000;
    private const int MostSets = 8;

    private readonly List<DeviceBuffer> _buffers = [];
    private readonly (DeviceBuffer X, DeviceBuffer Y, DeviceBuffer Dx)[] _sets;
    private readonly DeviceBuffer _w, _b, _dw;
    private int _next;

    public ConvOperands(Backend backend, ConvShape shape)
    {
        (Backend, Shape) = (backend, shape);
        // The type in which a training step reads weights: that of the bf16 copies if the backend has them.
        ElementType type = backend.ActivationType;
        _w = New(shape.WeightLength, 2, type);
        _b = New(shape.WeightLength, 3, type);
        _dw = New(shape.WeightLength, 6, ElementType.Float32);
        long bytes = type.Size() * (shape.InputLength + shape.OutputLength);
        int sets = backend.QueuesWork ? (int)Math.Clamp(RotatedBytes / bytes + 1, 1, MostSets) : 1;
        _sets =
        [
            .. Enumerable.Range(0, sets).Select(_ => (New(shape.InputLength, 1, type), New(shape.OutputLength, 4, type), New(shape.InputLength, 5, type))),
        ];
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
                // The output of the forward pass serves as the error.
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

    private DeviceBuffer New(long length, uint stream, ElementType type)
    {
        DeviceBuffer buffer = Backend.Allocate(length, "operand", type);
        _buffers.Add(buffer);
        var key = new RandomKey(1, RandomPurpose.User, stream);
        if (type == ElementType.Float32)
        {
            Backend.FillGaussian(buffer, key, 0.5f);
            return buffer;
        }

        using DeviceBuffer numbers = Backend.Allocate(length, "operand before it is rounded");
        Backend.FillGaussian(numbers, key, 0.5f);
        Backend.Convert(length, numbers, buffer);
        return buffer;
    }
}
