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
        await RunInTwo(nameof(Rank_trains_under_every_rule));

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

    [Fact]
    [EmulatedOnly(Shim)]
    public async Task Norms_and_mirrors_of_two_devices_can_be_those_of_one()
    {
        await RunInTwo(nameof(Rank_shares_norms_and_mirrors));

        Assert.Equal(File.ReadAllText(ResultsOf(_folder, 0)), File.ReadAllText(ResultsOf(_folder, 1)));
    }

    /// <summary>One of the processes of the test above: what one device learns from a batch, two learn from its halves.</summary>
    [Fact]
    public void Rank_shares_norms_and_mirrors()
    {
        ChildProcess.Require();
        SharedStep.BucketElements = 300;
        using Communicator hosts = Launcher.Detect()!.Join();
        using StreamWriter lines = File.CreateText(ResultsOf(Environment.GetEnvironmentVariable(Results)!, hosts.Rank));
        // Of 7 images one rank has 3 and the other 4. The loss ends on the fourth step.
        TrainingOptions options = TrainerTests.Options(1) with { Batch = 7, Schedule = new LearningRateSchedule(ScheduleKind.Constant, 0.01f) };
        float[] start = Weights(null, new Backprop(), NormOrder.ConvBnRelu, options with { Schedule = new LearningRateSchedule(ScheduleKind.Constant, 1e-20f) });
        foreach (NormOrder order in Enum.GetValues<NormOrder>())
        {
            float[] one = Weights(null, new Backprop(), order, options), local = Weights(hosts, new Backprop(), order, options);
            float[] shared = Weights(hosts, new Backprop(), order, options with { SyncBatchNorm = true });
            double moved = Distance(one, start);
            Assert.True(Distance(shared, one) < 0.02 * Distance(local, one) && Distance(local, one) > 0.02 * moved, $"{order}: moved by {moved}, apart by {Distance(shared, one)}, with local norms by {Distance(local, one)}");
            lines.WriteLine(Hash(shared));
        }

        foreach (MirrorUpdate update in (MirrorUpdate[])[MirrorUpdate.Correct, MirrorUpdate.Average])
        {
            var rule = new WeightMirror(3, Update: update, WarmUpSteps: 0);
            TrainingOptions synchronised = options with { SyncBatchNorm = true };
            float[] one = Weights(null, rule with { Samples = 6 }, NormOrder.ConvBnRelu, options), apart = Weights(hosts, rule, NormOrder.ConvBnRelu, synchronised);
            float[] split = Weights(hosts, rule, NormOrder.ConvBnRelu, synchronised with { MirrorSplit = true });
            Assert.True(Distance(split, one) < 0.02 * Distance(apart, one), $"{update}: apart by {Distance(split, one)}, without division by {Distance(apart, one)}");
            lines.WriteLine(Hash(split));
        }
    }

    private static double Distance(float[] a, float[] b) => Math.Sqrt(a.Zip(b, (x, y) => Math.Pow((double)x - y, 2)).Sum());

    private static string Hash(float[] state) => Convert.ToHexString(SHA256.HashData(MemoryMarshal.AsBytes<float>(state)))[..16];

    /// <summary>What an epoch leaves, of one device or of those of all processes.</summary>
    private static float[] Weights(Communicator? hosts, FeedbackRule rule, NormOrder order, TrainingOptions options)
    {
        DataSet data = DataSet.Open("synthetic", 3, 32, 10);
        using EmulatedDriver.Setting deferred = EmulatedDriver.Change("deferred", 1, 0);
        using var backend = new CudaBackend(hosts?.LocalRank ?? 0, driver: EmulatedDriver.Path);
        using NcclCommunicator? group = hosts is null ? null : new NcclCommunicator(hosts, backend, library: EmulatedNccl.Path);
        using var model = new Model(
            backend, Net(data.Train) with { Order = order }, RuleSet.Of(rule), hosts is null ? options.Batch : 4, seed: 7, options.Batch, options.MirrorSplit ? group : null);
        using var trainer = new Trainer(model, data, options, group);
        trainer.Run(cancel: TestContext.Current.CancellationToken);
        return StateOf(model);
    }

    private static float[] StateOf(Model model) =>
        [.. model.TensorsAndFeedback().SelectMany(tensor => model.Backend.Download(tensor.Buffer))];

    private async Task RunInTwo(string test)
    {
        using RankProcesses ranks = RankProcesses.StartTest(2, typeof(NcclTrainingTests), test, (Results, _folder));
        foreach ((int code, string output, string error) in await ranks.End(TestContext.Current.CancellationToken))
        {
            Assert.True(code == 0, output + error);
            Assert.Contains("Failed: 0, Skipped: 0", output);
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
        float[] state = StateOf(model);
        Assert.All(state, value => Assert.True(float.IsFinite(value)));
        EpochReport report = result.Epochs.Single();
        // Four steps and two batches of the test would be six, if steps were not divided at their sums. Short parts are launched without a graph.
        if (graphs) Assert.True(backend.Launched.Graphs > 4 + 2, $"{backend.Launched}");
        return string.Create(CultureInfo.InvariantCulture, $"{Hash(state)}/{report.TrainLoss:R}/{report.TestLoss:R}/{report.TrainTop1:R}");
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
