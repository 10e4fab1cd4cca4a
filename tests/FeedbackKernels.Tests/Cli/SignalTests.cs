using System.Diagnostics;
using System.Text.Json;

namespace FeedbackKernels.Tests.Cli;

/// <summary>Signals to the program in a separate process: it ends soon, its exit code tells the signal, and it has written
/// its results.</summary>
public sealed class SignalTests : IDisposable
{
    // Time limits on a busy machine: for what normally takes at most a second, and for a run to reach a certain point.
    private static readonly TimeSpan Soon = TimeSpan.FromSeconds(20), Patience = TimeSpan.FromSeconds(120);

    private static readonly string[] Long =
        ["--model", "lenet", "--limit-train", "512", "--limit-test", "64", "--batch", "32", "--epochs", "100000", "--align-every", "0", "--threads", "1"];

    private readonly string _folder = Directory.CreateTempSubdirectory("feedback-signal").FullName;
    private readonly List<Process> _started = [];

    public static TheoryData<string, int> Signals => new() { { "INT", 130 }, { "TERM", 143 }, { "HUP", 129 } };

    public void Dispose()
    {
        foreach (Process process in _started)
        {
            if (!process.HasExited) process.Kill();
            process.WaitForExit();
            process.Dispose();
        }

        Directory.Delete(_folder, recursive: true);
    }

    [Theory, MemberData(nameof(Signals))]
    public async Task A_signal_ends_training_with_its_code_and_all_files(string signal, int code)
    {
        Process run = Start(["train", .. Long, "--out", Run]);
        await ReadUntil(run, "epoch 1/");
        Assert.Equal(code, await EndBy(run, signal));
        AssertCancelled(Run, epochs: 1);
    }

    [Theory, MemberData(nameof(Signals))]
    public async Task A_signal_ends_the_steps_before_training(string signal, int code)
    {
        Process run = Start(["train", .. Long, "--rule", "wm", "--mirror-warm-up", "1000000", "--out", Run]);
        await ReadUntil(run, "backend ");
        // The configuration is written once the model exists.
        await WaitFor(Path.Combine(Run, "config.json"));
        Assert.Equal(code, await EndBy(run, signal));
        AssertCancelled(Run, epochs: 0);
    }

    [Theory, MemberData(nameof(Signals))]
    public async Task An_interrupted_comparison_keeps_the_rules_that_ended_and_says_so(string signal, int code)
    {
        // The first rule ends; the warm-up of the second takes very long.
        Process run = Start(
            ["compare", "--model", "lenet", "--limit-train", "64", "--limit-test", "32", "--batch", "32", "--epochs", "1", "--align-every", "0",
                "--rules", "bp,wm,fa", "--mirror-warm-up", "1000000", "--out", Run]);
        await ReadUntil(run, "weight-mirror:");
        await WaitFor(Path.Combine(Run, "weight-mirror", "config.json"));
        Assert.Equal(code, await EndBy(run, signal));
        JsonElement[] rules = [.. FeedbackProgram.Json(Run, "summary.json").EnumerateArray()];
        Assert.Equal(["backprop", "weight-mirror"], rules.Select(r => r.GetProperty("rule").GetString()));
        Assert.Equal([false, true], rules.Select(r => r.GetProperty("cancelled").GetBoolean()));
        Assert.True(File.Exists(Path.Combine(Run, "report.html")));
        Assert.True(File.Exists(Path.Combine(Run, "backprop", "model.safetensors")));
        Assert.False(Directory.Exists(Path.Combine(Run, "feedback-alignment")));
    }

    [Theory]
    [InlineData("INT", "TERM", 143)]
    [InlineData("TERM", "HUP", 129)]
    [InlineData("HUP", "INT", 130)]
    public async Task A_second_signal_ends_the_program_at_once_with_its_own_code(string first, string second, int code)
    {
        // One step of such a large model takes longer than the test waits.
        Process run = Start(["train", "--model", "resnet50", "--limit-train", "64", "--batch", "64", "--backend", "reference", "--align-every", "0", "--out", Run]);
        await WaitFor(Path.Combine(Run, "config.json"));
        await Task.Delay(500, TestContext.Current.CancellationToken);
        Send(run, first);
        await Task.Delay(500, TestContext.Current.CancellationToken);
        Assert.False(run.HasExited);
        Assert.Equal(code, await EndBy(run, second));
    }

    [Theory, MemberData(nameof(Signals))]
    public async Task A_signal_ends_evaluation_with_its_code(string signal, int code)
    {
        Process train = Start(["train", "--model", "resnet20", "--limit-train", "32", "--limit-test", "32", "--batch", "16", "--epochs", "1", "--align-every", "0", "--out", Run]);
        await train.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken);
        await train.WaitForExitAsync(TestContext.Current.CancellationToken);
        Assert.Equal(0, train.ExitCode);

        Process run = Start(["evaluate", Run, "--limit-test", "2000", "--backend", "reference", "--batch", "1"]);
        await Task.Delay(2500, TestContext.Current.CancellationToken);
        Assert.False(run.HasExited);
        Assert.Equal(code, await EndBy(run, signal));
    }

    [Fact]
    public async Task Under_nohup_a_closed_terminal_does_not_stop_a_run()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "which signals are ignored is read from /proc");
        Process run = Start(["-c", "trap '' HUP; exec \"$0\" \"$@\"", Program, "train", .. Long, "--out", Run], "/bin/sh");
        await ReadUntil(run, "epoch 1/");
        Send(run, "HUP");
        await ReadUntil(run, "epoch 3/");
        Assert.False(run.HasExited);
        Assert.Equal(143, await EndBy(run, "TERM"));
    }

    private string Run => Path.Combine(_folder, "run");

    private static string Program => Path.Combine(AppContext.BaseDirectory, "feedback");

    private static void AssertCancelled(string run, int epochs)
    {
        JsonElement summary = FeedbackProgram.Json(run, "summary.json");
        Assert.True(summary.GetProperty("cancelled").GetBoolean());
        Assert.True(summary.GetProperty("epochs").GetInt32() >= epochs);
        Assert.All((string[])["config.json", "metrics.csv", "model.safetensors", "report.html"], file => Assert.True(File.Exists(Path.Combine(run, file)), file));
    }

    private Process Start(string[] arguments, string? program = null)
    {
        // A shell starts background commands with SIGINT ignored, nohup with SIGHUP: whoever runs the tests, the program gets the defaults.
        var start = new ProcessStartInfo("/usr/bin/env", ["--default-signal=INT,HUP,TERM", program ?? Program, .. arguments])
        {
            RedirectStandardOutput = true,
            WorkingDirectory = _folder,
        };
        Process process = Process.Start(start)!;
        _started.Add(process);
        return process;
    }

    private static async Task ReadUntil(Process run, string start)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        stop.CancelAfter(Patience);
        while (await run.StandardOutput.ReadLineAsync(stop.Token) is { } line)
        {
            if (line.StartsWith(start, StringComparison.Ordinal)) return;
        }

        Assert.Fail($"the program ended before it wrote '{start}'");
    }

    private static async Task WaitFor(string file)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        stop.CancelAfter(Patience);
        while (!File.Exists(file)) await Task.Delay(20, stop.Token);
    }

    private static void Send(Process run, string signal)
    {
        using Process kill = Process.Start("/bin/kill", [$"-{signal}", run.Id.ToString(System.Globalization.CultureInfo.InvariantCulture)]);
        kill.WaitForExit();
        Assert.Equal(0, kill.ExitCode);
    }

    private static async Task<int> EndBy(Process run, string signal)
    {
        Send(run, signal);
        Task<string> rest = run.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken);
        try
        {
            await run.WaitForExitAsync(TestContext.Current.CancellationToken).WaitAsync(Soon, TestContext.Current.CancellationToken);
        }
        catch (TimeoutException)
        {
            run.Kill();
            Assert.Fail($"SIG{signal} did not end the program");
        }

        await rest;
        return run.ExitCode;
    }
}
