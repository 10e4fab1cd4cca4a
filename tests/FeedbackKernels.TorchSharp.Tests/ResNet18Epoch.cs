using System.Diagnostics;
using System.Globalization;
using FeedbackKernels.Rules;
using TorchSharp;
using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace FeedbackKernels.TorchSharp.Tests;

/// <summary>
/// An epoch of 10,000 images of CIFAR-10 through torchvision's ResNet-18: TorchSharp's own backprop, and the same model converted with one
/// call. The nets train in turn, batch by batch, so that their times can be compared. Runs on request only (see tests/README.md).
/// </summary>
public sealed class ResNet18Epoch
{
    private const int Batch = 50, TestImages = 2000;

    // FEEDBACK_RESNET_IMAGES shortens the run.
    private static readonly int TrainImages = int.Parse(Environment.GetEnvironmentVariable("FEEDBACK_RESNET_IMAGES") ?? "10000", CultureInfo.InvariantCulture);

    [Fact(Explicit = true)]
    public void Rules_beside_the_backprop_of_TorchSharp()
    {
        string? data = Environment.GetEnvironmentVariable("FEEDBACK_DATA");
        Assert.SkipWhen(data is null, "FEEDBACK_DATA is not set");
        (Tensor images, Tensor labels) = Read(Path.Combine(data, "cifar-10-batches-bin", "data_batch_1.bin"), TrainImages);
        (Tensor testImages, Tensor testLabels) = Read(Path.Combine(data, "cifar-10-batches-bin", "test_batch.bin"), TestImages);
        Contestant[] nets =
        [
            new("TorchSharp, NCHW", null, channelsLast: false), new("TorchSharp, channels_last", null, channelsLast: true),
            new("backprop, channels_last", new Backprop(), channelsLast: true), new("weight-mirror, NCHW", new WeightMirror(), channelsLast: false),
            new("weight-mirror, channels_last", new WeightMirror(), channelsLast: true), new("kolen-pollack, channels_last", new KolenPollack(), channelsLast: true),
        ];
        long[] order = randperm(images.shape[0]).data<long>().ToArray();
        for (int first = 0; first < order.Length; first += Batch)
        {
            using IDisposable scope = NewDisposeScope();
            Tensor index = tensor(order[first..(first + Batch)]), x = images[index], y = labels[index];
            // One after the other, each first in its turn.
            for (int i = 0; i < nets.Length; i++) nets[(i + first / Batch) % nets.Length].Step(x, y);
            if (first % 2000 == 0) Print($"{first} of {order.Length} images");
        }

        foreach (Contestant net in nets)
        {
            Print($"{net.Name}: {net.SecondsBefore:F1} s before training, {net.Seconds:F1} s of training, mean loss of the last 1000 images {net.Losses.TakeLast(1000 / Batch).Average():F3}, test accuracy {net.Accuracy(testImages, testLabels):P1}");
            if (net.Angles() is { Length: > 0 } angles) Print($"  angles of B and W: {angles}");
            net.Dispose();
        }
    }

    private static void Print(string line) => TestContext.Current.TestOutputHelper!.WriteLine(line);

    /// <summary>A file of CIFAR-10: for each image a label and 3072 bytes, NCHW.</summary>
    private static (Tensor Images, Tensor Labels) Read(string file, int count)
    {
        const int length = 3072;
        byte[] bytes = File.ReadAllBytes(file);
        Tensor records = tensor(bytes, dtype: ScalarType.Byte).view(-1, 1 + length).slice(0, 0, count, 1);
        Tensor images = records.slice(1, 1, 1 + length, 1).to(ScalarType.Float32).view(-1, 3, 32, 32).sub(120).div(64);
        return (images, records.select(1, 0).to(ScalarType.Int64));
    }

    private sealed class Contestant : IDisposable
    {
        private readonly Module<Tensor, Tensor> _net;
        private readonly optim.Optimizer _optimiser;
        private readonly FeedbackRule? _rule;
        private readonly bool _channelsLast;
        private readonly Stopwatch _watch = new();

        public Contestant(string name, FeedbackRule? rule, bool channelsLast)
        {
            (Name, _rule, _channelsLast) = (name, rule, channelsLast);
            manual_seed(1);
            _net = torchvision.models.resnet18(num_classes: 10);
            if (rule is not null) _net.WithFeedback(rule, seed: 1, except: "conv1");
            _watch.Start();
            _net.BeforeTraining();
            SecondsBefore = _watch.Elapsed.TotalSeconds;
            _watch.Reset();
            _optimiser = optim.SGD(_net.parameters(), 0.02, momentum: 0.9);
            if (rule is KolenPollack) _optimiser = new KolenPollackOptimizer(_optimiser, _net, weightDecay: 1e-3);
        }

        public string Name { get; }

        public List<float> Losses { get; } = [];

        /// <summary>Time of the rule's work before the first step.</summary>
        public double SecondsBefore { get; }

        /// <summary>Time of all steps.</summary>
        public double Seconds => _watch.Elapsed.TotalSeconds;

        public void Dispose()
        {
            _optimiser.Dispose();
            _net.Dispose();
        }

        public void Step(Tensor x, Tensor y)
        {
            using IDisposable scope = NewDisposeScope();
            Tensor input = Format(x);
            _watch.Start();
            _optimiser.zero_grad();
            Tensor loss = functional.cross_entropy(_net.call(input), y);
            loss.backward();
            _optimiser.step();
            if (_rule is WeightMirror) _net.MirrorStep();
            _watch.Stop();
            Losses.Add(loss.item<float>());
        }

        public double Accuracy(Tensor images, Tensor labels)
        {
            using IDisposable scope = NewDisposeScope(), noGradients = no_grad();
            _net.eval();
            long right = 0;
            for (int first = 0; first < TestImages; first += 500)
                right += _net.call(Format(images.slice(0, first, first + 500, 1))).argmax(1).eq(labels.slice(0, first, first + 500, 1)).sum().item<long>();
            return (double)right / TestImages;
        }

        public string Angles() => string.Join(", ", _net.Align().Select(named => $"{named.Name} {named.Alignment.AngleDegrees:F1}"));

        private Tensor Format(Tensor x) => _channelsLast ? x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2) : x;
    }
}
