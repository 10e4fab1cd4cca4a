using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;
using FeedbackKernels.Rules;

namespace FeedbackKernels.Tests.Models;

public sealed class ParameterSlabTests : IDisposable
{
    private const int Images = 4;

    private readonly ReferenceBackend _backend = new();

    public void Dispose() => _backend.Dispose();

    [Fact]
    public void Parameters_lie_in_the_order_in_which_the_backward_pass_finishes_them()
    {
        using var model = new Model(_backend, TestNets.Residual(), RuleSet.Of(new KolenPollack()), Images, seed: 1);
        TestNets.LoadBatch(model, Images);
        model.Forward(Pass.Train(Images));
        model.Loss(Images, 0, gradient: true);
        var order = new Order();
        model.Backward(Images, order);
        // A layer's error is seen just before its gradient is computed.
        Assert.Equal(model.Layers.Count, order.Layers.Count);
        Assert.Equal(order.Layers.Select(l => l.Weight), order.Layers.Select(l => l.Weight).OrderBy(p => p.Offset));
        IEnumerable<ConvLayer> fed = order.Layers.Where(l => l.Feedback is not null);
        Assert.Equal(fed.Select(l => l.Feedback!.OwnWeights), fed.Select(l => l.Feedback!.OwnWeights).OrderBy(p => p!.Offset));
        // Bias and norm of a layer come before its weights: their gradients are there first.
        foreach (ConvLayer layer in model.Layers.Where(l => l.Bias is not null)) Assert.True(layer.Bias!.Offset < layer.Weight.Offset);
        Assert.Equal(model.Parameters.Count, model.Weights.Parameters.Count);
        Assert.All(model.Parameters, p => Assert.Same(model.Weights, p.Slab));
    }

    [Theory]
    [InlineData(ElementType.Float32)]
    [InlineData(ElementType.BFloat16)]
    public void A_parameter_has_one_offset_in_every_block_and_gaps_stay_zero(ElementType activations)
    {
        using var backend = new ReferenceBackend(activations);
        Parameter[] parameters = [new(backend, "a", [3, 5], decays: true, multiplies: true), new(backend, "b", [7], decays: false), new(backend, "c", [64], decays: true, multiplies: true)];
        foreach (Parameter parameter in parameters) parameter.EnableTraining();
        using var slab = new ParameterSlab(backend, parameters, "weights");
        Assert.Equal([0, 32, 64], parameters.Select(p => p.Offset));
        Assert.Equal(128, slab.Length);
        Assert.Equal(activations != ElementType.Float32, slab.Copies is not null);
        for (int i = 0; i < parameters.Length; i++)
        {
            backend.Fill(parameters[i].Value, i + 1);
            backend.Fill(parameters[i].Gradient, 10 * (i + 1));
            parameters[i].RefreshCopy();
        }

        float[] expected = [.. Run(15, 1), .. Run(17, 0), .. Run(7, 2), .. Run(25, 0), .. Run(64, 3)];
        Assert.Equal(expected, backend.Download(slab.Values));
        Assert.Equal(expected.Select(v => 10 * v), backend.Download(slab.Gradients));
        // A bias has no copy: products do not read it.
        if (slab.Copies is { } copies) Assert.Equal([.. Run(15, 1), .. Run(49, 0), .. Run(64, 3)], backend.Download(copies));
        Assert.Equal("b", parameters[1].Value.Name);

        static IEnumerable<float> Run(int count, float value) => Enumerable.Repeat(value, count);
    }

    [Fact]
    public void A_parameter_without_a_slab_has_memory_of_its_own_and_cannot_move_into_one()
    {
        using var alone = new Parameter(_backend, "alone", [4], decays: false);
        Assert.Null(alone.Gradient);
        Assert.Equal(new float[4], _backend.Download(alone.Value));
        alone.EnableTraining();
        Assert.Equal(4, alone.Gradient!.Length);
        Assert.Contains("'alone'", Assert.Throws<ArgumentException>(() => new ParameterSlab(_backend, [alone], "weights")).Message);
        Assert.Throws<ArgumentException>(() => new ParameterSlab(_backend, [], "weights"));
    }

    private sealed class Order : IErrorObserver
    {
        public List<ConvLayer> Layers { get; } = [];

        public void Observe(ConvLayer layer, BufferView error, long length) => Layers.Add(layer);
    }
}
