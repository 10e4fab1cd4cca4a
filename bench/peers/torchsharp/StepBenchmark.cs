using System.Diagnostics;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace TorchPeer;

/// <summary>Measures whole training steps: forward, loss, backward, SGD.</summary>
internal static class StepBenchmark
{
    public static void Run(string name, int batch, string layout, int rounds)
    {
        using DisposeScope scope = NewDisposeScope();
        random.manual_seed(1);
        using ResNet model = ResNet.Create(name);
        model.train();
        foreach (Conv2d conv in model.modules().OfType<Conv2d>())
            conv.weight = new Parameter(Layout.Apply(conv.weight!.detach(), layout));
        optim.Optimizer sgd = optim.SGD(model.parameters(), 1e-3, momentum: 0.9, weight_decay: 5e-4, nesterov: true);
        Tensor images = Layout.Apply(randn(batch, 3, model.ImageSize, model.ImageSize), layout);
        Tensor labels = randint(0, model.Classes, [batch], dtype: ScalarType.Int64);
        Timing t = Timing.Of(() => Step(model, sgd, images, labels), rounds);
        Console.WriteLine(FormattableString.Invariant($"model,torch,{layout},{name},{batch},{batch / t.Median:F2},{batch / t.Best:F2}"));
        using Process self = Process.GetCurrentProcess();
        Console.WriteLine(FormattableString.Invariant($"memory,torch,{layout},{name},{batch},{self.PeakWorkingSet64 / 1048576.0:F0}"));
    }

    private static double Step(ResNet model, optim.Optimizer sgd, Tensor images, Tensor labels)
    {
        using DisposeScope scope = NewDisposeScope();
        long start = Stopwatch.GetTimestamp();
        sgd.zero_grad();
        Tensor loss = nn.functional.cross_entropy(model.forward(images), labels);
        loss.backward();
        sgd.step();
        return Stopwatch.GetElapsedTime(start).TotalSeconds;
    }
}
