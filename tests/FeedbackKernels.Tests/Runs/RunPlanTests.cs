using FeedbackKernels.Cli;
using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Runs;
using FeedbackKernels.Tests.Cli;
using FeedbackKernels.Training;

namespace FeedbackKernels.Tests.Runs;

/// <summary>What a plan says about a run, against the run.</summary>
[Collection(nameof(CommandLineTests))]
public sealed class RunPlanTests : IDisposable
{
    private static readonly TimeSpan Short = TimeSpan.FromMilliseconds(1);

    private static readonly RunConfig Config = new()
    {
        Model = "mlp",
        Hidden = 16,
        Rule = new FeedbackKernels.Rules.KolenPollack(),
        Training = new TrainingOptions { Epochs = 5, Batch = 20, AlignEvery = 2 },
    };

    private readonly string _folder = Directory.CreateTempSubdirectory("feedback-plan").FullName;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void The_sizes_of_a_plan_are_those_of_the_run()
    {
        DataSet data = DataSet.Open("synthetic", 3, 210, 50);
        using var backend = new CpuBackend(1);
        RunPlan plan = RunPlan.Measure(Config, data, backend, Short, Cancel);
        string run = Path.Combine(_folder, "run");
        Experiment.Train(Config, data, backend, new RunPlace(run), cancel: Cancel);
        Assert.Equal(3072 * 16 + 16 + 16 * 10 + 10, plan.Parameters);
        Assert.Equal(2 * (3072 * 16 + 16 * 10), plan.ForwardFlops);
        // The first layer sends no error to the image.
        Assert.Equal(2 * (2 * 3072 * 16 + 3 * 16 * 10), plan.TrainingFlops);
        Assert.Equal((10, 50, 2), (plan.StepsPerEpoch, plan.TestImages, plan.Layers));
        // The files have headers; a checkpoint also has the history of the run.
        AssertFile(plan.ModelBytes, Path.Combine(run, "model.safetensors"));
        AssertFile(plan.StateBytes, Directory.GetFiles(Path.Combine(run, "checkpoints"), "*.safetensors").Order().Last());
        long size = Directory.GetFiles(run, "*", SearchOption.AllDirectories).Sum(file => new FileInfo(file).Length);
        Assert.InRange(plan.DiskBytes, size - 200_000, 3 * size);
        Assert.True(plan.StepBytes > 20 * 3072 * sizeof(float));
        Assert.True(plan.HostBytes > plan.StateBytes);
        Assert.All((double[])[plan.StartSeconds, plan.StepSeconds, plan.TestSeconds, plan.AlignSeconds], seconds => Assert.True(seconds > 0));
        // Before the first epoch, after the second and fourth, and at the end.
        Assert.Equal(File.ReadLines(Path.Combine(run, "alignment.csv")).Skip(1).Select(line => line.Split(',')[0]).Distinct().Count(), plan.Measurements);

        static void AssertFile(long bytes, string path) => Assert.InRange(new FileInfo(path).Length, bytes, bytes + 20_000);
    }

    [Fact]
    public void The_time_of_a_run_is_that_of_its_parts()
    {
        var plan = new RunPlan
        {
            Config = Config with { Training = Config.Training with { Epochs = 10, AlignEvery = 4, Batch = 100 } },
            Parameters = 1,
            Layers = 1,
            Images = new MapShape(128, 128, 3),
            ForwardFlops = 1,
            TrainingFlops = 3e6,
            StepBytes = 1,
            StateBytes = 1000,
            ModelBytes = 100,
            HostBytes = 1,
            StepsPerEpoch = 50,
            TestImages = 7,
            StartSeconds = 30,
            StepSeconds = 0.5,
            Waiting = default,
            FeedSeconds = 0.25,
            FeedThreads = 2,
            TestSeconds = 4,
            AlignSeconds = 3,
        };
        Assert.Equal(4, plan.Measurements);
        Assert.Equal(10 * 50 * 0.5, plan.TrainSeconds, 1e-9);
        Assert.Equal(30 + 250 + 10 * 4 + 4 * 3, plan.TotalSeconds, 1e-9);
        Assert.Equal(200, plan.ImagesPerSecond, 1e-9);
        Assert.False(plan.IsLimitedByFeed);
        // The feed needs longer for a batch than the steps that found prepared ones.
        RunPlan slow = plan with { FeedSeconds = 1, Waiting = new FeedWaiting(0, 0, 0, 0, EnoughThreads: 5) };
        Assert.True(slow.IsLimitedByFeed);
        Assert.Equal((500, 100), (slow.TrainSeconds, slow.ImagesPerSecond));
        Assert.True((plan with { Waiting = new FeedWaiting(0, 0.2, 0, 0) }).IsLimitedByFeed);
        // Four epochs of 64, six of 128 rows: a quarter of the area.
        ImageOptions sizes = new() { TrainSize = 64, ResizeSchedule = [new SizeChange(5, 128)] };
        RunPlan resized = plan with { Images = new MapShape(64, 64, 3), Config = plan.Config with { Training = plan.Config.Training with { Images = sizes } } };
        Assert.Equal(50 * 0.5 * (4 + 6 * 4), resized.TrainSeconds, 1e-9);
        // Three checkpoints, the best one, one that is being written, and the model twice.
        Assert.InRange(plan.DiskBytes, 5 * 1000 + 2 * 100, 5 * 1000 + 2 * 100 + 200_000);
        string[] lines = [.. PlanCommand.Lines(plan, free: 1 << 30)];
        Assert.StartsWith("step: 500.00 ms for 100 images: 200 images/s, 600.00 MFLOP a second; 0.0 % of the time waiting", lines[3]);
        Assert.Equal("run: 10 epochs 5.5 minutes, limited by the computation of the steps", lines[^1]);
        Assert.EndsWith("which is NOT ENOUGH", PlanCommand.Lines(plan, free: 5000).ElementAt(2));
        Assert.EndsWith("limited by the decoding of images: 2 threads prepare them, 5 on as many free cores would be enough (--data-threads)", PlanCommand.Lines(slow with { Waiting = new FeedWaiting(0, 0.5, 0, 0, 5) }, 1 << 30).Last());
    }

    [Fact]
    public void A_feed_that_is_slow_is_what_limits_the_run()
    {
        DataSet data = DataSet.Open("synthetic", 3, 400, 50);
        using var backend = new CpuBackend(1);
        var statistics = new PixelStatistics([0.5, 0.5, 0.5], [0.25, 0.25, 0.25]);
        RunPlan plan = RunPlan.Measure(Config, data with { Train = new Slow(data.Train, statistics) }, backend, Short, Cancel);
        Assert.True(plan.IsLimitedByFeed);
        Assert.True(plan.Waiting.Total > 0.5, $"{plan.Waiting.Total}");
        Assert.EndsWith("limited by the reading of images", PlanCommand.Lines(plan, 1 << 30).Last());
        Assert.True(plan.StepSeconds > 0.015, $"{plan.StepSeconds} s");
    }

    [Theory]
    [InlineData("--batch 64")]
    [InlineData("--batch 30 --accumulate 3")]
    [InlineData("--limit-train 16")]
    [InlineData("--rule wm --mirror-warm-up 2 --align-every 0")]
    public void The_command_prints_a_plan_and_writes_nothing(string arguments)
    {
        string here = Directory.GetCurrentDirectory();
        Directory.SetCurrentDirectory(_folder);
        try
        {
            string[] usual = ["--model lenet", "--limit-test 32", "--epochs 3", "--batch 16", "--limit-train 128", "--measure 0.01"];
            (int code, string output, string error) = FeedbackProgram.Run(
                ["plan", .. usual.Where(option => !arguments.Contains(option.Split(' ')[0], StringComparison.Ordinal)).SelectMany(option => option.Split(' ')), .. arguments.Split(' ')]);
            Assert.Equal((0, ""), (code, error));
            Assert.Equal(["backend", "model", "memory", "disk", "step", "epoch", "run"], output.TrimEnd('\n').Split('\n').Select(line => line.Split(' ')[0].TrimEnd(':')).Where(word => word != "no"));
            Assert.Contains("run: 3 epochs ", output);
            Assert.Equal(arguments.Contains("--align-every 0", StringComparison.Ordinal), !output.Contains("a measurement of the alignment", StringComparison.Ordinal));
            Assert.Empty(Directory.GetFileSystemEntries(_folder));
        }
        finally
        {
            Directory.SetCurrentDirectory(here);
        }
    }

    /// <summary>Images whose reading takes a millisecond each.</summary>
    private sealed class Slow(IImageSource images, PixelStatistics statistics) : IImageSource
    {
        public int Count => images.Count;

        public int Channels => images.Channels;

        public MapShape? Shape => images.Shape;

        public IReadOnlyList<string> ClassNames => images.ClassNames;

        public PixelStatistics? Statistics => statistics;

        public int Label(int index) => images.Label(index);

        public int Length(int index) => images.Length(index);

        public void Read(ReadOnlySpan<int> indices, Span<byte> destination)
        {
            Thread.Sleep(indices.Length);
            images.Read(indices, destination);
        }
    }
}
