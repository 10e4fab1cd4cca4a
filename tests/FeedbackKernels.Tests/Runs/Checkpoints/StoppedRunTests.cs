using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Models;
using FeedbackKernels.Rules;
using FeedbackKernels.Runs;
using FeedbackKernels.Storage;
using FeedbackKernels.Training;

namespace FeedbackKernels.Tests.Runs.Checkpoints;

/// <summary>What goes wrong while a run trains: what was saved stays whole, and the error says how to go on.</summary>
public sealed class StoppedRunTests : IDisposable
{
    private static readonly RunConfig Config = new()
    {
        Model = "lenet",
        Rule = new WeightMirror(WarmUpSteps: 2),
        Threads = 1,
        CheckpointEvery = CheckpointInterval.TryParse("3")!,
        Training = new TrainingOptions { Batch = 16, Epochs = 3, Schedule = new LearningRateSchedule(ScheduleKind.Constant, 0.01f) },
    };

    // Four steps of an epoch.
    private static readonly DataSet Data = DataSet.Open("synthetic", 1, 70, 16);

    private readonly CpuBackend _backend = new(1);
    private readonly string _folder = Directory.CreateTempSubdirectory("feedback-stopped").FullName;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private string Run => Path.Combine(_folder, "run");

    public void Dispose()
    {
        _backend.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    [Theory]
    [InlineData(0, 0)]
    [InlineData(1, 1)]
    [InlineData(6, 6)]
    [InlineData(11, 11)]
    public void A_data_file_that_vanishes_stops_the_run_after_the_last_whole_step(int reads, int steps)
    {
        Experiment.Train(Config, Data, _backend, new RunPlace(Path.Combine(_folder, "ended")), cancel: Cancel);
        var e = Assert.Throws<StoppedRunException>(() => Experiment.Train(Config, Data with { Train = new Vanishing(Data.Train, reads) }, _backend, new RunPlace(Run), cancel: Cancel));
        Assert.IsType<FileNotFoundException>(e.InnerException);
        Assert.Equal($"images.bin is not there. The run is saved up to step {steps}: `feedback resume {Run}` goes on from there", e.Message);
        using (StoppedRun stopped = StoppedRun.Open(Run))
        {
            Assert.Null(stopped.End);
            Experiment.Resume(stopped, stopped.Config, Data, _backend, cancel: Cancel);
        }

        EqualRuns.Assert(Path.Combine(_folder, "ended"), Run, "vanished");
    }

    [Fact]
    public void A_run_without_checkpoints_fails_with_the_error_itself() => Assert.Throws<FileNotFoundException>(() => Experiment.Train(
        Config with { CheckpointEvery = CheckpointInterval.Off }, Data with { Train = new Vanishing(Data.Train, 2) }, _backend, new RunPlace(Run), cancel: Cancel));

    [Fact]
    public void A_disk_that_is_full_for_a_while_costs_the_checkpoints_of_that_while()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "/dev/full stands for the full disk");
        Directory.CreateDirectory(Path.Combine(Run, CheckpointFolder.Name));
        var files = new CheckpointFolder(Run);
        using var model = new Model(_backend, Config.Describe(Data.Train.RequireShape(), 10), Config.Rules, 16, seed: 1);
        using var trainer = new Trainer(model, Data, Config.Training);
        using var snapshot = new Snapshot(trainer, _backend);
        var warnings = new Warnings();
        using var writer = new CheckpointWriter(trainer, snapshot, _backend, files, Config, newest: null, warnings);
        // Steps 6 and 8, the latter at the end of the second epoch.
        foreach (long step in (long[])[6, 8]) File.CreateSymbolicLink(files.FileOf(step) + ".partial", "/dev/full");
        Assert.False(trainer.Run(null, writer, TestContext.Current.CancellationToken).Cancelled);
        writer.End();
        Assert.Equal(2, warnings.Texts.Count);
        Assert.StartsWith("the checkpoint of step 6 could not be written, that of step 4 stays: No space left on device", warnings.Texts[0]);
        Assert.StartsWith("the checkpoint of step 8 could not be written, that of step 4 stays: No space left on device", warnings.Texts[1]);
        Assert.EndsWith("The run goes on and tries again at the next checkpoint", warnings.Texts[1]);
        Assert.Equal(12, writer.Newest);
        Assert.Equal(12, files.FindNewest([])!.Step);

        // At the end of the run it is an error.
        File.Delete(files.FileOf(12));
        File.CreateSymbolicLink(files.FileOf(13) + ".partial", "/dev/full");
        writer.SaveNow(13);
        Assert.Contains("the checkpoint of step 13 could not be written", Assert.Throws<IOException>(writer.End).Message);
    }

    [Theory]
    [InlineData("report.html")]
    [InlineData("checkpoints/step-0000012.safetensors")]
    public void A_run_has_finished_when_all_of_it_is_written(string file)
    {
        Experiment.Train(Config, Data, _backend, new RunPlace(Path.Combine(_folder, "ended")), cancel: Cancel);
        string partial = Path.Combine(Run, file + ".partial");
        var inTheWay = new AfterEpoch(3, () => Directory.CreateDirectory(partial));
        Assert.Throws<StoppedRunException>(() => Experiment.Train(Config, Data, _backend, new RunPlace(Run), inTheWay, cancel: Cancel));
        Assert.False(File.Exists(Path.Combine(Run, RunFiles.Summary)));

        Directory.Delete(partial);
        using (StoppedRun stopped = StoppedRun.Open(Run))
        {
            Assert.Null(stopped.End);
            Experiment.Resume(stopped, Config, Data, _backend, cancel: Cancel);
        }

        EqualRuns.Assert(Path.Combine(_folder, "ended"), Run, file);
    }

    [Fact]
    public void A_state_that_is_not_finite_does_not_take_the_place_of_a_good_one()
    {
        var files = new CheckpointFolder(Run);
        using var model = new Model(_backend, Config.Describe(Data.Train.RequireShape(), 10), Config.Rules, 16, seed: 1);
        using var trainer = new Trainer(model, Data, Config.Training);
        using var snapshot = new Snapshot(trainer, _backend);
        using var writer = new CheckpointWriter(trainer, snapshot, _backend, files, Config, newest: null, new Warnings());
        writer.SaveNow(1);
        float[] weights = _backend.Download(model.Layers[1].Weight.Value);
        weights[3] = float.PositiveInfinity;
        _backend.Upload<float>(weights, model.Layers[1].Weight.Value);
        writer.SaveNow(2);
        writer.End();
        Assert.Equal(1, Assert.Single(files.All).Step);
        Assert.Equal(1, writer.Newest);
    }

    /// <summary>An error that comes while a checkpoint is being written says up to where the run is saved.</summary>
    [Fact]
    public void The_newest_checkpoint_is_known_when_it_is_written()
    {
        using var model = new Model(_backend, Config.Describe(Data.Train.RequireShape(), 10), Config.Rules, 16, seed: 1);
        using var trainer = new Trainer(model, Data, Config.Training);
        using var snapshot = new Snapshot(trainer, _backend);
        using var writer = new CheckpointWriter(trainer, snapshot, _backend, new CheckpointFolder(Run), Config, newest: null, new Warnings());
        for (int step = 1; step <= 5; step++)
        {
            writer.Save(step);
            Assert.Equal(step, writer.Newest);
        }
    }

    [Fact]
    public void The_best_epoch_is_kept()
    {
        Experiment.Train(Config with { KeepCheckpoints = 1, Training = Config.Training with { Epochs = 6 } }, Data, _backend, new RunPlace(Run), cancel: Cancel);
        TrainingResult result = LoadedResult();
        long best = result.Epochs.MaxBy(epoch => epoch.TestTop1)!.Step;
        Assert.Equal(new long[] { best, 24 }.Distinct().Order(), new CheckpointFolder(Run).All.Select(c => c.Step));
    }

    private TrainingResult LoadedResult()
    {
        using var model = new Model(_backend, Config.Describe(Data.Train.RequireShape(), 10), Config.Rules, 16, seed: 1);
        using var trainer = new Trainer(model, Data, Config.Training with { Epochs = 6 });
        Checkpoint.Load(trainer, _backend, new CheckpointFolder(Run).All[^1].Path);
        Assert.Equal(6, trainer.Measured.Epochs.Count);
        return trainer.Measured;
    }

    private sealed class Warnings : ITrainingObserver
    {
        public List<string> Texts { get; } = [];

        public void OnWarning(string text) => Texts.Add(text);
    }

    private sealed class AfterEpoch(int epoch, Action action) : ITrainingObserver
    {
        public void OnEpoch(EpochReport report)
        {
            if (report.Epoch == epoch) action();
        }
    }

    /// <summary>Images whose file vanishes after some batches.</summary>
    private sealed class Vanishing(IImageSource images, int reads) : IImageSource
    {
        private int _reads;

        public int Count => images.Count;

        public int Channels => images.Channels;

        public MapShape? Shape => images.Shape;

        public IReadOnlyList<string> ClassNames => images.ClassNames;

        public PixelStatistics? Statistics => images.Statistics;

        public int Label(int index) => images.Label(index);

        public int Length(int index) => images.Length(index);

        public void Read(ReadOnlySpan<int> indices, Span<byte> destination)
        {
            // What the statistics of the pixels read comes before the run, image by image or all at once.
            if (indices.Length == 16 && _reads++ >= reads) throw new FileNotFoundException("images.bin is not there");
            images.Read(indices, destination);
        }
    }
}
