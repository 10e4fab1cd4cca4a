using FeedbackKernels.Rules;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace FeedbackKernels.TorchSharp.Tests;

/// <summary>State dictionaries, files and moves.</summary>
public sealed class StateTests
{
    [Fact]
    public void The_state_dictionary_is_that_of_torch_and_B()
    {
        using var conv = new FeedbackConv2d(3, 4, 3, new WeightMirror());
        using var plain = Conv2d(3, 4, 3);
        Assert.Equal([.. plain.state_dict().Keys, "feedback.weight"], conv.state_dict().Keys);
        Assert.Equal(conv.weight.shape, conv.feedback!.weight.shape);
        Assert.Equal(plain.named_parameters().Select(named => named.name), conv.named_parameters().Select(named => named.name));

        using var linear = new FeedbackLinear(3, 4, new WeightMirror(), bias: false);
        Assert.Equal(["weight", "feedback.weight"], linear.state_dict().Keys);
        using var backprop = new FeedbackLinear(3, 4, new Backprop());
        Assert.Equal(["weight", "bias"], backprop.state_dict().Keys);

        using Module<Tensor, Tensor> net = Net();
        Assert.Equal(["0.weight", "0.bias", "3.weight", "3.bias", "0.feedback.weight", "3.feedback.weight"], net.state_dict().Keys);
    }

    [Fact]
    public void A_module_that_registers_its_fields_has_the_same_names()
    {
        using var net = new Holder();
        Assert.Equal(["_layer.weight", "_layer.bias", "_layer.feedback.weight"], net.state_dict().Keys);
        Assert.Equal(["_layer", "_layer.feedback"], net.named_modules().Select(named => named.name));
    }

    [Fact]
    public void A_file_brings_back_W_and_B()
    {
        string file = Path.GetTempFileName();
        try
        {
            manual_seed(1);
            using Module<Tensor, Tensor> saved = Net();
            saved.save(file);
            manual_seed(2);
            using Module<Tensor, Tensor> loaded = Net();
            Dictionary<string, Tensor> before = saved.state_dict(), after = loaded.state_dict();
            Assert.All(before.Keys, name => Assert.False(Check.IsSame(before[name], after[name])));
            loaded.load(file);
            Assert.All(before.Keys, name => Check.Same(before[name], after[name]));

            // The layers use what was loaded.
            Tensor x = randn([2, 3, 5, 5], requires_grad: true), x2 = x.detach().clone().requires_grad_(true);
            saved.call(x).sum().backward();
            loaded.call(x2).sum().backward();
            Check.Same(x.grad!, x2.grad!);
        }
        finally
        {
            File.Delete(file);
        }
    }

    [Fact]
    public void Weights_of_a_plain_model_load_without_B()
    {
        using Module<Tensor, Tensor> plain = Sequential(Conv2d(3, 4, 3), ReLU(), Flatten(), Linear(36, 2)), net = Net();
        (IList<string> missing, IList<string> unexpected) = net.load_state_dict(plain.state_dict(), strict: false);
        Assert.Equal(["0.feedback.weight", "3.feedback.weight"], missing);
        Assert.Empty(unexpected);
        Tensor x = randn(2, 3, 5, 5);
        Check.Close(plain.call(x), net.call(x));
    }

    [Fact]
    public void B_moves_with_the_layer()
    {
        using Module<Tensor, Tensor> net = Net();
        Tensor before = net.state_dict()["0.feedback.weight"].clone();
        net.to(ScalarType.Float64);
        Assert.All(net.state_dict(), named => Assert.Equal(ScalarType.Float64, named.Value.dtype));
        net.to(ScalarType.Float32).to(CPU);
        Assert.All(net.state_dict(), named => Assert.Equal(ScalarType.Float32, named.Value.dtype));
        Check.Same(before, net.FeedbackLayers().First().Layer.feedback!.weight);
        net.MirrorStep();
        net.call(randn(2, 3, 5, 5)).sum().backward();
        Assert.All(net.parameters(), parameter => Assert.NotNull(parameter.grad));
    }

    [Fact]
    public void A_new_B_needs_the_sizes_of_W()
    {
        using var layer = new FeedbackLinear(3, 4, new FeedbackAlignment());
        Assert.Contains("[4, 3]", Assert.Throws<ArgumentException>(() => layer.feedback!.weight = randn(3, 4)).Message, StringComparison.Ordinal);
        layer.feedback!.weight = randn(3, 4).t();
        Assert.True(layer.feedback.weight.is_contiguous());
        Assert.Same(layer.feedback.weight, layer.state_dict()["feedback.weight"]);
    }

    [Fact]
    public void A_disposed_layer_releases_its_tensors()
    {
        var layer = new FeedbackLinear(3, 4, new WeightMirror());
        layer.MirrorStep();
        Parameter w = layer.weight;
        Tensor b = layer.feedback!.weight;
        layer.Dispose();
        layer.Dispose();
        Assert.True(w.IsInvalid);
        Assert.True(b.IsInvalid);
    }

    [Fact]
    public void Layers_outlive_the_scope_in_which_they_were_made()
    {
        Module<Tensor, Tensor> net;
        using (NewDisposeScope()) net = Net();
        using (NewDisposeScope())
        {
            net.call(randn(2, 3, 5, 5)).sum().backward();
            net.MirrorStep();
        }

        Assert.False(net.call(randn(2, 3, 5, 5)).IsInvalid);
        net.Dispose();
    }

    private sealed class Holder : Module<Tensor, Tensor>
    {
        private readonly FeedbackLinear _layer = new(3, 4, new WeightMirror());

        public Holder() : base(nameof(Holder)) => RegisterComponents();

        public override Tensor forward(Tensor input) => _layer.call(input);
    }

    private static Sequential Net() => Sequential(
        new FeedbackConv2d(3, 4, 3, new WeightMirror(), layer: 1), ReLU(), Flatten(), new FeedbackLinear(36, 2, new WeightMirror(), layer: 2));
}
