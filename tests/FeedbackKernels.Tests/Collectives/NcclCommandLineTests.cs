using System.Diagnostics;
using System.Text.Json;
using FeedbackKernels.Interop;
using FeedbackKernels.Tests.Cli;
using FeedbackKernels.Tests.Cuda;

namespace FeedbackKernels.Tests.Collectives;

/// <summary>The program on two emulated devices, as torchrun starts it, and what is left of it when a process dies, hangs or stops.</summary>
public sealed class NcclCommandLineTests : IDisposable
{
    private const string Shim = "sums by the emulated NCCL, which takes buffers of the emulated driver";

    private static readonly string[] Small =
        ["train", "--model", "mlp", "--hidden", "16", "--limit-train", "64", "--limit-test", "20", "--align-every", "0"];

    private static readonly string[] OnDevices = [.. Small, "--backend", "cuda"];

    private static readonly string[] Long = [.. OnDevices, "--batch", "8", "--epochs", "100000"];

    private readonly string _folder = Directory.CreateTempSubdirectory("feedback-nccl").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    [EmulatedOnly(Shim)]
    public async Task Two_processes_train_as_one_does_and_the_first_writes_the_folder()
    {
        string[] run = [.. OnDevices, "--epochs", "2", "--rule", "kp", "--checkpoint-every", "3", "--schedule", "constant"];
        using (RankProcesses ranks = RankProcesses.Start(2, _folder, [.. run, "--batch", "8", "--out", "two"]))
        {
            (int Code, string Output, string Error)[] ends = await ranks.End(TestContext.Current.CancellationToken);
            Assert.All(ends, end => Assert.Equal((0, ""), (end.Code, end.Error)));
            Assert.Contains(", device 0, ", ends[0].Output);
            Assert.Contains("2 processes by TCP to 127.0.0.1:", ends[0].Output);
            Assert.Contains("between GPUs by NCCL 2.20.3: a batch of 16 images, 8 of each batch for a process", ends[0].Output);
            Assert.Equal("", ends[1].Output);
        }

        Assert.Equal(2, FeedbackProgram.Json(Path.Combine(_folder, "two"), "config.json").GetProperty("processes").GetInt32());
        using (Process alone = FeedbackProgram.StartWith(
            new Dictionary<string, string> { [CudaLibrary.EnvironmentVariable] = EmulatedDriver.Path }, _folder, [.. run, "--batch", "16", "--out", "one"]))
        {
            Assert.Equal(0, (await FeedbackProgram.End(alone, TestContext.Current.CancellationToken)).Code);
        }

        // Eight steps of a net without batch norm: the order of sums changes the last bits.
        (double one, double two) = (Loss("one"), Loss("two"));
        Assert.Equal(one, two, 1e-4 * one);

        // With the state of two processes, one goes on.
        using Process resumed = FeedbackProgram.StartWith(
            new Dictionary<string, string> { [CudaLibrary.EnvironmentVariable] = EmulatedDriver.Path }, _folder, "resume", "two", "--epochs", "3");
        (int code, string output, string error) = await FeedbackProgram.End(resumed, TestContext.Current.CancellationToken);
        Assert.True(code == 0, error);
        Assert.Contains("the run had 2 processes and goes on with 1", output + error);

        double Loss(string name) => FeedbackProgram.Json(Path.Combine(_folder, name), "summary.json").GetProperty("finalLoss").GetDouble();
    }

    [Fact]
    [EmulatedOnly(Shim)]
    public async Task Gradients_in_bf16_train_to_another_model_and_a_resumed_run_keeps_them()
    {
        string[] run = [.. OnDevices, "--batch", "8", "--epochs", "2", "--schedule", "constant"];
        (int Code, string Output, string Error)[] plain = await End([.. run, "--out", "plain"]), rounded = await End([.. run, "--reduce-type", "bf16", "--out", "rounded"]);
        Assert.All([.. plain, .. rounded], end => Assert.Equal((0, ""), (end.Code, end.Error)));
        Assert.DoesNotContain("bf16", plain[0].Output);
        Assert.Contains("with gradients in bf16", rounded[0].Output);
        (double exact, double near) = (Loss("plain"), Loss("rounded"));
        // Gradients are off by at most a hundredth, and the loss has moved by less than itself.
        Assert.NotEqual(exact, near);
        Assert.Equal(exact, near, 0.02 * exact);
        (int Code, string Output, string Error)[] on = await End("resume", "rounded", "--epochs", "3");
        Assert.All(on, end => Assert.Equal((0, ""), (end.Code, end.Error)));
        Assert.Contains("with gradients in bf16", on[0].Output);

        async Task<(int Code, string Output, string Error)[]> End(params string[] arguments)
        {
            using RankProcesses ranks = RankProcesses.Start(2, _folder, arguments);
            return await ranks.End(TestContext.Current.CancellationToken);
        }

        double Loss(string name) => FeedbackProgram.Json(Path.Combine(_folder, name), "summary.json").GetProperty("finalLoss").GetDouble();
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [EmulatedOnly(Shim)]
    public async Task A_process_that_is_killed_ends_the_other_with_an_error_that_names_it(int killed)
    {
        using RankProcesses ranks = await InSecondEpoch();
        await AssertEndsAfterKill(ranks, killed, seconds: 30);
    }

    [Fact]
    [EmulatedOnly(Shim)]
    public async Task A_process_that_hangs_ends_all_when_the_time_is_over()
    {
        using RankProcesses ranks = await InSecondEpoch(("FEEDBACK_WAITING_TIME", "10"));
        Signal(ranks[1], "STOP");
        (int code, _, string error) = await FeedbackProgram.End(ranks[0], TestContext.Current.CancellationToken);
        Assert.Equal(1, code);
        // It waits for a sum of the device or for one of the host.
        Assert.Matches("NCCL: process 0 has waited 10(\\.\\d)? s for the sum of|process 1 has not come to a sum of \\d+ numbers for 10 s", error);
        Signal(ranks[1], "CONT");
        (code, _, error) = await FeedbackProgram.End(ranks[1], TestContext.Current.CancellationToken);
        Assert.Equal(1, code);
        Assert.StartsWith("process 1: ", error);
    }

    [Fact]
    [EmulatedOnly(Shim)]
    public async Task A_driver_that_waits_for_the_device_does_not_hide_that_a_process_has_ended()
    {
        // Of the first process alone: a sum that waits for the other would not be asked for yet.
        string held = Path.Combine(_folder, "held0");
        using RankProcesses ranks = await InSecondEpoch(("FEEDBACK_EMULATED_HELD_BY", Path.Combine(_folder, "held{rank}")));
        await File.WriteAllTextAsync(held, "", TestContext.Current.CancellationToken);
        await Task.Delay(500, TestContext.Current.CancellationToken);
        await AssertEndsAfterKill(ranks, killed: 1, seconds: 30);
        Assert.False(File.Exists(held));
    }

    [Fact]
    [EmulatedOnly(Shim)]
    public async Task An_abort_that_does_not_end_ends_the_process()
    {
        using RankProcesses ranks = await InSecondEpoch(("FEEDBACK_EMULATED_NCCL_ABORT_HANGS", "1"));
        await AssertEndsAfterKill(ranks, killed: 1, seconds: 40);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [EmulatedOnly(Shim)]
    public async Task A_signal_to_one_stops_all_after_the_same_step(int told)
    {
        using RankProcesses ranks = await InSecondEpoch();
        Signal(ranks[told], "INT");
        (int Code, string Output, string Error)[] ends = await ranks.End(TestContext.Current.CancellationToken);
        Assert.All(ends, end => Assert.Equal("", end.Error));
        Assert.Contains("stopped after step", ends[0].Output);
        Assert.True(FeedbackProgram.Json(Path.Combine(_folder, "run"), "summary.json").GetProperty("cancelled").GetBoolean());
    }

    [Fact]
    [EmulatedOnly(Shim)]
    public async Task A_loss_that_is_not_finite_ends_all_alike()
    {
        using RankProcesses ranks = RankProcesses.Start(2, _folder, [.. OnDevices, "--batch", "4", "--epochs", "2", "--lr", "1e30", "--out", "run"]);
        (int Code, string Output, string Error)[] ends = await ranks.End(TestContext.Current.CancellationToken);
        Assert.Equal(ends[0].Code, ends[1].Code);
        Assert.Equal(FeedbackKernels.Cli.Outcome.Diverged, ends[0].Code);
        JsonElement summary = FeedbackProgram.Json(Path.Combine(_folder, "run"), "summary.json");
        Assert.Contains("in process 0", summary.GetProperty("diverged").GetString());
    }

    [Theory]
    [InlineData("cuda")]
    [InlineData("auto")]
    [EmulatedOnly(Shim)]
    public async Task Fewer_devices_than_processes_are_an_error_of_all(string backend)
    {
        using RankProcesses ranks = RankProcesses.Start(
            2, _folder, [.. Small, "--batch", "8", "--epochs", "1", "--backend", backend, "--out", "run"], ("FEEDBACK_EMULATED_DEVICES", "1"));
        (int Code, string Output, string Error)[] ends = await ranks.End(TestContext.Current.CancellationToken);
        Assert.Equal([1, 1], ends.Select(end => end.Code));
        Assert.Contains("process 1: feedback: 2 processes of this machine take a GPU each, from device 0 on; for process 1: ", ends[1].Error);
        Assert.Contains("process 1 has", ends[0].Error);
    }

    [Fact]
    [EmulatedOnly(Shim)]
    public async Task Processes_that_see_one_device_each_take_it()
    {
        using RankProcesses ranks = RankProcesses.Start(
            2, _folder, [.. OnDevices, "--batch", "8", "--epochs", "1", "--out", "run"], ("FEEDBACK_EMULATED_DEVICES", "1"), ("CUDA_VISIBLE_DEVICES", "{rank}"));
        Assert.All(await ranks.End(TestContext.Current.CancellationToken), end => Assert.Equal((0, ""), (end.Code, end.Error)));
    }

    [Fact]
    public async Task Without_a_GPU_auto_is_the_cpu_in_all_processes()
    {
        using RankProcesses ranks = RankProcesses.Start(
            2, _folder, [.. Small, "--batch", "8", "--epochs", "1", "--backend", "auto", "--out", "run"], (CudaLibrary.EnvironmentVariable, "/not/there.so"));
        (int Code, string Output, string Error)[] ends = await ranks.End(TestContext.Current.CancellationToken);
        // That torchrun's processes cannot train on.
        Assert.All(ends, end => Assert.Equal(1, end.Code));
        Assert.All(ends, end => Assert.Contains("processes on CPUs are started by mpirun, as in mpirun -n 2 feedback train", end.Error));
    }

    [Theory]
    [InlineData("cpu")]
    [InlineData("reference")]
    public async Task Processes_on_cpus_are_sent_to_mpirun_at_once(string backend)
    {
        using RankProcesses ranks = RankProcesses.Start(2, _folder, ["train", "--backend", backend, "--limit-train", "64"]);
        (int Code, string Output, string Error)[] ends = await ranks.End(TestContext.Current.CancellationToken);
        Assert.All(ends, end => Assert.Equal(1, end.Code));
        Assert.Equal(
            "process 1: feedback: torchrun started 2 processes; processes on CPUs are started by mpirun, as in mpirun -n 2 feedback train\n", ends[1].Error);
    }

    /// <summary>Kills one of two processes; the other ends with an error that names it.</summary>
    private static async Task AssertEndsAfterKill(RankProcesses ranks, int killed, double seconds)
    {
        ranks[killed].Kill();
        var clock = Stopwatch.StartNew();
        (int code, _, string error) = await FeedbackProgram.End(ranks[1 - killed], TestContext.Current.CancellationToken);
        Assert.InRange(clock.Elapsed.TotalSeconds, 0, seconds);
        Assert.Equal(1, code);
        Assert.Contains($"process {killed} has ended", error);
        Assert.StartsWith($"process {1 - killed}: ", error);
    }

    /// <summary>Two processes of a run that does not end by itself.</summary>
    private async Task<RankProcesses> InSecondEpoch(params (string Name, string Value)[] variables)
    {
        RankProcesses ranks = RankProcesses.Start(2, _folder, [.. Long, "--out", "run"], variables);
        try
        {
            await ReadUntil(ranks[0], "epoch 2/");
            return ranks;
        }
        catch
        {
            ranks.Dispose();
            throw;
        }
    }

    private static async Task ReadUntil(Process process, string text)
    {
        while (await process.StandardOutput.ReadLineAsync(TestContext.Current.CancellationToken) is { } line)
        {
            if (line.Contains(text)) return;
        }

        Assert.Fail($"ended before '{text}': {await process.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken)}");
    }

    private static void Signal(Process process, string name)
    {
        using Process kill = Process.Start("kill", ["-s", name, process.Id.ToString(System.Globalization.CultureInfo.InvariantCulture)]);
        kill.WaitForExit();
    }
}
