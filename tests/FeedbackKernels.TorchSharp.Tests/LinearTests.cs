using FeedbackKernels.Rules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace FeedbackKernels.TorchSharp.Tests;

/// <summary>Results and gradients of a linear layer against TorchSharp's own autograd.</summary>
public sealed class LinearTests
{
    public static TheoryData<long[]> Inputs() => new([7], [5, 7], [1, 7], [2, 3, 7], [2, 1, 3, 7]);

    [Theory, MemberData(nameof(Inputs))]
    public void Forward_pass_and_gradients_equal_those_of_torch(long[] sizes)
    {
        manual_seed(1);
        using var layer = new FeedbackLinear(7, 4, new FeedbackAlignment());
        Tensor x = randn(sizes, requires_grad: true), x2 = x.detach().clone().requires_grad_(true);
        Tensor w = layer.weight.detach().clone().requires_grad_(true), bias = layer.bias!.detach().clone().requires_grad_(true), b = layer.feedback!.weight;
        Tensor expected = functional.linear(x2, w, bias), y = layer.call(x), dy = randn(y.shape);
        Check.Close(expected, y);
        expected.backward([dy]);
        y.backward([dy]);
        Check.Close(w.grad!, layer.weight.grad!);
        Check.Close(bias.grad!, layer.bias!.grad!);
        Check.Close(dy.matmul(b), x.grad!);
    }

    [Fact]
    public void With_B_equal_to_W_the_error_is_that_of_torch()
    {
        manual_seed(2);
        using var layer = new FeedbackLinear(33, 10, new WeightMirror(), bias: false);
        using (no_grad()) layer.feedback!.weight.copy_(layer.weight);
        Tensor x = randn([6, 33], requires_grad: true), dy = randn(6, 10);
        layer.call(x).backward([dy]);
        Check.Close(dy.matmul(layer.weight.detach()), x.grad!);
        Assert.Null(layer.bias);
    }

    [Fact]
    public void Views_are_read_where_they_lie()
    {
        manual_seed(3);
        using var layer = new FeedbackLinear(7, 4, new FeedbackAlignment());
        foreach (Tensor view in (Tensor[])[randn(7, 5).t(), randn(9, 12).slice(0, 2, 6, 1).slice(1, 3, 10, 1), randn(7).expand(3, 7), randn(36).slice(0, 1, 36, 1).view(5, 7)])
        {
            Tensor x = view.detach().requires_grad_(true), y = layer.call(x);
            Check.Close(functional.linear(view, layer.weight, layer.bias), y);
            layer.zero_grad();
            y.sum().backward();
            Check.Close(ones(y.shape).matmul(layer.feedback!.weight), x.grad!);
            Check.Close(ones(y.shape).t().matmul(view), layer.weight.grad!);
        }
    }

    [Fact]
    public void Other_types_and_sizes_are_errors_that_say_so()
    {
        using var layer = new FeedbackLinear(7, 4, new Backprop());
        Assert.Contains("[3, 6]", Assert.Throws<ArgumentException>(() => layer.call(randn(3, 6))).Message, StringComparison.Ordinal);
        Assert.Contains("Float64", Assert.Throws<ArgumentException>(() => layer.call(randn([3, 7], dtype: ScalarType.Float64))).Message, StringComparison.Ordinal);
    }
}
