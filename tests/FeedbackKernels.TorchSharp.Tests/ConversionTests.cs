using FeedbackKernels.Rules;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace FeedbackKernels.TorchSharp.Tests;

/// <summary>Existing models get feedback layers in place.</summary>
public sealed class ConversionTests
{
    [Fact]
    public void ResNet18_of_torchvision_computes_the_same_after_the_conversion()
    {
        manual_seed(1);
        using Module<Tensor, Tensor> net = torchvision.models.resnet18(num_classes: 10);
        // In training mode batch norm would move its statistics between the calls.
        net.eval();
        Dictionary<string, Tensor> before = net.state_dict();
        Tensor x = randn(2, 3, 64, 64), expected = net.call(x);
        expected.pow(2).sum().backward();
        Dictionary<string, Tensor> gradients = net.named_parameters().ToDictionary(named => named.name, named => named.parameter.grad!.clone());
        net.zero_grad();

        Assert.Same(net, net.WithFeedback("weight-mirror", seed: 3, except: "conv1"));
        Dictionary<string, Tensor> after = net.state_dict();
        string[] converted = [.. net.FeedbackLayers().Select(named => named.Name)];
        Assert.Equal(20, converted.Length);
        Assert.Equal(before.Keys.Concat(converted.Select(name => $"{name}.feedback.weight")).Order(), after.Keys.Order());
        Assert.All(before, named => Check.Same(named.Value, after[named.Key]));
        Assert.IsType<Conv2d>(net.named_children().First(named => named.name == "conv1").module);
        Assert.All(net.modules().Prepend(net), module => Assert.False(module.training));

        using (no_grad())
        {
            foreach ((_, FeedbackLayer layer) in net.FeedbackLayers()) layer.feedback!.weight.copy_(layer.weight);
        }

        Tensor y = net.call(x);
        Check.Close(expected, y, 1e-4);
        y.pow(2).sum().backward();
        Assert.All(net.named_parameters(), named => Check.Close(gradients[named.name], named.parameter.grad!, 2e-3));

        // With other B the gradients below the top differ: forward() uses the new layers.
        using (no_grad())
        {
            foreach ((_, FeedbackLayer layer) in net.FeedbackLayers()) layer.feedback!.weight.copy_(randn(layer.weight.shape));
        }

        net.zero_grad();
        net.call(x).pow(2).sum().backward();
        Assert.True((net.get_parameter("layer1.0.conv1.weight")!.grad! - gradients["layer1.0.conv1.weight"]).abs().max().item<float>() > 1e-3);
    }

    [Fact]
    public void An_optimiser_made_before_moves_the_new_layers()
    {
        manual_seed(2);
        using Module<Tensor, Tensor> net = Sequential(("hidden", Linear(6, 5)), ("act", ReLU()), ("out", Linear(5, 2)));
        using var optimiser = optim.SGD(net.parameters(), 0.5);
        net.WithFeedback(new FeedbackAlignment());
        Tensor before = net.get_parameter("hidden.weight")!.detach().clone();
        net.call(randn(4, 6)).pow(2).mean().backward();
        optimiser.step();
        Assert.False(Check.IsSame(before, net.get_parameter("hidden.weight")!));
    }

    [Fact]
    public void Fields_lists_and_dictionaries_are_found()
    {
        manual_seed(3);
        using var net = new Holder();
        Tensor x = randn(2, 4), expected = net.call(x);
        net.WithFeedback("fa");
        Assert.Equal(Holder.Count, net.FeedbackLayers().Count());
        Assert.Equal(Holder.Count, net.Used.Count);
        Check.Close(expected, net.call(x));
        Assert.All(net.Used, layer => Assert.IsType<FeedbackLinear>(layer));
        Assert.Equal(net.FeedbackLayers().Select(named => (Module)named.Layer).ToHashSet(), net.Used.ToHashSet());
    }

    [Fact]
    public void A_layer_that_is_used_twice_stays_one_layer()
    {
        Module<Tensor, Tensor> shared = Linear(4, 4);
        using Module<Tensor, Tensor> net = Sequential(("a", shared), ("b", shared));
        net.WithFeedback("fa");
        Assert.Single(net.FeedbackLayers());
        Assert.Same(net.children().First(), net.children().Last());
    }

    [Fact]
    public void The_seed_and_the_place_fix_B()
    {
        Tensor[] B(ulong? seed, params string[] except)
        {
            Module<Tensor, Tensor> net = Sequential(("a", Linear(4, 4)), ("b", Linear(4, 4))).WithFeedback(new FeedbackAlignment(Layers.WeightInit.He), seed, except);
            return [.. net.FeedbackLayers().Select(named => named.Layer.feedback!.weight)];
        }

        Tensor[] first = B(1);
        Assert.False(Check.IsSame(first[0], first[1]));
        Assert.Equal([true, true], first.Zip(B(1), Check.IsSame));
        Assert.Equal([false, false], first.Zip(B(2), Check.IsSame));
        // Leaving one layer out changes no other.
        Check.Same(first[1], B(1, "a")[0]);
    }

    public static TheoryData<string, string> Refusals() => new()
    {
        { "groups", "groups" }, { "dilation", "dilation" }, { "stride", "stride" }, { "mode", "Reflect" }, { "padding", "(0, 1)" }, { "same", "Same" },
        { "type", "Float64" }, { "hook", "hooks" }, { "field", "declared for Conv2d" }, { "hidden", "no field, list or dictionary" },
    };

    [Theory, MemberData(nameof(Refusals))]
    public void What_cannot_be_converted_is_named_before_anything_is_changed(string layer, string reason)
    {
        Module<Tensor, Tensor> odd = layer switch
        {
            "groups" => Conv2d(4, 4, 3, groups: 2),
            "dilation" => Conv2d(4, 4, 3, dilation: 2),
            "stride" => Conv2d(4, 4, (3, 3), stride: (1, 2)),
            "mode" => Conv2d(4, 4, 3, padding: 1, padding_mode: PaddingModes.Reflect),
            "padding" => Conv2d(4, 4, (3, 3), padding: (0, 1)),
            "same" => Conv2d(4, 4, 2, Padding.Same),
            "type" => Conv2d(4, 4, 3, dtype: ScalarType.Float64),
            "field" => new Declared(),
            "hidden" => new Hidden(),
            _ => Conv2d(4, 4, 3),
        };
        if (odd is Conv2d { } conv && layer == "hook") conv.register_forward_hook((_, _, y) => y);
        using Module<Tensor, Tensor> net = Sequential(("first", Conv2d(3, 4, 3)), ("odd", odd));
        string message = Assert.Throws<NotSupportedException>(() => net.WithFeedback("wm")).Message;
        Assert.Contains("odd", message, StringComparison.Ordinal);
        Assert.Contains(reason, message, StringComparison.Ordinal);
        Assert.DoesNotContain("first", message, StringComparison.Ordinal);
        Assert.IsType<Conv2d>(net.children().First());
        net.WithFeedback("wm", except: "odd");
        Assert.Single(net.FeedbackLayers());
    }

    [Fact]
    public void Padding_by_name_is_converted()
    {
        manual_seed(4);
        using Module<Tensor, Tensor> net = Sequential(("same", Conv2d(3, 4, 5, Padding.Same)), ("valid", Conv2d(4, 4, 3, Padding.Valid)));
        Tensor x = randn(2, 3, 8, 8), expected = net.call(x);
        Check.Close(expected, net.WithFeedback("fa").call(x));
    }

    [Fact]
    public void Wrong_arguments_are_named()
    {
        using Module<Tensor, Tensor> net = Sequential(("a", Linear(4, 4)));
        Assert.Contains("'b'", Assert.Throws<ArgumentException>(() => net.WithFeedback("wm", except: "b")).Message, StringComparison.Ordinal);
        Assert.Contains("'mirror'", Assert.Throws<ArgumentException>(() => net.WithFeedback("mirror")).Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() => net.WithFeedback("wm", except: "a"));
        Assert.Throws<NotSupportedException>(() => net.WithFeedback("dfa"));
        Assert.Throws<NotSupportedException>(() => Linear(3, 3).WithFeedback("wm"));
        net.WithFeedback("wm");
        Assert.Throws<ArgumentException>(() => net.WithFeedback("wm"));
    }

    /// <summary>Holds layers in every way that is converted.</summary>
    private sealed class Holder : Module<Tensor, Tensor>
    {
        public const int Count = 8;

        private readonly Module<Tensor, Tensor> _field = Linear(4, 4);
        private readonly Module[] _array = [Linear(4, 4)];
        private readonly List<Module<Tensor, Tensor>> _list = [Linear(4, 4)];
        private readonly Dictionary<string, Module<Tensor, Tensor>> _dictionary = new() { ["x"] = Linear(4, 4) };
        private readonly List<(string Name, Module<Tensor, Tensor> Layer)> _tuples = [("y", Linear(4, 4))];
        private readonly ModuleList<Module<Tensor, Tensor>> _modules = ModuleList<Module<Tensor, Tensor>>(Linear(4, 4));
        private readonly ModuleDict<Module<Tensor, Tensor>> _named = ModuleDict<Module<Tensor, Tensor>>(("z", Linear(4, 4)));
        private readonly Sequential _sequence = Sequential(Linear(4, 4));

        public Holder() : base(nameof(Holder))
        {
            RegisterComponents();
            register_module("array", _array[0]);
            register_module("list", _list[0]);
            register_module("dictionary", _dictionary["x"]);
            register_module("tuples", _tuples[0].Layer);
        }

        public List<Module> Used { get; } = [];

        public override Tensor forward(Tensor input)
        {
            Used.Clear();
            Used.AddRange([_field, _array[0], _list[0], _dictionary["x"], _tuples[0].Layer, _modules[0], _named["z"], (Module)_sequence[0]]);
            return Used.Aggregate(input, (x, layer) => ((Module<Tensor, Tensor>)layer).call(x));
        }
    }

    private sealed class Declared : Module<Tensor, Tensor>
    {
        private readonly Conv2d _conv = Conv2d(4, 4, 3);

        public Declared() : base(nameof(Declared)) => RegisterComponents();

        public override Tensor forward(Tensor input) => _conv.call(input);
    }

    private sealed class Hidden : Module<Tensor, Tensor>
    {
        private readonly Func<Tensor, Tensor> _forward;

        public Hidden() : base(nameof(Hidden))
        {
            Conv2d conv = Conv2d(4, 4, 3);
            register_module("conv", conv);
            _forward = conv.call;
        }

        public override Tensor forward(Tensor input) => _forward(input);
    }
}
