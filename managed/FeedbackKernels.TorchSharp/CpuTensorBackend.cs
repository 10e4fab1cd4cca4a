using FeedbackKernels.Interop;
using static TorchSharp.torch;

namespace FeedbackKernels.TorchSharp;

/// <summary>
/// CPU tensors. The kernels read and write channels_last tensors where they lie. Contiguous (NCHW) tensors and weights (OIHW) are
/// converted in scratch memory, which grows to the largest operation so far.
/// </summary>
internal sealed unsafe class CpuTensorBackend(int threads) : TensorBackend(new CpuBackend(threads))
{
    private readonly List<DeviceBuffer> _scratch = [];
    private readonly List<Action> _finish = [];
    private int _used;

    /// <summary>Numbers of scratch memory.</summary>
    internal long ScratchLength => _scratch.Sum(buffer => buffer.Length);

    public override BufferView Scratch(long length)
    {
        if (_used == _scratch.Count) _scratch.Add(Backend.Allocate(length, "scratch of the TorchSharp layers"));
        if (_scratch[_used].Length < length)
        {
            _scratch[_used].Dispose();
            _scratch[_used] = Backend.Allocate(length, "scratch of the TorchSharp layers");
        }

        return BufferView.FromPointer(((BufferView)_scratch[_used++]).Address, length);
    }

    protected override BufferView ReadMap(Tensor map, MapSizes sizes)
    {
        if (map.dim() == 4 ? map.IsDenseNhwc() : map.is_contiguous()) return map.View();
        Tensor dense = Dense(map);
        if (sizes.HasOneOrder) return dense.View();
        BufferView nhwc = Scratch(dense.numel());
        Convert(dense.Address(), nhwc.Address, sizes, toNchw: false);
        return nhwc;
    }

    protected override BufferView WriteMap(Tensor map, MapSizes sizes)
    {
        if (sizes.HasOneOrder || map.IsDenseNhwc()) return map.View();
        BufferView nhwc = Scratch(map.numel());
        _finish.Add(() => Convert(nhwc.Address, map.Address(), sizes, toNchw: true));
        return nhwc;
    }

    protected override BufferView ReadWeights(Tensor weights, ConvShape shape, FeedbackLayout layout)
    {
        Tensor dense = Dense(weights);
        if (IsSame(shape, layout)) return dense.View();
        BufferView converted = Scratch(shape.WeightLength);
        ReadOnlySpan<float> from = Span(dense.View());
        if (layout == FeedbackLayout.Forward) TensorLayouts.OihwToForward(from, Span(converted), shape.K, shape.C, shape.R, shape.S);
        else TensorLayouts.OihwToFeedback(from, Span(converted), shape.K, shape.C, shape.R, shape.S);
        return converted;
    }

    protected override BufferView WriteWeights(Tensor weights, ConvShape shape, FeedbackLayout layout, BufferView memory)
    {
        if (IsSame(shape, layout)) return weights.View();
        BufferView made = memory.IsAbsent ? Scratch(shape.WeightLength) : memory;
        _finish.Add(() =>
        {
            Span<float> to = Span(weights.View());
            if (layout == FeedbackLayout.Forward) TensorLayouts.ForwardToOihw(Span(made), to, shape.K, shape.C, shape.R, shape.S);
            else TensorLayouts.FeedbackToOihw(Span(made), to, shape.K, shape.C, shape.R, shape.S);
        });
        return made;
    }

    protected override void Finish()
    {
        foreach (Action move in _finish) move();
    }

    protected override void Release()
    {
        _finish.Clear();
        _used = 0;
        base.Release();
    }

    /// <summary>OIHW of 1x1 filters is [K][C], as is B.</summary>
    private static bool IsSame(in ConvShape shape, FeedbackLayout layout) => layout == FeedbackLayout.Feedback && shape.R == 1 && shape.S == 1;

    private static Span<float> Span(BufferView view) => new((void*)view.Address, checked((int)view.Length));

    // By images: a span has fewer than 2^31 elements.
    private static void Convert(nint source, nint destination, MapSizes sizes, bool toNchw)
    {
        long image = (long)sizes.H * sizes.W * sizes.C;
        for (long n = 0; n < sizes.N; n++)
        {
            var from = new ReadOnlySpan<float>((float*)source + n * image, checked((int)image));
            var to = new Span<float>((float*)destination + n * image, checked((int)image));
            if (toNchw) TensorLayouts.NhwcToNchw(from, to, 1, sizes.C, sizes.H, sizes.W);
            else TensorLayouts.NchwToNhwc(from, to, 1, sizes.C, sizes.H, sizes.W);
        }
    }
}
