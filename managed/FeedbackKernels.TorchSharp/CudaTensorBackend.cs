using FeedbackKernels.Interop;
using TorchSharp;
using static TorchSharp.torch;

namespace FeedbackKernels.TorchSharp;

/// <summary>
/// CUDA tensors, by their addresses in device memory. The kernels are queued on the legacy default stream, where TorchSharp queues its own
/// work, so both run in the order of the calls, and memory that PyTorch's allocator hands out again is not in use any more. PyTorch's own
/// kernels convert layouts.
/// </summary>
/// <remarks>No machine with a GPU and libtorch's CUDA build has run this yet.</remarks>
internal sealed class CudaTensorBackend : TensorBackend
{
    private readonly List<(Tensor Result, Tensor Made)> _finish = [];
    private readonly Device _device;

    public CudaTensorBackend(int device) : this(new CudaBackend(device, CudaBackend.LegacyStream), new Device(DeviceType.CUDA, device))
    {
    }

    /// <summary>A backend for a device whose memory it can address. Tests use the CPU.</summary>
    internal CudaTensorBackend(Backend backend, Device device) : base(backend) => _device = device;

    public override BufferView Scratch(long length) => Keep(empty([length], dtype: ScalarType.Float32, device: _device)).View();

    protected override BufferView ReadMap(Tensor map, MapSizes sizes)
    {
        if (map.dim() != 4 || sizes.HasOneOrder) return Dense(map).View();
        return map.IsDenseNhwc() ? map.View() : Dense(Keep(map.permute(0, 2, 3, 1))).View();
    }

    protected override BufferView WriteMap(Tensor map, MapSizes sizes)
    {
        if (sizes.HasOneOrder || map.IsDenseNhwc()) return map.View();
        Tensor made = Keep(empty([sizes.N, sizes.H, sizes.W, sizes.C], dtype: ScalarType.Float32, device: _device));
        _finish.Add((map, Keep(made.permute(0, 3, 1, 2))));
        return made.View();
    }

    protected override BufferView ReadWeights(Tensor weights, ConvShape shape, FeedbackLayout layout) =>
        Dense(Keep(Oihw(weights, shape).permute(Order(layout)))).View();

    protected override BufferView WriteWeights(Tensor weights, ConvShape shape, FeedbackLayout layout, BufferView memory)
    {
        // Rows of the kernels' layout as [R][S][..][..], and how its dimensions come back to OIHW.
        long[] sizes = layout == FeedbackLayout.Forward ? [shape.R, shape.S, shape.C, shape.K] : [shape.R, shape.S, shape.K, shape.C];
        long[] back = layout == FeedbackLayout.Forward ? [3, 2, 0, 1] : [2, 3, 0, 1];
        Tensor made = Keep(empty(sizes, dtype: ScalarType.Float32, device: _device));
        if (!memory.IsAbsent) made.copy_(Keep(Oihw(weights, shape).permute(Order(layout))));
        _finish.Add((Oihw(weights, shape), Keep(made.permute(back))));
        return made.View();
    }

    protected override void Finish()
    {
        foreach ((Tensor result, Tensor made) in _finish) result.copy_(made);
    }

    protected override void Release()
    {
        _finish.Clear();
        base.Release();
    }

    private Tensor Oihw(Tensor weights, in ConvShape shape) => Keep(weights.view(shape.K, shape.C, shape.R, shape.S));

    private static long[] Order(FeedbackLayout layout) => layout == FeedbackLayout.Forward ? [2, 3, 1, 0] : [2, 3, 0, 1];
}
