using FeedbackKernels.Interop;
using FeedbackKernels.Rules;
using TorchSharp;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace FeedbackKernels.TorchSharp.Tests;

/// <summary>Results, gradients and memory formats of a convolution against TorchSharp's own autograd.</summary>
public sealed class ConvolutionTests
{
    public static TheoryData<int, int, int, int, int, int, int, int, int> Shapes() => new()
    {
        // n, c, h, w, k, r, s, stride, padding
        { 2, 3, 8, 8, 5, 3, 3, 1, 1 },
        { 3, 16, 14, 14, 32, 3, 3, 1, 1 },
        { 2, 7, 9, 11, 6, 3, 3, 2, 1 },
        { 2, 8, 7, 7, 4, 1, 1, 1, 0 },
        { 1, 5, 9, 6, 8, 1, 1, 2, 0 },
        { 2, 3, 17, 15, 4, 7, 7, 2, 3 },
        { 2, 4, 6, 9, 3, 3, 1, 1, 2 },
        { 1, 1, 5, 5, 1, 3, 3, 1, 0 },
        { 4, 6, 1, 1, 5, 1, 1, 1, 0 },
        { 1, 12, 5, 5, 9, 5, 5, 1, 0 },
        // Strides that fit both memory formats.
        { 2, 1, 1, 1, 3, 1, 1, 1, 0 },
        { 3, 1, 4, 4, 2, 3, 3, 1, 1 },
    };

    public static TheoryData<int, int, int, int, int, int, int, int, int, bool, bool> ShapesInFormats()
    {
        var all = new TheoryData<int, int, int, int, int, int, int, int, int, bool, bool>();
        foreach (bool channelsLast in (bool[])[false, true])
        {
            bool bias = channelsLast;
            foreach ((int n, int c, int h, int w, int k, int r, int s, int stride, int padding) in Shapes().Select(row => row.Data))
            {
                all.Add(n, c, h, w, k, r, s, stride, padding, channelsLast, bias);
                bias = !bias;
            }
        }

        return all;
    }

    [Theory, MemberData(nameof(ShapesInFormats))]
    public void Forward_pass_and_gradients_equal_those_of_torch(
        int n, int c, int h, int w, int k, int r, int s, int stride, int padding, bool channelsLast, bool bias)
    {
        manual_seed(1);
        using var layer = new FeedbackConv2d(c, k, (r, s), new FeedbackAlignment(), stride, padding, bias);
        Tensor x = Check.Map([n, c, h, w], channelsLast, gradient: true), x2 = x.detach().clone().requires_grad_(true);
        Tensor weight = layer.weight.detach().clone().requires_grad_(true), b = layer.feedback!.weight.clone().requires_grad_(true);
        Tensor? bias2 = layer.bias?.detach().clone().requires_grad_(true);

        Tensor expected = functional.conv2d(x2, weight, bias2, [stride, stride], [padding, padding]), y = layer.call(x);
        Check.Close(expected, y);
        Assert.Equal(expected.stride(), y.stride());

        Tensor dy = randn(y.shape);
        expected.backward([dy]);
        y.backward([dy]);
        Check.Close(weight.grad!, layer.weight.grad!);
        if (bias) Check.Close(bias2!.grad!, layer.bias!.grad!);

        // The error goes through B: the gradient that torch computes with B as the weights.
        Tensor x3 = x.detach().clone().requires_grad_(true);
        functional.conv2d(x3, b, null, [stride, stride], [padding, padding]).backward([dy]);
        Check.Close(x3.grad!, x.grad!);
        Assert.Equal(x2.grad!.stride(), x.grad!.stride());
        Assert.True((x2.grad! - x.grad!).abs().max().item<float>() > 1e-3, "B is W");
    }

    [Theory, MemberData(nameof(Shapes))]
    public void With_B_equal_to_W_the_error_is_that_of_backprop_bit_for_bit(int n, int c, int h, int w, int k, int r, int s, int stride, int padding)
    {
        manual_seed(2);
        using var layer = new FeedbackConv2d(c, k, (r, s), new FeedbackAlignment(), stride, padding);
        using var backprop = new FeedbackConv2d(c, k, (r, s), new Backprop(), stride, padding);
        using (no_grad())
        {
            layer.feedback!.weight.copy_(layer.weight);
            backprop.weight.copy_(layer.weight);
            backprop.bias!.copy_(layer.bias!);
        }

        Assert.Null(backprop.feedback);
        Tensor x = Check.Map([n, c, h, w], channelsLast: false, gradient: true), x2 = x.detach().clone().requires_grad_(true), x3 = x.detach().clone().requires_grad_(true);
        Tensor y = layer.call(x), dy = randn(y.shape);
        y.backward([dy]);
        backprop.call(x2).backward([dy]);
        functional.conv2d(x3, layer.weight, layer.bias, [stride, stride], [padding, padding]).backward([dy]);
        Check.Same(x2.grad!, x.grad!);
        Check.Close(x3.grad!, x.grad!);
    }

    [Fact]
    public void Slices_transposed_views_and_offsets_are_read_where_they_lie()
    {
        manual_seed(3);
        using var layer = new FeedbackConv2d(4, 6, 3, new FeedbackAlignment(), padding: 1);
        Tensor whole = randn(5, 9, 12, 12), last = Check.Map([5, 9, 12, 12], channelsLast: true);
        Tensor[] inputs =
        [
            whole.slice(0, 1, 3, 1).slice(1, 2, 6, 1),
            whole.slice(1, 5, 9, 1).slice(2, 1, 11, 1).slice(3, 0, 12, 2),
            whole.slice(0, 2, 4, 1).slice(1, 1, 5, 1).transpose(2, 3),
            last.slice(0, 3, 5, 1).slice(1, 3, 7, 1),
            last.slice(1, 0, 8, 2),
            last.slice(0, 4, 5, 1).slice(1, 0, 4, 1),
            randn(1, 4, 12, 12).expand(3, 4, 12, 12),
            randn(1 + 2 * 4 * 5 * 5).slice(0, 1, 201, 1).view(2, 4, 5, 5),
        ];
        foreach (Tensor input in inputs)
        {
            Tensor x = input.detach().requires_grad_(true), expected = functional.conv2d(input, layer.weight, layer.bias, [1], [1]), y = layer.call(x);
            Check.Close(expected, y);
            Assert.Equal(expected.stride(), y.stride());

            // The gradient of a sum is a tensor with strides of 0; the others come in the other format, and as a slice.
            Tensor dy = randn([.. y.shape.Select(size => size + 1)]);
            foreach (int i in y.shape.Select((_, i) => i)) dy = dy.slice(i, 1, dy.shape[i], 1);
            foreach (Tensor error in (Tensor[])[ones(1, 1, 1, 1).expand(y.shape), dy, dy.transpose(2, 3).contiguous().transpose(2, 3), dy.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)])
            {
                layer.zero_grad();
                x.grad = null;
                Tensor leaf = input.detach().clone().requires_grad_(true), b = layer.feedback!.weight;
                functional.conv2d(leaf, b, null, [1], [1]).backward([error]);
                layer.call(x).backward([error]);
                Check.Close(leaf.grad!, x.grad!);
                Tensor w = layer.weight.detach().clone().requires_grad_(true);
                functional.conv2d(input, w, null, [1], [1]).backward([error]);
                Check.Close(w.grad!, layer.weight.grad!);
                Check.Close(error.sum([0L, 2, 3]), layer.bias!.grad!);
            }
        }
    }

    [Fact]
    public void Weights_of_other_strides_give_the_same_result()
    {
        manual_seed(4);
        using var layer = new FeedbackConv2d(4, 6, 3, new Backprop(), padding: 1);
        Tensor x = randn(2, 4, 8, 8), expected = layer.call(x).detach();
        layer.weight = new(layer.weight.detach().permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2));
        Tensor y = layer.call(x);
        Check.Close(expected, y);
        Assert.Equal(functional.conv2d(x, layer.weight, layer.bias, [1], [1]).stride(), y.stride());
        y.sum().backward();
        Assert.Equal(layer.weight.shape, layer.weight.grad!.shape);
    }

    [Fact]
    public void Channels_last_tensors_are_used_without_a_copy()
    {
        Tensor x = Check.Map([2, 8, 64, 64], channelsLast: true), w = randn(4, 8, 3, 3), y = TensorMemory.NewMap([2, 4, 64, 64], channelsLast: true, CPU);
        var shape = new ConvShape(2, 64, 64, 8, 4, 3, 3, 1, 1);
        var memory = new CpuTensorBackend(1);
        memory.Forward(shape, x, w, null, y);
        Check.Close(functional.conv2d(x, w, null, [1], [1]), y);
        Assert.Equal(w.numel(), memory.ScratchLength);
        memory.Forward(shape, x.contiguous(), w, null, y);
        Assert.Equal(w.numel() + x.numel(), memory.ScratchLength);
    }

    // The backend of CUDA tensors converts layouts by operations of torch, which run on the CPU too.
    [Theory, MemberData(nameof(Shapes))]
    public void The_layouts_of_CUDA_tensors_are_right(int n, int c, int h, int w, int k, int r, int s, int stride, int padding)
    {
        manual_seed(8);
        var shape = new ConvShape(n, h, w, c, k, r, s, stride, padding);
        TensorBackend[] backends = [new CpuTensorBackend(1), new CudaTensorBackend(new CpuBackend(1), CPU)];
        foreach (bool channelsLast in (bool[])[false, true])
        {
            Tensor x = Check.Map([n, c, h, w], channelsLast), dy = Check.Map([n, k, shape.P, shape.Q], !channelsLast), weight = randn(k, c, r, s), bias = randn(k);
            Tensor[][] results = [.. backends.Select(backend =>
            {
                Tensor y = TensorMemory.NewMap(dy.shape, channelsLast, CPU), dx = TensorMemory.NewMap(x.shape, channelsLast, CPU);
                Tensor dw = empty(k, c, r, s), db = empty(k), b = ones(k, c, r, s);
                backend.Forward(shape, x, weight, bias, y);
                backend.Feedback(shape, dy, weight, dx);
                backend.Gradients(shape, x, dy, dw, db);
                backend.Update(shape, weight, b, (memory, forward, feedback) => memory.Backend.TransposedCombine(shape, 2, forward, 3, feedback, feedback));
                Check.Close(weight * 2 + 3, b);
                return (Tensor[])[y, dx, dw, db, b];
            })];
            Assert.All(results[0].Zip(results[1]), pair => Check.Same(pair.First, pair.Second));
        }
    }

    [Fact]
    public void A_single_image_without_a_batch_dimension_works_as_in_torch()
    {
        manual_seed(5);
        using var layer = new FeedbackConv2d(3, 4, 3, new Backprop());
        Tensor x = randn([3, 7, 6], requires_grad: true), y = layer.call(x);
        Check.Close(functional.conv2d(x, layer.weight, layer.bias), y);
        y.sum().backward();
        Assert.Equal(x.shape, x.grad!.shape);
    }

    [Fact]
    public void A_ReLU_in_place_may_follow()
    {
        manual_seed(6);
        foreach (bool channelsLast in (bool[])[false, true])
        {
            using var layer = new FeedbackConv2d(3, 4, 3, new Backprop());
            using Module<Tensor, Tensor> net = Sequential(layer, ReLU(inplace: true));
            Tensor x = Check.Map([2, 3, 6, 6], channelsLast, gradient: true), x2 = x.detach().clone().requires_grad_(true);
            net.call(x).sum().backward();
            functional.relu(functional.conv2d(x2, layer.weight, layer.bias)).sum().backward();
            Check.Close(x2.grad!, x.grad!);
        }
    }

    [Fact]
    public void Only_what_is_wanted_gets_a_gradient()
    {
        using var layer = new FeedbackConv2d(3, 4, 3, new FeedbackAlignment());
        Tensor x = randn(2, 3, 6, 6);
        layer.call(x).sum().backward();
        Assert.NotNull(layer.weight.grad);
        Assert.Null(x.grad);

        layer.zero_grad();
        layer.weight.requires_grad = false;
        Tensor wanted = randn([2, 3, 6, 6], requires_grad: true);
        layer.call(wanted).sum().backward();
        Assert.Null(layer.weight.grad);
        Assert.NotNull(layer.bias!.grad);
        Assert.NotNull(wanted.grad);
        Assert.Null(layer.feedback!.weight.grad);
        Assert.False(layer.feedback.weight.requires_grad);
    }

    [Fact]
    public void Without_gradients_nothing_is_recorded()
    {
        using var layer = new FeedbackConv2d(3, 4, 3, new WeightMirror());
        Tensor x = randn([2, 3, 6, 6], requires_grad: true), y = layer.call(x);
        Assert.True(y.requires_grad);
        layer.eval();
        Assert.False(layer.training);
        Check.Same(y.detach(), layer.call(x).detach());
        using (no_grad())
        {
            Tensor without = layer.call(x);
            Assert.False(without.requires_grad);
            Check.Same(y.detach(), without);
        }
    }

    [Fact]
    public void Other_types_and_sizes_are_errors_that_say_so()
    {
        using var layer = new FeedbackConv2d(3, 4, 3, new FeedbackAlignment());
        Assert.Contains("Float64", Assert.Throws<ArgumentException>(() => layer.call(randn([2, 3, 6, 6], dtype: ScalarType.Float64))).Message, StringComparison.Ordinal);
        Assert.Contains("[2, 5, 6, 6]", Assert.Throws<ArgumentException>(() => layer.call(randn(2, 5, 6, 6))).Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() => layer.call(randn(3, 6)));
        Assert.Throws<ArgumentOutOfRangeException>(() => layer.call(randn(2, 3, 2, 2)));
        layer.to(ScalarType.Float64);
        Assert.Contains("weight", Assert.Throws<ArgumentException>(() => layer.call(randn(2, 3, 6, 6))).Message, StringComparison.Ordinal);
    }

    // An exception that leaves a callback of native code would end the process.
    [Fact]
    public void A_backward_pass_that_fails_throws()
    {
        using var layer = new FeedbackConv2d(3, 4, 3, new Backprop());
        Tensor leaf = randn([2, 3, 6, 6], requires_grad: true), x = leaf * 2, y = layer.call(x);
        x.add_(1);
        Assert.ThrowsAny<Exception>(() => y.sum().backward());

        Tensor z = layer.call(leaf);
        Assert.ThrowsAny<Exception>(() => autograd.backward([z.sum()], create_graph: true));

        // The layer works afterwards.
        layer.call(leaf).sum().backward();
        Assert.NotNull(leaf.grad);
    }

    [Fact]
    public async Task Threads_wait_for_each_other()
    {
        manual_seed(7);
        using var layer = new FeedbackConv2d(8, 8, 3, new Backprop(), padding: 1);
        Tensor x = randn(2, 8, 10, 10), expected = layer.call(x).detach();
        await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => Task.Run(() =>
        {
            for (int i = 0; i < 50; i++)
            {
                using Tensor y = layer.call(x);
                Check.Same(expected, y.detach());
            }
        })));
    }

    [Fact]
    public void What_a_step_needs_is_released()
    {
        using var layer = new FeedbackConv2d(16, 16, 3, new FeedbackAlignment(), padding: 1);
        using Tensor x = randn([4, 16, 64, 64], requires_grad: true);
        long before = 0;
        for (int i = 0; i < 60; i++)
        {
            if (i == 20) before = Environment.WorkingSet;
            using (Tensor y = layer.call(x), loss = y.sum()) loss.backward();
            layer.zero_grad();
            x.grad = null;
        }

        // A step that keeps its output or the gradient of its input until a garbage collection would keep 40 * 4 MiB.
        Assert.InRange(Environment.WorkingSet - before, long.MinValue, 60L << 20);
    }
}
