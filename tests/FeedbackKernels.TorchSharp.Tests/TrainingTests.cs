using FeedbackKernels.Rules;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace FeedbackKernels.TorchSharp.Tests;

/// <summary>A small net learns under each rule.</summary>
public sealed class TrainingTests
{
    public static TheoryData<string> Rules() => [.. FeedbackModules.RuleNames];

    [Theory, MemberData(nameof(Rules))]
    public void The_loss_falls(string rule)
    {
        manual_seed(1);
        using Module<Tensor, Tensor> net = Sequential(
            ("conv1", Conv2d(1, 8, 3, padding: 1)), ("act1", ReLU(inplace: true)), ("conv2", Conv2d(8, 16, 3, stride: 2, padding: 1)), ("act2", ReLU(inplace: true)),
            ("flat", Flatten()), ("fc1", Linear(16 * 16, 32)), ("act3", ReLU()), ("fc2", Linear(32, 4)));
        net.WithFeedback(rule, seed: 1, except: "conv1");
        net.BeforeTraining();
        optim.Optimizer optimiser = optim.SGD(net.parameters(), 0.05, momentum: 0.9);
        if (rule == KolenPollack.RuleName) optimiser = new KolenPollackOptimizer(optimiser, net, weightDecay: 1e-3);
        Tensor patterns = randn(4, 1, 8, 8);
        var losses = new List<float>();
        for (int step = 0; step < 60; step++)
        {
            using IDisposable scope = NewDisposeScope();
            Tensor labels = randint(0, 4, [32], dtype: ScalarType.Int64), x = patterns[labels] + 0.5 * randn(32, 1, 8, 8);
            optimiser.zero_grad();
            Tensor loss = functional.cross_entropy(net.call(x), labels);
            loss.backward();
            optimiser.step();
            if (rule == WeightMirror.RuleName) net.MirrorStep();
            losses.Add(loss.item<float>());
        }

        Assert.InRange(losses[..5].Average(), 0.8, 2);
        Assert.InRange(losses[^5..].Average(), 0, 0.3);
        if (rule is WeightMirror.RuleName or KolenPollack.RuleName) Assert.All(net.Align(), named => Assert.InRange(named.Alignment.AngleDegrees, 0, 15));
        optimiser.Dispose();
    }
}
