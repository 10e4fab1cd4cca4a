using System.Diagnostics;
using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Models;
using FeedbackKernels.Rules;
using FeedbackKernels.Storage;
using FeedbackKernels.Tests.Cuda;
using FeedbackKernels.Tests.Models;
using FeedbackKernels.Training;

namespace FeedbackKernels.Tests.Training;

/// <summary>A run that is stopped, saved, and loaded in another process ends with the bits of one that was never stopped.</summary>
public sealed class ResumeTests : IDisposable
{
    private const string FolderVariable = "FEEDBACK_RESUME_FOLDER";
    private const int Epochs = 2, StepsPerEpoch = 5;

    private static readonly DataSet Data = DataSet.Open("synthetic", 3, StepsPerEpoch * 32 + 7, 32);

    private readonly string _folder = Directory.CreateTempSubdirectory("feedback-resume").FullName;

    // Every rule of the catalogue with its usual settings, and the forms that keep other state.
    private static IEnumerable<string> Rules => TrainerTests.Rules.Select(row => row.Data).Concat(["wm-partial", "wm-average", "wm-follow"]).Concat(RuleCatalog.All.Select(entry => entry.Name));

    // In the first epoch, at its end before the evaluation, and in the middle of the second.
    private static IEnumerable<int> Stops => [1, StepsPerEpoch, StepsPerEpoch + 3];

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void A_run_goes_on_in_another_process_as_if_it_had_never_stopped()
    {
        foreach (string rule in Rules)
        {
            Train(rule, "", Ended(rule), stopAfter: int.MaxValue);
            int stop = Stops.ElementAt(Math.Abs(rule.Length) % 3);
            Train(rule, "", Stopped(rule), stop);
            Assert.NotEqual(CheckpointContent.Of(Path.Combine(_folder, Ended(rule))), CheckpointContent.Of(Path.Combine(_folder, Stopped(rule))));
        }

        string program = Path.Combine(AppContext.BaseDirectory, "FeedbackKernels.Tests" + (OperatingSystem.IsWindows() ? ".exe" : ""));
        var start = new ProcessStartInfo(program, ["-method", $"{GetType().FullName}.{nameof(Runs_that_another_process_stopped)}", "-noColor"])
        {
            RedirectStandardOutput = true,
            Environment = { [FolderVariable] = _folder },
        };
        using Process child = Process.Start(start)!;
        string output = child.StandardOutput.ReadToEnd();
        child.WaitForExit();
        Assert.True(child.ExitCode == 0, output);
        foreach (string rule in Rules) AssertSameFile(rule, Path.Combine(_folder, Ended(rule)), Path.Combine(_folder, Resumed(rule)));
    }

    [Fact]
    public void Runs_that_another_process_stopped()
    {
        string? folder = Environment.GetEnvironmentVariable(FolderVariable);
        Assert.SkipWhen(folder is null, $"{FolderVariable} is set by the test that starts this one in a process of its own");
        // Another number of threads, which no bit depends on.
        foreach (string rule in Rules) Train(rule, Stopped(rule), Resumed(rule), int.MaxValue, folder, threads: 1);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(StepsPerEpoch)]
    [InlineData(StepsPerEpoch + 3)]
    [InlineData(2 * StepsPerEpoch)]
    public void A_run_goes_on_from_any_step(int stop)
    {
        foreach (string rule in (string[])["kp-closed", "wm-partial", "wm-average", "wm-follow"])
        {
            TrainingResult ended = Train(rule, "", Ended(rule), int.MaxValue);
            Train(rule, "", Stopped(rule), stop);
            TrainingResult resumed = Train(rule, Stopped(rule), Resumed(rule), int.MaxValue);
            AssertSameFile(rule, Path.Combine(_folder, Ended(rule)), Path.Combine(_folder, Resumed(rule)));
            // What is reported of an epoch includes the steps before the stop, and the epochs before are there; speed and time are those
            // of the process.
            Assert.Equal(ended.Epochs.Select(Untimed), resumed.Epochs.Select(Untimed));
            Assert.Equal(ended.Alignment, resumed.Alignment);
            Assert.NotEmpty(ended.Alignment);
        }

        static EpochReport Untimed(EpochReport report) => report with { ImagesPerSecond = 0, Seconds = 0, CheckpointSeconds = 0, WaitingRead = 0, WaitingDecode = 0, WaitingResize = 0, WaitingUpload = 0 };
    }

    [Theory]
    [InlineData("cpu")]
    [InlineData("cuda")]
    public void Saving_while_a_run_goes_on_changes_nothing_and_each_state_is_whole(string name)
    {
        if (name == "cuda") CudaUnderTest.Require();
        DataSet few = DataSet.Open("synthetic", 3, 3 * 8, 8);
        Run("never", from: "", saves: false);
        Run("always", from: "", saves: true);
        AssertSameFile("always", Path.Combine(_folder, "never"), Path.Combine(_folder, "always"));
        string[] states = [.. Directory.GetFiles(_folder).Where(file => Path.GetFileName(file).StartsWith("always.", StringComparison.Ordinal)).Order()];
        // After each of three steps of two epochs, and at the end of each epoch.
        Assert.Equal(2 * (3 + 1), states.Length);
        foreach (string state in states)
        {
            Run("resumed", Path.GetFileName(state), saves: false);
            AssertSameFile(state, Path.Combine(_folder, "never"), Path.Combine(_folder, "resumed"));
        }

        void Run(string to, string from, bool saves)
        {
            using Backend backend = name == "cpu" ? new CpuBackend(2) : CudaUnderTest.CreateBackend();
            using var model = new Model(backend, ModelCatalog.Create("lenet", Data.Train.RequireShape(), 10), RulesOf("wm-partial"), 8, seed: 4);
            using var trainer = new Trainer(model, few, Options() with { Batch = 8, Epochs = 2, AlignEvery = 1 / 3.0 });
            if (from.Length > 0) Checkpoint.Load(trainer, backend, Path.Combine(_folder, from));
            using var snapshot = new Snapshot(trainer, backend);
            trainer.Run(null, saves ? new SaveAlways(trainer, snapshot, Path.Combine(_folder, to)) : null, TestContext.Current.CancellationToken);
            Assert.True(trainer.IsBetweenSteps);
            Checkpoint.Save(trainer, backend, Path.Combine(_folder, to));
        }
    }

    [Fact]
    public void The_time_of_a_run_goes_on_with_it()
    {
        double before = Train("bp", "", Stopped("bp"), StepsPerEpoch).Seconds;
        TrainingResult resumed = Train("bp", Stopped("bp"), Resumed("bp"), int.MaxValue);
        Assert.True(before > 0);
        Assert.All(resumed.Epochs, epoch => Assert.True(epoch.Seconds > before));
    }

    [Theory]
    [InlineData("cuda, fp32")]
    [InlineData("cuda, bf16")]
    [InlineData("reference, bf16")]
    public void A_run_on_a_device_or_with_copies_of_the_weights_goes_on(string name)
    {
        if (name.StartsWith("cuda", StringComparison.Ordinal)) CudaUnderTest.Require();
        foreach (string rule in (string[])["kp", "wm-partial", "wm-average"])
        {
            Run("", "ended", int.MaxValue);
            Run("", "stopped", 2);
            Run("stopped", "resumed", int.MaxValue);
            AssertSameFile(rule, Path.Combine(_folder, "ended"), Path.Combine(_folder, "resumed"));

            void Run(string from, string to, int stopAfter)
            {
                using Backend backend = name switch
                {
                    "cuda, fp32" => CudaUnderTest.CreateBackend(),
                    "cuda, bf16" => CudaUnderTest.CreateBackend(precision: CudaPrecision.Bf16),
                    _ => new ReferenceBackend(ElementType.BFloat16),
                };
                using var model = new Model(backend, ModelCatalog.Create("lenet", Data.Train.RequireShape(), 10), RulesOf(rule), 8, seed: 4);
                DataSet few = DataSet.Open("synthetic", 3, 32, 8);
                Train(backend, model, few, Options() with { Batch = 8, Epochs = 1 }, from, to, stopAfter, _folder);
            }
        }
    }

    [Fact]
    public void A_checkpoint_of_another_state_is_refused_and_nothing_is_loaded()
    {
        Train("kp", "", "kp", 3);
        using var backend = new CpuBackend(1);
        using Model model = TrainerTests.NewModel(backend, "fa");
        using var trainer = new Trainer(model, Data, Options());
        float[] before = TestNets.Weights(model);
        Assert.Contains(
            "layer1.0.conv1.feedback.velocity", Assert.Throws<InvalidDataException>(() => Checkpoint.Load(trainer, backend, Path.Combine(_folder, "kp"))).Message);
        Assert.Equal(before, TestNets.Weights(model));

        using Model mirrored = TrainerTests.NewModel(backend, "wm");
        using var other = new Trainer(mirrored, Data, Options());
        Assert.Contains(
            "is missing", Assert.Throws<InvalidDataException>(() => Checkpoint.Load(other, backend, Path.Combine(_folder, "kp"))).Message);
        StoredModel.Save(model, Path.Combine(_folder, "model"));
        Assert.Contains(
            "feedback-kernels-checkpoint", Assert.Throws<InvalidDataException>(() => Checkpoint.Load(trainer, backend, Path.Combine(_folder, "model"))).Message);
    }

    [Fact]
    public void A_run_that_was_stopped_before_its_first_step_has_no_state()
    {
        using var backend = new CpuBackend(1);
        using Model model = TrainerTests.NewModel(backend, "wm");
        using var trainer = new Trainer(model, Data, Options());
        Assert.True(trainer.Run(cancel: new CancellationToken(canceled: true)).Cancelled);
        Assert.Contains("start it anew", Assert.Throws<InvalidOperationException>(() => Checkpoint.Save(trainer, backend, Path.Combine(_folder, "none"))).Message);
        Assert.Empty(Directory.GetFiles(_folder));
    }

    private static string Ended(string rule) => $"{rule}.ended";

    private static string Stopped(string rule) => $"{rule}.stopped";

    private static string Resumed(string rule) => $"{rule}.resumed";

    // Five samples a step: a run stops within a cycle.
    private static RuleSet RulesOf(string rule) => rule switch
    {
        "wm-partial" => RuleSet.Of(new WeightMirror(Samples: 5, WarmUpSteps: 3)),
        "wm-average" => RuleSet.Of(new WeightMirror(Samples: 5, WarmUpSteps: 3, Update: MirrorUpdate.Average)),
        "wm-follow" => RuleSet.Of(new WeightMirror(Samples: 5, WarmUpSteps: 3, Follow: true)),
        _ => RuleCatalog.All.FirstOrDefault(entry => entry.Name == rule) is { } known ? RuleSet.Of(known.Create()) : TrainerTests.RulesOf(rule),
    };

    private static TrainingOptions Options() => TrainerTests.Options(Epochs) with { AlignEvery = 0.4, ClipNorm = 5, Augmentation = Augmentation.CropFlip, WeightDecay = 0.01f };

    private TrainingResult Train(string rule, string from, string to, int stopAfter) => Train(rule, from, to, stopAfter, _folder, threads: 2);

    private static TrainingResult Train(string rule, string from, string to, int stopAfter, string folder, int threads)
    {
        using var backend = new CpuBackend(threads);
        using var model = new Model(backend, ModelCatalog.Create("resnet8", Data.Train.RequireShape(), 10), RulesOf(rule), 32, seed: 4);
        return Train(backend, model, Data, Options(), from, to, stopAfter, folder);
    }

    private static TrainingResult Train(Backend backend, Model model, DataSet data, TrainingOptions options, string from, string to, int stopAfter, string folder)
    {
        using var trainer = new Trainer(model, data, options);
        if (from.Length > 0) Checkpoint.Load(trainer, backend, Path.Combine(folder, from));
        using var stop = new CancellationTokenSource();
        TrainingResult result = trainer.Run(new StopAfter(stop, stopAfter), stop.Token);
        Assert.Equal(stopAfter < int.MaxValue, result.Cancelled);
        Checkpoint.Save(trainer, backend, Path.Combine(folder, to));
        return result;
    }

    private static void AssertSameFile(string what, string expected, string actual) =>
        Assert.True(CheckpointContent.Of(expected).SequenceEqual(CheckpointContent.Of(actual)), $"{what}: the run that went on has another state");

    private sealed class SaveAlways(Trainer trainer, Snapshot snapshot, string path) : ICheckpoints
    {
        private int _saved;

        public double SecondsWaited => 0;

        public bool IsDue(int step)
        {
            Assert.Equal(step, trainer.Step);
            return true;
        }

        public void Save(int step)
        {
            Assert.True(trainer.IsBetweenSteps);
            Assert.Equal(step, trainer.Step);
            snapshot.Take();
            snapshot.Write($"{path}.{_saved++}");
        }
    }

    private sealed class StopAfter(CancellationTokenSource stop, int steps) : ITrainingObserver
    {
        private int _steps;

        public void OnStep(in StepReport report)
        {
            if (++_steps == steps) stop.Cancel();
        }
    }
}
