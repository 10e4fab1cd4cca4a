using System.Diagnostics;
using FeedbackKernels.Interop;
using FeedbackKernels.Runs;
using FeedbackKernels.Tests.Collectives;
using FeedbackKernels.Tests.Cuda;

namespace FeedbackKernels.Tests.Cli;

/// <summary>The program under mpirun, as a user starts it, with Open MPI and with MPICH where they are installed.</summary>
[Collection(nameof(CommandLineTests))]
public sealed class MpiTests : IDisposable
{
    // Eight steps of 16 images in each of two epochs, whatever the number of processes.
    private const string Small =
        "--model lenet --limit-train 128 --limit-test 33 --threads 1 --schedule constant --lr 0.02 --align-every 1 --tensorboard off";

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(120);

    private readonly string _folder = Directory.CreateTempSubdirectory("feedback-mpi").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    public static TheoryData<string> Launchers => ["mpirun.openmpi", "mpirun.mpich"];

    [Theory, MemberData(nameof(Launchers))]
    public async Task Two_runs_have_the_same_bits_and_other_numbers_of_processes_the_same_images(string launcher)
    {
        Assert.Equal(0, FeedbackProgram.Run(["train", .. Arguments($"{Small} --epochs 2 --rule wm --batch 16 --out {Path("one")}")]).Code);
        foreach ((string name, int processes) in ((string, int)[])[("two", 2), ("again", 2), ("four", 4)])
        {
            (int code, string output, string error) = await Run(launcher, processes, $"train {Small} --epochs 2 --rule wm --batch {16 / processes} --out {Path(name)}");
            Assert.True(code == 0, error);
            Assert.Equal(1, Count(output, "report: "));
            Assert.Contains($"{processes} processes by {(launcher.EndsWith("mpich", StringComparison.Ordinal) ? "MPICH" : "Open MPI")}", File.ReadAllText(Path($"{name}/log.txt")));
        }

        Assert.Equal(File.ReadAllBytes(Path("two/model.safetensors")), File.ReadAllBytes(Path("again/model.safetensors")));
        foreach (string name in (string[])["two", "four"])
        {
            RunConfig config = RunConfig.Read(Path($"{name}/config.json"));
            Assert.Equal((16, name == "two" ? 2 : 4), (config.Training.Batch, config.Processes));
            Assert.Equal(RunConfig.HashOf(Path("one/config.json")), RunConfig.HashOf(Path($"{name}/config.json")));
            // Sums in another order: the same to four digits, and not the same bits.
            Assert.NotEqual(File.ReadAllBytes(Path("one/model.safetensors")), File.ReadAllBytes(Path($"{name}/model.safetensors")));
            foreach ((double a, double b) in Column("one", 3).Zip(Column(name, 3))) Assert.Equal(a, b, 1e-4 * a);
            Assert.Equal(Column("one", 6), Column(name, 6));
        }

        // Without the file system between them, each would read only what it evaluates: the first has all results.
        Assert.Equal(2, File.ReadLines(Path("four/metrics.csv")).Count() - 1);
    }

    [Fact]
    public async Task A_run_goes_on_with_another_number_of_processes()
    {
        Assert.Equal(0, FeedbackProgram.Run(["train", .. Arguments($"{Small} --epochs 2 --rule kp --batch 16 --out {Path("one")}")]).Code);
        Require("mpirun.openmpi");
        Assert.Equal(0, FeedbackProgram.Run(["train", .. Arguments($"{Small} --rule kp --batch 16 --epochs 1 --out {Path("run")}")]).Code);
        (int code, _, string error) = await Run("mpirun.openmpi", 2, $"resume {Path("run")} --epochs 2");
        Assert.True(code == 0, error);
        Assert.Contains("the run had 1 process and goes on with 2: the order of images is the same", File.ReadAllText(Path("run/log.txt")));
        foreach ((double a, double b) in Column("one", 3).Zip(Column("run", 3))) Assert.Equal(a, b, 1e-4 * a);
        // And back, for a third epoch, by the command of a job scheduler.
        (code, _, error) = await Run("mpirun.openmpi", 2, $"train {Small} --epochs 2 --rule kp --batch 8 --out {Path("two")} --resume-if-there");
        Assert.True(code == 0, error);
        (code, string output, error) = await Run("mpirun.openmpi", 2, $"train {Small} --epochs 2 --rule kp --batch 8 --out {Path("two")} --resume-if-there");
        Assert.True(code == 0, error);
        Assert.Contains("has finished: 2 epochs", output);
        (code, _, error) = FeedbackProgram.Run("resume", Path("two"), "--epochs", "3");
        Assert.True(code == 0, error);
        Assert.Equal(3, File.ReadLines(Path("two/metrics.csv")).Count() - 1);
    }

    [Fact]
    public async Task A_process_that_is_killed_ends_the_others_with_an_error_that_names_it()
    {
        Require("mpirun.openmpi");
        using Process launcher = await StartEndless();
        Task<string> error = launcher.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
        int second = SecondProcess();
        var since = Stopwatch.StartNew();
        using (Process killed = Process.GetProcessById(second)) killed.Kill();
        await launcher.WaitForExitAsync(TestContext.Current.CancellationToken).WaitAsync(TimeSpan.FromSeconds(30), TestContext.Current.CancellationToken);
        Assert.True(since.Elapsed < TimeSpan.FromSeconds(30));
        Assert.NotEqual(0, launcher.ExitCode);
        Assert.Contains("rank 1", await error);
        // What was saved goes on.
        int epochs = File.ReadLines(Path("run/metrics.csv")).Count() + 1;
        (int code, _, string complaint) = FeedbackProgram.Run("resume", Path("run"), "--epochs", $"{epochs}");
        Assert.True(code == 0, complaint);
        Assert.Equal(epochs, File.ReadLines(Path("run/metrics.csv")).Count() - 1);
    }

    [Fact]
    public async Task A_process_that_hangs_ends_all_when_the_time_is_over()
    {
        Require("mpirun.openmpi");
        using Process launcher = await StartEndless(new Dictionary<string, string> { ["FEEDBACK_WAITING_TIME"] = "10" });
        Task<string> error = launcher.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
        int second = SecondProcess();
        using (Process kill = Process.Start("kill", ["-STOP", $"{second}"])) await kill.WaitForExitAsync(TestContext.Current.CancellationToken);
        await launcher.WaitForExitAsync(TestContext.Current.CancellationToken).WaitAsync(TimeSpan.FromSeconds(60), TestContext.Current.CancellationToken);
        Assert.NotEqual(0, launcher.ExitCode);
        Assert.Matches(
            @"process 0: feedback: MPI: process 0 has waited 10(\.\d)? s for the sum of .+; another process hangs, or cannot be reached \(FEEDBACK_WAITING_TIME sets the limit of 10 s\)",
            await error);
        // The launcher has ended it too, which may take a moment longer.
        for (var waiting = Stopwatch.StartNew(); IsAlive(second); await Task.Delay(50, TestContext.Current.CancellationToken))
            Assert.True(waiting.Elapsed < TimeSpan.FromSeconds(30), "the process that hung is still there");

        // Where nobody asks how it ended, a process that has ended stays in the list as a zombie.
        static bool IsAlive(int process)
        {
            try
            {
                return !File.ReadAllText($"/proc/{process}/stat").Contains(") Z ", StringComparison.Ordinal);
            }
            catch (IOException)
            {
                return false;
            }
        }
    }

    [Theory, MemberData(nameof(Launchers))]
    public async Task An_error_in_one_process_ends_all_and_has_its_number(string launcher)
    {
        // The folder is not empty, which only the first process looks at.
        Directory.CreateDirectory(Path("full"));
        File.WriteAllText(Path("full/notes"), "mine");
        (int code, _, string error) = await Run(launcher, 2, $"train {Small} --epochs 2 --rule bp --batch 8 --out {Path("full")}");
        Assert.NotEqual(0, code);
        Assert.Contains("process 0: feedback: folder", error);
        Assert.Contains("is not empty", error);
        Assert.Equal(["notes"], Directory.EnumerateFileSystemEntries(Path("full")).Select(System.IO.Path.GetFileName));
    }

    [Fact]
    public async Task The_images_of_a_test_are_divided()
    {
        Require("mpirun.openmpi");
        Assert.Equal(0, FeedbackProgram.Run(["train", .. Arguments($"{Small} --epochs 2 --rule bp --batch 16 --out {Path("run")}")]).Code);
        (_, string alone, _) = FeedbackProgram.Run("evaluate", Path("run"));
        (int code, string together, string error) = await Run("mpirun.openmpi", 2, $"evaluate {Path("run")} --batch 8");
        Assert.True(code == 0, error);
        string Line(string output) => output.Split('\n').Single(line => line.Contains("test images of", StringComparison.Ordinal)).Trim();
        Assert.Equal(Line(alone), Line(together));
    }

    [Fact]
    public async Task Synchronised_batch_norms_are_an_option_of_several_processes()
    {
        const string net = "--model resnet8 --limit-train 32 --limit-test 16 --threads 1 --epochs 1 --schedule constant --lr 0.01 --align-every 0 --tensorboard off --rule bp";
        (int code, _, string error) = FeedbackProgram.Run(["train", .. Arguments($"{net} --batch 16 --sync-batch-norm --out {Path("alone")}")]);
        Assert.Equal(2, code);
        Assert.Contains("--sync-batch-norm has no effect here: it needs several processes, started by mpirun", error);
        Require("mpirun.openmpi");
        Assert.Equal(0, FeedbackProgram.Run(["train", .. Arguments($"{net} --batch 16 --out {Path("one")}")]).Code);
        foreach ((string name, string option) in ((string, string)[])[("local", ""), ("shared", "--sync-batch-norm")])
        {
            (code, _, error) = await Run("mpirun.openmpi", 2, $"train {net} --batch 8 {option} --out {Path(name)}");
            Assert.True(code == 0, error);
        }

        double one = Column("one", 3)[0], local = Column("local", 3)[0], shared = Column("shared", 3)[0];
        Assert.True(RunConfig.Read(Path("shared/config.json")).Training.SyncBatchNorm);
        Assert.True(Math.Abs(shared - one) < 0.1 * Math.Abs(local - one), $"loss {one}, with local norms {local}, with shared ones {shared}");
    }

    [Fact]
    public async Task Processes_can_divide_the_samples_of_the_mirror()
    {
        string net = $"{Small} --epochs 1 --rule wm --mirror-warm-up 0 --mirror-samples 16";
        (int code, _, string error) = FeedbackProgram.Run(["train", .. Arguments($"{net} --batch 16 --mirror-split --out {Path("alone")}")]);
        Assert.Equal(2, code);
        Assert.Contains("--mirror-split has no effect here: it needs several processes, started by mpirun, and the rule weight-mirror", error);
        Require("mpirun.openmpi");
        foreach ((string name, string option) in ((string, string)[])[("same", ""), ("split", "--mirror-split")])
        {
            (code, _, error) = await Run("mpirun.openmpi", 2, $"train {net} --batch 8 {option} --out {Path(name)}");
            Assert.True(code == 0, error);
        }

        Assert.True(RunConfig.Read(Path("split/config.json")).Training.MirrorSplit);
        // Twice the samples: B is nearer to W.
        double Angle(string run) => File.ReadLines(Path($"{run}/alignment.csv")).Skip(1).Select(line => line.Split(',')).Where(line => line[0] == "1" && line[4].Length > 0)
            .Average(line => double.Parse(line[4], System.Globalization.CultureInfo.InvariantCulture));
        Assert.True(Angle("split") < 0.9 * Angle("same"), $"{Angle("split")} degrees, without division {Angle("same")}");
    }

    [Fact]
    [EmulatedOnly("sums by the emulated NCCL, which takes buffers of the emulated driver")]
    public async Task Between_GPUs_it_carries_the_identifier_of_NCCL_and_what_is_on_the_host()
    {
        Require("mpirun.openmpi");
        CudaUnderTest.Require();
        const string net = "--backend cuda --model mlp --hidden 16 --limit-train 64 --limit-test 20 --epochs 2 --schedule constant --align-every 0 --tensorboard off --rule kp";
        Dictionary<string, string> devices = new()
        {
            [CudaLibrary.EnvironmentVariable] = EmulatedDriver.Path,
            [NcclLibrary.EnvironmentVariable] = EmulatedNccl.Path,
            ["FEEDBACK_EMULATED_DEVICES"] = "2",
        };
        (int code, string output, string error) = await Run("mpirun.openmpi", 2, $"train {net} --batch 8 --out {Path("two")}", devices);
        Assert.True(code == 0, error);
        Assert.Contains("2 processes by Open MPI v", output);
        Assert.Contains("between GPUs by NCCL", output);
        using Process alone = FeedbackProgram.StartWith(devices, _folder, [.. Arguments($"train {net} --batch 16 --out {Path("one")}")]);
        Assert.Equal(0, (await FeedbackProgram.End(alone, TestContext.Current.CancellationToken)).Code);
        foreach ((double a, double b) in Column("one", 3).Zip(Column("two", 3))) Assert.Equal(a, b, 1e-4 * a);
    }

    [Fact]
    public async Task Info_says_where_each_process_runs()
    {
        Require("mpirun.openmpi");
        (int code, string output, string error) = await Run("mpirun.openmpi", 2, "info --model mlp", new Dictionary<string, string> { ["TERM"] = "xterm" });
        Assert.True(code == 0, error);
        // No control characters, which would end in the log of a job.
        Assert.DoesNotContain('\u001b', output + error);
        Assert.Equal(1, Count(output, "backend cpu"));
        Assert.Contains("2 processes by Open MPI v", output);
        for (int rank = 0; rank < 2; rank++) Assert.Contains($"process {rank}: {Environment.MachineName}, processors ", output);
    }

    [Fact]
    public async Task What_each_process_would_do_for_itself_is_refused()
    {
        Require("mpirun.openmpi");
        (int code, _, string error) = await Run("mpirun.openmpi", 2, $"pack synthetic {Path("packed")}");
        Assert.NotEqual(0, code);
        Assert.Contains("feedback: mpirun of Open MPI started 2 processes, and pack is for one; train, resume, evaluate, info divide their work", error);
    }

    [Theory]
    // A launcher of another MPI than the library: each process would train alone.
    [InlineData("OMPI_COMM_WORLD_RANK=0 OMPI_COMM_WORLD_SIZE=2", "mpirun of Open MPI started 2 processes, but ", " sees 1, so each would train alone")]
    [InlineData("SLURM_PROCID=1 SLURM_STEP_NUM_TASKS=4", "srun started 4 tasks without MPI, so each would train alone", "srun --mpi=pmix")]
    [InlineData("RANK=0 WORLD_SIZE=2 MASTER_ADDR=localhost MASTER_PORT=29500", "torchrun started 2 processes; processes on CPUs are started by mpirun", "mpirun -n 2 feedback train")]
    [InlineData("PMI_RANK=2 PMI_SIZE=2", "PMI_RANK is 2 and PMI_SIZE is 2, wanted a rank below the size", "")]
    [InlineData("PMI_RANK=x PMI_SIZE=2", "PMI_RANK is 'x', wanted a number", "")]
    public async Task Processes_that_cannot_reach_each_other_are_refused(string variables, string says, string also)
    {
        if (says.Contains(" sees 1", StringComparison.Ordinal) || also.Contains(" sees 1", StringComparison.Ordinal)) Require("mpirun.openmpi");
        using Process process = FeedbackProgram.StartWith(Variables(variables), _folder, [.. Arguments($"train {Small} --epochs 2 --rule bp --batch 8 --backend cpu --out {Path("run")}")]);
        (int code, _, string error) = await FeedbackProgram.End(process, TestContext.Current.CancellationToken).WaitAsync(Patience, TestContext.Current.CancellationToken);
        Assert.NotEqual(0, code);
        Assert.Contains(says, error);
        Assert.Contains(also, error);
        Assert.False(Directory.Exists(Path("run")));
    }

    [Fact]
    public async Task A_library_that_cannot_be_loaded_is_named()
    {
        var environment = new Dictionary<string, string> { ["PMI_RANK"] = "0", ["PMI_SIZE"] = "2", ["FEEDBACK_MPI"] = "/nowhere/libmpi.so" };
        using Process process = FeedbackProgram.StartWith(environment, _folder, "info");
        (int code, _, string error) = await FeedbackProgram.End(process, TestContext.Current.CancellationToken);
        Assert.Equal(1, code);
        Assert.Contains("no MPI library can be loaded (named by FEEDBACK_MPI): /nowhere/libmpi.so", error);
    }

    [Theory]
    [InlineData("", null)]
    [InlineData("OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=4", "OpenMpi 1 4")]
    [InlineData("PMI_RANK=3 PMI_SIZE=4", "Mpich 3 4")]
    [InlineData("PMIX_RANK=1 SLURM_PROCID=1 SLURM_STEP_NUM_TASKS=2", "OpenMpi 1 2")]
    // A batch script, and a job step of one task.
    [InlineData("SLURM_PROCID=0 SLURM_NTASKS=8", null)]
    [InlineData("SLURM_PROCID=0 SLURM_STEP_NUM_TASKS=1", null)]
    [InlineData("RANK=1 WORLD_SIZE=2 MASTER_ADDR=a MASTER_PORT=1", "Address 1 2")]
    // Names that other programs use too.
    [InlineData("RANK=1 WORLD_SIZE=2", null)]
    public void A_launcher_is_known_by_its_variables(string variables, string? expected)
    {
        Launcher? found = Launcher.Detect(Variables(variables).GetValueOrDefault);
        Assert.Equal(expected, found is null ? null : $"{found.Engine} {found.Rank} {found.Size}");
    }

    private static string[] Arguments(string line) => line.Split(' ', StringSplitOptions.RemoveEmptyEntries);

    private static Dictionary<string, string> Variables(string line) => Arguments(line).Select(v => v.Split('=')).ToDictionary(v => v[0], v => v[1]);

    private static int Count(string text, string part) => text.Split(part).Length - 1;

    private static void Require(string launcher) =>
        Assert.SkipUnless(File.Exists($"/usr/bin/{launcher}"), $"/usr/bin/{launcher} is not installed (Debian: openmpi-bin and libopenmpi-dev, mpich)");

    private string Path(string name) => System.IO.Path.Combine(_folder, name);

    private double[] Column(string run, int column) =>
        [.. File.ReadLines(Path($"{run}/metrics.csv")).Skip(1).Select(line => double.Parse(line.Split(',')[column], System.Globalization.CultureInfo.InvariantCulture))];

    private Process Start(string launcher, int processes, string line, IReadOnlyDictionary<string, string>? variables = null)
    {
        Require(launcher);
        string[] options = launcher.EndsWith("openmpi", StringComparison.Ordinal) ? ["--oversubscribe", "--bind-to", "none"] : [];
        var start = new ProcessStartInfo($"/usr/bin/{launcher}", [.. options, "-n", $"{processes}", System.IO.Path.Combine(AppContext.BaseDirectory, "feedback"), .. Arguments(line)])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            WorkingDirectory = _folder,
            Environment =
            {
                // In a container the processes are those of root, and may not read each other's memory.
                ["OMPI_ALLOW_RUN_AS_ROOT"] = "1",
                ["OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] = "1",
                ["OMPI_MCA_btl_vader_single_copy_mechanism"] = "none",
            },
        };
        foreach ((string name, string value) in variables ?? new Dictionary<string, string>()) start.Environment[name] = value;
        return Process.Start(start)!;
    }

    /// <summary>A training of two processes that does not end by itself, after its first checkpoint. The line of an epoch is written before its
    /// checkpoint, which goes to the disk beside the steps of the next.</summary>
    private async Task<Process> StartEndless(IReadOnlyDictionary<string, string>? variables = null)
    {
        Process launcher = Start("mpirun.openmpi", 2, $"train {Small} --rule bp --batch 8 --epochs 100000 --out {Path("run")}", variables);
        _ = launcher.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken);
        var waiting = Stopwatch.StartNew();
        while (!Directory.Exists(Path("run/checkpoints")) || Directory.GetFiles(Path("run/checkpoints"), "step-*.safetensors").Length == 0)
        {
            Assert.True(waiting.Elapsed < Patience && !launcher.HasExited, "no checkpoint was written");
            await Task.Delay(50, TestContext.Current.CancellationToken);
        }

        return launcher;
    }

    private int SecondProcess()
    {
        foreach (string path in Directory.EnumerateDirectories("/proc").Where(p => int.TryParse(System.IO.Path.GetFileName(p), out _)))
        {
            try
            {
                if (!File.ReadAllText(System.IO.Path.Combine(path, "cmdline")).Contains(Path("run"), StringComparison.Ordinal)) continue;
                if (File.ReadAllText(System.IO.Path.Combine(path, "environ")).Split('\0').Contains("OMPI_COMM_WORLD_RANK=1")) return int.Parse(System.IO.Path.GetFileName(path), System.Globalization.CultureInfo.InvariantCulture);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // It has ended, or belongs to someone else.
            }
        }

        throw new InvalidOperationException("there is no second process");
    }

    private async Task<(int Code, string Output, string Error)> Run(
        string launcher, int processes, string line, IReadOnlyDictionary<string, string>? variables = null)
    {
        using Process process = Start(launcher, processes, line, variables);
        return await FeedbackProgram.End(process, TestContext.Current.CancellationToken).WaitAsync(Patience, TestContext.Current.CancellationToken);
    }
}
