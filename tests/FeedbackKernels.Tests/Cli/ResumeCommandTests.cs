using System.Diagnostics;
using System.Globalization;
using FeedbackKernels.Runs;
using FeedbackKernels.Tests.Runs.Checkpoints;

namespace FeedbackKernels.Tests.Cli;

/// <summary><c>feedback resume</c> and the options for checkpoints: what a user sees of a run that was stopped.</summary>
[Collection(nameof(CommandLineTests))]
public sealed class ResumeCommandTests : IDisposable
{
    // Four steps of an epoch.
    private const string Small =
        "--model lenet --limit-train 64 --limit-test 16 --batch 16 --rule kp --kp-early-steps 2 --threads 1 --schedule constant --lr 0.02";

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(120);

    private readonly string _folder = Directory.CreateTempSubdirectory("feedback-resume-command").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void A_finished_run_says_so()
    {
        Train("run", "--epochs 1");
        string[] files = Files("run");
        (int code, string output, string error) = FeedbackProgram.Run("resume", Path("run"));
        Assert.Equal((0, ""), (code, error));
        Assert.Contains("has finished: 1 epoch. ", output);
        Assert.Equal(files, Files("run"));
    }

    [Theory]
    [InlineData("--schedule constant --warm-up 1")]
    [InlineData("--schedule multi-step --milestones 2")]
    public void More_epochs_end_as_if_they_had_been_asked_for_at_once(string schedule)
    {
        Train("five", $"--epochs 5 --align-every 2 {schedule}");
        Train("three", $"--epochs 3 --align-every 2 {schedule}");
        Assert.Equal((0, ""), Resume("three", "--epochs 5"));
        EqualRuns.Assert(Path("five"), Path("three"), schedule);
        Assert.Equal(0, FeedbackProgram.Run("evaluate", Path("three")).Code);
    }

    [Theory]
    [InlineData("--schedule cosine", "the schedule cosine depends on the number of epochs: step 8 of the 8 steps done had learning rate")]
    [InlineData("--schedule one-cycle", "the schedule one-cycle depends on the number of epochs")]
    [InlineData("--schedule multi-step", "the schedule multi-step depends on the number of epochs")]
    public void More_epochs_are_refused_where_the_steps_done_would_have_had_another_rate(string schedule, string reason)
    {
        Train("run", $"--epochs 2 {schedule}");
        string[] files = Files("run");
        string config = File.ReadAllText(Path("run/config.json"));
        (int code, string error) = Resume("run", "--epochs 4");
        Assert.Equal(1, code);
        Assert.Contains(reason, error);
        Assert.Equal(files, Files("run"));
        Assert.Equal(config, File.ReadAllText(Path("run/config.json")));
        // It can still be told that it has finished.
        Assert.Equal((0, ""), Resume("run", ""));
    }

    [Fact]
    public void Fewer_epochs_than_have_begun_are_refused()
    {
        Train("run", "--epochs 2");
        (int code, string error) = Resume("run", "--epochs 1");
        Assert.Equal(1, code);
        Assert.Contains("1, but the run is in epoch 2", error);
    }

    [Fact]
    public void Of_a_damaged_checkpoint_the_former_is_taken_and_said()
    {
        Train("ended", "--epochs 2");
        Train("run", "--epochs 2 --checkpoint-every 3");
        // As if the run had been killed before its end: the end of epoch 2 is damaged.
        File.Delete(Path("run/summary.json"));
        Assert.Equal(["step-0000004", "step-0000006", "step-0000008"], Checkpoints("run"));
        string newest = Path("run/checkpoints/step-0000008.safetensors");
        File.WriteAllBytes(newest, File.ReadAllBytes(newest)[..1000]);
        (int code, string error) = Resume("run", "");
        Assert.Equal(0, code);
        Assert.Contains($"{newest}: damaged", error);
        Assert.Contains("The checkpoint before it is taken, of step 6", error);
        EqualRuns.Assert(Path("ended"), Path("run"), "damaged");
        Assert.True(File.Exists(newest + ".damaged"));
    }

    [Fact]
    public void If_no_checkpoint_is_whole_nothing_is_written()
    {
        Train("run", "--epochs 1");
        File.Delete(Path("run/summary.json"));
        File.WriteAllText(Path("run/checkpoints/step-0000004.safetensors"), "torn");
        string[] files = Files("run");
        (int code, string error) = Resume("run", "");
        Assert.Equal(1, code);
        Assert.Contains("none of the 1 checkpoints", error);
        Assert.Equal(files, Files("run"));
    }

    [Fact]
    public void A_folder_that_another_process_trains_in_is_refused()
    {
        Train("run", "--epochs 1");
        using (ClaimedFolder.Take(Path("run")))
        {
            foreach (string[] command in (string[][])[["resume", Path("run")], ["train", .. Small.Split(' '), "--epochs", "1", "--out", Path("run"), "--resume-if-there"]])
            {
                (int code, _, string error) = FeedbackProgram.Run(command);
                Assert.Equal(1, code);
                Assert.Contains("is in use: another run writes to it", error);
            }
        }
    }

    [Fact]
    public void A_folder_without_a_run_is_refused_and_stays_as_it_is()
    {
        Directory.CreateDirectory(Path("empty"));
        (int code, string error) = Resume("empty", "");
        Assert.Equal(1, code);
        Assert.Contains("config.json' does not exist", error);
        Assert.Empty(Directory.GetFiles(Path("empty")));
        Assert.Contains("does not exist", Resume("nowhere", "").Error);
        Assert.False(Directory.Exists(Path("nowhere")));
    }

    [Fact]
    public void A_run_that_diverged_is_not_gone_on_with()
    {
        Assert.Equal(3, FeedbackProgram.Run(["train", .. Small.Replace("0.02", "1e30", StringComparison.Ordinal).Split(' '), "--epochs", "2", "--out", Path("run")]).Code);
        (int code, string error) = Resume("run", "");
        Assert.Equal(3, code);
        Assert.Contains("diverged at step", error);
    }

    [Fact]
    public void A_run_without_a_checkpoint_starts_from_the_beginning()
    {
        Train("ended", "--epochs 1");
        Train("run", "--epochs 1 --checkpoint-every off");
        Assert.False(Directory.Exists(Path("run/checkpoints")));
        File.Delete(Path("run/summary.json"));
        (int code, string error) = Resume("run", "--checkpoint-every 5m");
        Assert.Equal(0, code);
        Assert.Contains("stopped before its first checkpoint; it starts from the beginning", error);
        EqualRuns.Assert(Path("ended"), Path("run"), "from the beginning");
    }

    [Fact]
    public void Resume_if_there_starts_then_goes_on_then_says_that_it_is_finished()
    {
        Train("ended", "--epochs 3");
        string[] command = ["train", .. Small.Split(' '), "--epochs", "3", "--checkpoint-every", "1", "--out", Path("run"), "--resume-if-there"];
        Assert.Equal((0, ""), Without(FeedbackProgram.Run(command)));
        EqualRuns.Assert(Path("ended"), Path("run"), "started");
        // As after a kill.
        File.Delete(Path("run/summary.json"));
        File.Delete(Path("run/checkpoints/step-0000012.safetensors"));
        string[] metrics = File.ReadAllLines(Path("run/metrics.csv"));
        Assert.Equal((0, ""), Without(FeedbackProgram.Run(command)));
        EqualRuns.Assert(Path("ended"), Path("run"), "gone on");
        // Two epochs are those of the first process, times included.
        Assert.Equal(metrics[..3], File.ReadAllLines(Path("run/metrics.csv"))[..3]);
        (int code, string output, string error) = FeedbackProgram.Run(command);
        Assert.Equal((0, ""), (code, error));
        Assert.Contains("has finished", output);
    }

    [Fact]
    public void Resume_if_there_refuses_another_configuration_and_names_it()
    {
        Train("run", "--epochs 1");
        (int code, _, string error) = FeedbackProgram.Run(
            ["train", .. Small.Split(' '), "--epochs", "1", "--momentum", "0.5", "--seed", "3", "--out", Path("run"), "--resume-if-there"]);
        Assert.Equal(1, code);
        Assert.Contains("holds a run of another configuration: ", error);
        Assert.Contains("training.momentum 0.5 instead of 0.9", error);
        Assert.Contains("training.seed 3 instead of 1", error);
        // What the results do not depend on may differ.
        Assert.Equal(0, FeedbackProgram.Run(
            ["train", .. Small.Replace("--threads 1", "--threads 2", StringComparison.Ordinal).Split(' '), "--epochs", "1", "--keep-checkpoints", "1", "--out", Path("run"), "--resume-if-there"]).Code);
        (code, _, error) = FeedbackProgram.Run(["train", .. Small.Split(' '), "--resume-if-there"]);
        Assert.Equal(2, code);
        Assert.Contains("it needs --out", error);
    }

    [Theory]
    [InlineData("--epochs 3 --checkpoint-every 2", "step-0000008 step-0000010 step-0000012")]
    [InlineData("--epochs 3 --checkpoint-every 2 --keep-checkpoints 5", "step-0000004 step-0000006 step-0000008 step-0000010 step-0000012")]
    [InlineData("--epochs 2 --checkpoint-every 1h", "step-0000004 step-0000008")]
    [InlineData("--epochs 3 --checkpoint-every 3 --keep-checkpoints 1", "step-0000012")]
    public void Checkpoints_are_written_at_their_steps_and_at_the_end_of_each_epoch(string options, string files)
    {
        // At a learning rate of 0 the first epoch remains the best.
        Train("run", options + " --lr 0");
        Assert.Equal(files.Split(' ').Union(["step-0000004"]).Order(), Checkpoints("run"));
    }

    [Fact]
    public void The_time_that_steps_wait_is_in_the_table()
    {
        Train("run", "--epochs 2 --checkpoint-every 1");
        Train("off", "--epochs 2 --checkpoint-every off");
        Assert.All(Waits("run"), wait => Assert.True(wait > 0));
        Assert.All(Waits("off"), wait => Assert.Equal(0, wait));

        IEnumerable<double> Waits(string run)
        {
            string[][] lines = [.. File.ReadAllLines(Path($"{run}/metrics.csv")).Select(line => line.Split(','))];
            Assert.Equal("checkpointSeconds", lines[0][^1]);
            return lines.Skip(1).Select(line => double.Parse(line[^1], CultureInfo.InvariantCulture));
        }
    }

    [Theory]
    [InlineData("--threads 3", "3 threads")]
    [InlineData("--data mnist:{copy}", "copy")]
    [InlineData("--checkpoint-every 3", "step-0000005 step-0000006 step-0000008")]
    [InlineData("--keep-checkpoints 2", "step-0000004 step-0000007 step-0000008")]
    public void An_option_of_resume_changes_the_run_that_goes_on(string option, string shows)
    {
        SmallDigits.Write(Path("digits"));
        SmallDigits.Write(Path("copy"));
        Train("run", $"--data mnist:{Path("digits")} --epochs 2 --checkpoint-every 1 --keep-checkpoints 6 --lr 0");
        File.Delete(Path("run/summary.json"));
        foreach (string step in (string[])["6", "7", "8"]) File.Delete(Path($"run/checkpoints/step-000000{step}.safetensors"));
        (int code, string error) = Resume("run", option.Replace("{copy}", Path("copy"), StringComparison.Ordinal));
        Assert.Equal((0, ""), (code, error));
        string state = $"{File.ReadAllText(Path("run/summary.json"))} {string.Join(' ', Checkpoints("run"))}";
        Assert.Contains(shows, state);
        string config = File.ReadAllText(Path("run/config.json"));
        Assert.Contains(option.Split(' ')[1].Replace("{copy}", Path("copy"), StringComparison.Ordinal), config);
    }

    [Theory]
    [InlineData("INT", 130)]
    [InlineData("TERM", 143)]
    public async Task A_signal_saves_the_state_after_the_step_and_says_how_to_go_on(string signal, int code)
    {
        const string options = "--epochs 40 --limit-train 512 --align-every 0";
        Train("ended", options);
        using Process run = FeedbackProgram.Start(_folder, ["train", .. Merge(Small, options), "--out", Path("run")]);
        await WaitFor(Path("run/metrics.csv"));
        using (Process kill = Process.Start("/bin/kill", [$"-{signal}", run.Id.ToString(CultureInfo.InvariantCulture)])) await kill.WaitForExitAsync(TestContext.Current.CancellationToken);
        (int found, string output, string error) = await FeedbackProgram.End(run, TestContext.Current.CancellationToken);
        Assert.Equal((code, ""), (found, error));
        string last = Checkpoints("run").Last();
        Assert.Contains($"stopped after step {int.Parse(last[5..], CultureInfo.InvariantCulture)}; `feedback resume {Path("run")}` goes on from there", output);
        Assert.Equal((0, ""), Resume("run", ""));
        EqualRuns.Assert(Path("ended"), Path("run"), signal);
    }

    [Fact]
    public async Task A_full_disk_does_not_end_the_run_at_once_and_what_was_saved_stays()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "a limit on the size of files stands for the full disk");
        Train("ended", "--epochs 4");
        Train("run", "--epochs 4 --checkpoint-every 4 --keep-checkpoints 9");
        // As if the run had been killed in the second epoch.
        File.Delete(Path("run/summary.json"));
        foreach (string step in (string[])["08", "12", "16"]) File.Delete(Path($"run/checkpoints/step-00000{step}.safetensors"));
        // A checkpoint has W, B and both velocities: more than the limit, which a model with W and B is below.
        long model = new FileInfo(Path("run/model.safetensors")).Length, checkpoint = new FileInfo(Path("run/checkpoints/step-0000004.safetensors")).Length;
        Assert.True(checkpoint > 1.5 * model);
        (int code, _, string error) = await Limited((model + checkpoint) / 2, "resume", Path("run"), "--checkpoint-every", "2");
        Assert.Equal(1, code);
        Assert.Contains("the checkpoint of step 6 could not be written, that of step 4 stays", error);
        Assert.Contains("The run goes on and tries again at the next checkpoint", error);
        Assert.Contains("the checkpoint of step 16 could not be written, that of step 4 stays", error);
        Assert.Contains($"The run is saved up to step 4: `feedback resume {Path("run")}` goes on from there", error);
        Assert.Equal(["step-0000004"], Checkpoints("run"));
        // The run itself came to its end.
        Assert.Equal(5, File.ReadAllLines(Path("run/metrics.csv")).Length);
        File.Delete(Path("run/summary.json"));
        Assert.Equal((0, ""), Resume("run", ""));
        EqualRuns.Assert(Path("ended"), Path("run"), "full disk");
    }

    private static async Task<(int Code, string Output, string Error)> Limited(long bytes, params string[] arguments)
    {
        // A block of `ulimit -f` has 1024 bytes. With the signal ignored, a write beyond the limit fails as one to a full disk does.
        var start = new ProcessStartInfo(
            "/bin/bash", ["-c", $"trap '' XFSZ; ulimit -f {bytes / 1024}; exec \"$0\" \"$@\"", System.IO.Path.Combine(AppContext.BaseDirectory, "feedback"), .. arguments])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            // The runtime would map its code through a large file.
            Environment = { ["DOTNET_EnableWriteXorExecute"] = "0" },
        };
        using Process process = Process.Start(start)!;
        return await FeedbackProgram.End(process, TestContext.Current.CancellationToken);
    }

    private static (int Code, string Error) Without((int Code, string Output, string Error) result) => (result.Code, result.Error);

    private void Train(string run, string options)
    {
        (int code, _, string error) = FeedbackProgram.Run(["train", .. Merge(Small, options), "--out", Path(run)]);
        Assert.Equal((0, ""), (code, error));
    }

    private (int Code, string Error) Resume(string run, string options) =>
        Without(FeedbackProgram.Run(["resume", Path(run), .. options.Split(' ', StringSplitOptions.RemoveEmptyEntries)]));

    /// <summary>Options of the second text take the place of those of the first.</summary>
    private static IEnumerable<string> Merge(params string[] texts)
    {
        var options = new Dictionary<string, List<string>>();
        foreach (string text in texts)
        {
            string name = "";
            foreach (string word in text.Split(' ', StringSplitOptions.RemoveEmptyEntries))
            {
                if (word.StartsWith("--", StringComparison.Ordinal)) options[name = word] = [];
                else options[name].Add(word);
            }
        }

        return options.SelectMany(option => option.Value.Prepend(option.Key));
    }

    private static async Task WaitFor(string file)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        stop.CancelAfter(Patience);
        while (!File.Exists(file) || File.ReadAllLines(file).Length < 2) await Task.Delay(5, stop.Token);
    }

    private string Path(string name) => System.IO.Path.Combine(_folder, name);

    private string[] Files(string run) => [.. Directory.GetFiles(Path(run), "*", SearchOption.AllDirectories).Order()];

    private string[] Checkpoints(string run) =>
        [.. Directory.GetFiles(Path($"{run}/checkpoints"), "*.safetensors").Select(file => System.IO.Path.GetFileNameWithoutExtension(file)!).Order()];
}
