using System.Diagnostics;
using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Runs;
using FeedbackKernels.Tests.Cli;
using FeedbackKernels.Tests.Cuda;
using FeedbackKernels.Training;

namespace FeedbackKernels.Tests.Runs.Checkpoints;

/// <summary>A process that gets too little memory for a step: it says how to go on and leaves everything as it was.</summary>
public sealed class OutOfMemoryTests : IDisposable
{
    // A step takes 139 MiB.
    private const string Large =
        "--rule weight-mirror --mirror-warm-up 4 --model resnet14 --limit-train 384 --limit-test 64 --batch 128 --epochs 2 --checkpoint-every 1 --threads 1 --align-every 0";

    private static readonly Dictionary<string, string> LittleMemory = new() { ["DOTNET_GCHeapHardLimit"] = $"{96 << 20:X}" };

    private readonly string _folder = Directory.CreateTempSubdirectory("feedback-memory").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public async Task A_run_that_cannot_start_writes_nothing_and_names_what_needs_less()
    {
        (int code, _, string error) = await End(FeedbackProgram.StartWith(LittleMemory, _folder, ["train", .. Large.Split(' '), "--out", "run"]));
        Assert.Equal(1, code);
        Assert.Contains("this machine has 96 MiB. A smaller --batch than 128 needs less, and so does --accumulate", error);
        Assert.False(Directory.Exists(Path.Combine(_folder, "run")));

        // The advice is good: the same batch in four parts fits.
        (code, _, error) = await End(FeedbackProgram.StartWith(
            LittleMemory, _folder, ["train", .. Large.Split(' '), "--out", "run", "--accumulate", "4"]));
        Assert.Equal((0, ""), (code, error));
    }

    [Fact]
    public async Task A_run_that_cannot_go_on_stays_as_it_is()
    {
        string undisturbed = Path.Combine(_folder, "undisturbed"), run = Path.Combine(_folder, "run");
        Assert.Equal((0, ""), await CodeAndError(FeedbackProgram.Start(_folder, ["train", .. Large.Split(' '), "--out", undisturbed])));
        Process process = FeedbackProgram.Start(_folder, ["train", .. Large.Split(' '), "--out", run]);
        while (new CheckpointFolder(run).All.Count < 2 && !process.HasExited) await Task.Delay(5, TestContext.Current.CancellationToken);
        process.Kill();
        await End(process);

        Dictionary<string, byte[]> before = Files(run);
        (int code, _, string error) = await End(FeedbackProgram.StartWith(LittleMemory, _folder, "resume", run));
        Assert.Equal(1, code);
        Assert.Matches($"this machine has 96 MiB\\. The run is saved up to step [0-9]+: `feedback resume {run}` goes on from there", error);
        Assert.Equal(before, Files(run));

        Assert.Equal((0, ""), await CodeAndError(FeedbackProgram.Start(_folder, "resume", run)));
        EqualRuns.Assert(undisturbed, run, "a run that once had too little memory");
    }

    [Fact]
    [EmulatedOnly("sets the memory of the device")]
    public void A_device_that_is_too_small_is_no_different()
    {
        using CudaBackend backend = CudaUnderTest.CreateBackend();
        DataSet data = DataSet.Open("synthetic", 1, limitTrain: 64, limitTest: 16);
        var config = new RunConfig { Model = "resnet8", Backend = "cuda", Training = new TrainingOptions { Epochs = 1, Batch = 64 } };
        using EmulatedDriver.Setting device = EmulatedDriver.With("memory-limit", 8 << 20, 16L << 30);
        var e = Assert.Throws<InsufficientMemoryException>(
            () => Experiment.Train(config, data, backend, new RunPlace(Path.Combine(_folder, "run")), cancel: TestContext.Current.CancellationToken));
        Assert.Contains("A smaller --batch than 64 needs less", e.Message);
        Assert.False(Directory.Exists(Path.Combine(_folder, "run")));
    }

    private static Dictionary<string, byte[]> Files(string folder) =>
        Directory.EnumerateFiles(folder, "*", SearchOption.AllDirectories).ToDictionary(file => file, File.ReadAllBytes);

    private static async Task<(int Code, string Error)> CodeAndError(Process process)
    {
        (int code, _, string error) = await End(process);
        return (code, error);
    }

    private static async Task<(int Code, string Output, string Error)> End(Process process)
    {
        using (process) return await FeedbackProgram.End(process, TestContext.Current.CancellationToken);
    }
}
