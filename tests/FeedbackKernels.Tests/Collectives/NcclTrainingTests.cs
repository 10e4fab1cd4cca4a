using System.Globalization;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;
using FeedbackKernels.Rules;
using FeedbackKernels.Tests.Cuda;
using FeedbackKernels.Tests.Training;
using FeedbackKernels.Training;

namespace FeedbackKernels.Tests.Collectives;

/// <summary>Two processes, each with an emulated device, train one model.</summary>
public sealed class NcclTrainingTests : IDisposable
{
    private const string Shim = "sums by the emulated NCCL, which takes buffers of the emulated driver";
    private const string Results = "FEEDBACK_TEST_RESULTS";

    private readonly string _folder = Directory.CreateTempSubdirectory("feedback-nccl").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    [EmulatedOnly(Shim)]
    public async Task Every_rule_ends_on_the_same_bits_in_both_ranks_and_whenever_the_device_works()
    {
        using RankProcesses ranks = RankProcesses.StartTest(2, typeof(NcclTrainingTests), nameof(Rank_trains_under_every_rule), (Results, _folder));
        foreach ((int code, string output, string error) in await ranks.End(TestContext.Current.CancellationToken))
        {
            Assert.True(code == 0, output + error);
            Assert.Contains("Failed: 0, Skipped: 0", output);
        }

        string[][] lines = [.. Enumerable.Range(0, 2).Select(rank => File.ReadAllLines(ResultsOf(_folder, rank)))];
        Assert.Equal(lines[0], lines[1]);
        Assert.Equal(RuleCatalog.All.Select(rule => rule.ShortName), lines[0].Select(line => line.Split(' ')[0]));
        // Rules differ, and so do their runs.
        Assert.Equal(lines[0].Length, lines[0].Select(line => line.Split(' ')[1]).Distinct().Count());
        foreach (string line in lines[0])
        {
            string[] runs = line.Split(' ')[1..];
            Assert.Equal(3, runs.Length);
            Assert.True(runs.Distinct().Count() == 1, line);
        }
    }

    /// <summary>One of the processes of the test above: each rule with graphs whose work runs as late as possible; with sums that run as early as
    /// possible; and kernel by kernel.</summary>
    [Fact]
    public void Rank_trains_under_every_rule()
    {
        ChildProcess.Require();
        // The net is small, and its step is to be divided several times.
        SharedStep.BucketElements = 300;
        using Communicator hosts = Launcher.Detect()!.Join();
        using StreamWriter lines = File.CreateText(ResultsOf(Environment.GetEnvironmentVariable(Results)!, hosts.Rank));
        foreach (RuleEntry rule in RuleCatalog.All)
        {
            string[] runs = [Train(rule, hosts, graphs: true, late: 1, early: false), Train(rule, hosts, graphs: true, late: 1, early: true), Train(rule, hosts, graphs: false, late: 0, early: false)];
            lines.WriteLine($"{rule.ShortName} {string.Join(' ', runs)}");
        }
    }

    private static string ResultsOf(string folder, int rank) => Path.Combine(folder, $"rank{rank}.txt");

    private static string Train(RuleEntry rule, Communicator hosts, bool graphs, long late, bool early)
    {
        DataSet data = DataSet.Open("synthetic", 3, 32, 10);
        // Of 7 images one rank has 3 and the other 4.
        TrainingOptions options = TrainerTests.Options(1) with { Batch = 7 };
        EmulatedNccl.RunEarly(early);
        using EmulatedDriver.Setting deferred = EmulatedDriver.Change("deferred", late, 0);
        using var backend = new CudaBackend(hosts.LocalRank, driver: EmulatedDriver.Path, graphs: graphs);
        using var group = new NcclCommunicator(hosts, backend, library: EmulatedNccl.Path);
        using var model = new Model(backend, Net(data.Train), RuleSet.Of(rule.Create()), 4, seed: 7, options.Batch);
        using var trainer = new Trainer(model, data, options, group);
        StateAgreement.Spread(group, trainer, backend);
        TrainingResult result = trainer.Run(cancel: TestContext.Current.CancellationToken);
        Assert.Equal(4, trainer.Step);
        IEnumerable<DeviceBuffer> own = model.Layers.Select(layer => layer.Feedback?.OwnWeights?.Value).OfType<DeviceBuffer>();
        float[] state = [.. model.Tensors().Select(tensor => tensor.Buffer).Concat(own).SelectMany(buffer => backend.Download(buffer))];
        Assert.All(state, value => Assert.True(float.IsFinite(value)));
        EpochReport report = result.Epochs.Single();
        // Four steps and two batches of the test would be six, if steps were not divided at their sums. Short parts are launched without a graph.
        if (graphs) Assert.True(backend.Launched.Graphs > 4 + 2, $"{backend.Launched}");
        return string.Create(CultureInfo.InvariantCulture, $"{Convert.ToHexString(SHA256.HashData(MemoryMarshal.AsBytes<float>(state)))[..16]}/{report.TrainLoss:R}/{report.TestLoss:R}/{report.TrainTop1:R}");
    }

    private static ModelSpec Net(IImageSource images) => new(
        "small", images.RequireShape(), images.Classes, LossKind.SoftmaxCrossEntropy, NormOrder.ConvBnRelu,
        [
            new ConvSpec("conv1", 6, 3, 2, 1, "bn1"),
            new ResidualSpec(
                "b",
                [new ConvSpec("b.conv1", 8, 3, 2, 1, "b.bn1"), new ConvSpec("b.conv2", 8, 3, 1, 1, "b.bn2")],
                new ConvSpec("b.downsample.0", 8, 1, 2, 0, "b.downsample.1", Activation.None)),
            new ConvSpec("conv2", 12, 3, 2, 1, "bn2"),
            new PoolSpec("avgpool", PoolKind.Average, 0),
            new LinearSpec("fc1", 20, Activation.Relu, WeightInit.Uniform),
            new LinearSpec("fc", images.Classes, Activation.None, WeightInit.Uniform),
        ]);
}
