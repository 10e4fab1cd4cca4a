using FeedbackKernels.Rules;
using TorchSharp.Modules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;
using static TorchSharp.torch.optim;

namespace FeedbackKernels.TorchSharp.Tests;

/// <summary>The wrapper of optimisers: W and B get the same adjustment and the same decay.</summary>
public sealed class KolenPollackTests
{
    private const double Rate = 0.1, Decay = 0.5;

    public static TheoryData<string> Optimisers() => new("sgd", "momentum", "adam", "rmsprop");

    [Theory, MemberData(nameof(Optimisers))]
    public void The_difference_of_B_and_W_shrinks_by_the_decay_alone(string name)
    {
        manual_seed(1);
        using var layer = new FeedbackConv2d(3, 5, 3, new KolenPollack());
        using var optimiser = new KolenPollackOptimizer(Create(name, layer.parameters()), layer, Decay);
        for (int i = 0; i < 4; i++)
        {
            Tensor difference = (layer.feedback!.weight - layer.weight).detach(), w = layer.weight.detach().clone();
            RuleTests.Train(layer, optimiser);
            Check.Close(difference * (1 - Rate * Decay), (layer.feedback.weight - layer.weight).detach(), 1e-5);
            Assert.True((layer.weight - w * (1 - Rate * Decay)).abs().max().item<float>() > 1e-4, "W has not moved");
        }
    }

    [Theory, MemberData(nameof(Optimisers))]
    public void W_moves_as_under_the_optimiser_and_decays(string name)
    {
        manual_seed(2);
        using var layer = new FeedbackLinear(6, 4, new KolenPollack());
        using var twin = Linear(6, 4);
        using (no_grad())
        {
            twin.weight.copy_(layer.weight);
            twin.bias!.copy_(layer.bias!);
        }

        using var optimiser = new KolenPollackOptimizer(Create(name, layer.parameters()), layer, Decay);
        using Optimizer plain = Create(name, twin.parameters());
        Tensor x = randn(8, 6), before = twin.weight.detach().clone();
        foreach ((Module<Tensor, Tensor> net, Optimizer each) in ((Module<Tensor, Tensor>, Optimizer)[])[(layer, optimiser), (twin, plain)])
        {
            net.call(x).pow(2).mean().backward();
            each.step();
        }

        Check.Close((twin.weight - before * (Rate * Decay)).detach(), layer.weight.detach());
        Check.Close(twin.bias!.detach(), layer.bias!.detach());
    }

    [Fact]
    public void Layers_have_the_rate_of_their_group_and_the_decay_of_their_rule()
    {
        manual_seed(3);
        using var one = new FeedbackLinear(6, 6, new KolenPollack());
        using var two = new FeedbackLinear(6, 6, new KolenPollack(Decay: 0.25f));
        using Module<Tensor, Tensor> net = Sequential(("one", one), ("two", two));
        SGD inner = optim.SGD(
            [new SGD.ParamGroup(one.parameters(), lr: 0.1), new SGD.ParamGroup(two.parameters(), lr: 0.2)], 0.1);
        using var optimiser = new KolenPollackOptimizer(inner, net, Decay);
        // A schedule of TorchSharp sees the groups of the wrapped optimiser.
        optim.lr_scheduler.LRScheduler schedule = optim.lr_scheduler.StepLR(optimiser, 1, 0.5);
        foreach (double scale in (double[])[1, 0.5])
        {
            Tensor first = (one.feedback!.weight - one.weight).detach(), second = (two.feedback!.weight - two.weight).detach();
            optimiser.zero_grad();
            net.call(randn(3, 6)).pow(2).mean().backward();
            optimiser.step();
            Check.Close(first * (1 - scale * 0.1 * 0.5), (one.feedback.weight - one.weight).detach());
            Check.Close(second * (1 - scale * 0.2 * 0.25), (two.feedback.weight - two.weight).detach());
            schedule.step();
        }
    }

    [Fact]
    public void The_early_decay_aligns_B_and_keeps_the_variance_of_W()
    {
        manual_seed(4);
        using var layer = new FeedbackConv2d(16, 32, 3, new KolenPollack());
        float before = layer.weight.std().item<float>();
        Tensor difference = (layer.feedback!.weight - layer.weight).detach(), w = layer.weight.detach().clone();
        layer.BeforeTraining();
        Assert.InRange(layer.Align().AngleDegrees, 0, 1.5);
        Check.Close(difference * 0.01, (layer.feedback.weight - layer.weight).detach(), 1e-3);
        Assert.InRange(layer.weight.std().item<float>() / before, 0.97, 1.03);
        Assert.False(Check.IsSame(w, layer.weight));

        using var off = new FeedbackConv2d(16, 32, 3, new KolenPollack(EarlyShrink: 1));
        Tensor kept = off.weight.detach().clone();
        off.BeforeTraining();
        Check.Same(kept, off.weight);
    }

    [Fact]
    public void Other_layers_are_left_to_the_optimiser()
    {
        manual_seed(5);
        using var fixedB = new FeedbackLinear(6, 6, new FeedbackAlignment());
        using var layer = new FeedbackLinear(6, 6, new KolenPollack());
        using Module<Tensor, Tensor> net = Sequential(("fixed", fixedB), ("kp", layer));
        using var optimiser = new KolenPollackOptimizer(optim.SGD(net.parameters(), Rate), net, Decay);
        Tensor b = fixedB.feedback!.weight.clone();
        net.call(randn(3, 6)).pow(2).mean().backward();
        Tensor expected = (fixedB.weight - fixedB.weight.grad! * Rate).detach();
        optimiser.step();
        Check.Same(b, fixedB.feedback.weight);
        Check.Close(expected, fixedB.weight.detach());
    }

    [Fact]
    public void A_closure_is_evaluated_by_the_optimiser()
    {
        manual_seed(6);
        using var layer = new FeedbackLinear(6, 4, new KolenPollack());
        using var optimiser = new KolenPollackOptimizer(optim.SGD(layer.parameters(), Rate), layer, Decay);
        Tensor difference = (layer.feedback!.weight - layer.weight).detach(), x = randn(5, 6);
        Tensor loss = optimiser.step(() =>
        {
            Tensor made = layer.call(x).pow(2).mean();
            made.backward();
            return made;
        });
        Assert.True(loss.item<float>() > 0);
        Check.Close(difference * (1 - Rate * Decay), (layer.feedback.weight - layer.weight).detach());
    }

    [Fact]
    public void Optimisers_that_do_not_fit_are_refused_with_the_reason()
    {
        using var layer = new FeedbackLinear(6, 4, new KolenPollack());
        using Module<Tensor, Tensor> net = Sequential(("out", layer));
        Assert.Contains("weight_decay is 0.001", Refusal(optim.SGD(net.parameters(), 0.1, weight_decay: 0.001), net), StringComparison.Ordinal);
        Assert.Contains("'out'", Refusal(optim.AdamW(net.parameters(), 0.1, weight_decay: 0.001), net), StringComparison.Ordinal);
        Assert.Contains("does not have", Refusal(optim.SGD([layer.bias!], 0.1), net), StringComparison.Ordinal);
        using Module<Tensor, Tensor> other = Sequential(new FeedbackLinear(3, 2, new FeedbackAlignment()));
        Assert.Contains("kolen-pollack", Refusal(optim.SGD(other.parameters(), 0.1), other), StringComparison.Ordinal);
        Assert.Throws<ArgumentOutOfRangeException>(() => new KolenPollackOptimizer(optim.SGD(net.parameters(), 0.1), net, -1));
        Assert.Throws<ArgumentOutOfRangeException>(() => new KolenPollackOptimizer(optim.SGD(net.parameters(), 0.1), net, double.NaN));
        // A decay of the bias alone is the optimiser's affair.
        new KolenPollackOptimizer(
            optim.SGD([new SGD.ParamGroup([layer.weight], lr: 0.1), new SGD.ParamGroup([layer.bias!], lr: 0.1, weight_decay: 0.1)], 0.1), net, 0).Dispose();

        static string Refusal(Optimizer inner, Module model) => Assert.Throws<ArgumentException>(() => new KolenPollackOptimizer(inner, model, Decay)).Message;
    }

    private static Optimizer Create(string name, IEnumerable<Parameter> parameters) => name switch
    {
        "sgd" => optim.SGD(parameters, Rate),
        "momentum" => optim.SGD(parameters, Rate, momentum: 0.9),
        "adam" => optim.Adam(parameters, Rate),
        _ => optim.RMSProp(parameters, Rate),
    };
}
