using System.Diagnostics;
using System.Text.Json;
using FeedbackKernels.Interop;
using FeedbackKernels.Runs;

namespace FeedbackKernels.Tests.Cuda;

/// <summary>The program with <c>--backend cuda</c>, in processes of its own: each has the driver that its environment names.</summary>
public sealed class CudaCommandLineTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("feedback-cuda").FullName;

    // How a backend is described, as far as it is known.
    private static string Device => CudaUnderTest.IsEmulated ? "emulated device" : "";

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData("weight-mirror", "fp32", 0.01)]
    [InlineData("kolen-pollack", "fp32", 0.01)]
    [InlineData("kolen-pollack", "bf16", 0.03)]
    public void Train_reaches_the_loss_of_the_cpu(string rule, string precision, double tolerance)
    {
        CudaUnderTest.Require();
        string[] small =
        [
            "train", "--rule", rule, "--model", "lenet", "--limit-train", "128", "--limit-test", "64", "--batch", "32", "--epochs", "2",
            "--lr", "0.02",
        ];
        (int code, string output, string error) =
            Feedback(CudaUnderTest.Path, [.. small, "--backend", "cuda", "--precision", precision, "--out", Path.Combine(_folder, "cuda")]);
        Assert.Equal("", error);
        Assert.Equal(0, code);
        Assert.Contains($"backend cuda: {Device}", output);
        Assert.Equal(0, Feedback(null, [.. small, "--backend", "cpu", "--out", Path.Combine(_folder, "cpu")]).Code);
        double cpu = Loss("cpu"), cuda = Loss("cuda");
        Assert.Equal(cpu, cuda, tolerance * cpu);
        (code, output, error) = Feedback(CudaUnderTest.Path, "evaluate", Path.Combine(_folder, "cuda"), "--backend", "cuda", "--precision", precision);
        Assert.Equal("", error);
        Assert.Equal(0, code);
        Assert.Contains($"activations in {precision}", output);
        Assert.Contains("64 test images", output);

        double Loss(string run) =>
            JsonDocument.Parse(File.ReadAllText(Path.Combine(_folder, run, "summary.json"))).RootElement.GetProperty("finalLoss").GetDouble();
    }

    [Fact]
    public void A_driver_that_is_not_there_is_named_with_the_variable_that_named_it()
    {
        CudaUnderTest.Require();
        string missing = Path.Combine(_folder, "libcuda.so.1");
        (int code, _, string error) = Feedback(missing, "train", "--backend", "cuda", "--limit-train", "200");
        Assert.Equal(1, code);
        Assert.Contains($"'{missing}', named by {CudaLibrary.EnvironmentVariable}, cannot be loaded", error);
        Assert.Contains("No such file", error);
        Assert.Single(error.TrimEnd('\n').Split('\n'));
        Assert.Empty(Directory.EnumerateFileSystemEntries(_folder));
    }

    [Fact]
    public void A_library_that_is_no_driver_is_said_to_be_none()
    {
        CudaUnderTest.Require();
        (int code, _, string error) = Feedback("libc.so.6", "info", "--backend", "cuda");
        Assert.Equal(1, code);
        Assert.Contains("'libc.so.6' is not what it seems", error);
        Assert.Contains("cuInit", error);
    }

    [Theory]
    [InlineData("cuda", "train", "--limit-train", "200")]
    [InlineData("cuda", "compare", "--limit-train", "200")]
    [InlineData("cuda", "study", "--limit-train", "200", "--rules", "bp", "--out", "none")]
    [InlineData("cuda", "evaluate", ".")]
    [InlineData("cuda", "info")]
    [InlineData("auto", "info")]
    public void A_device_that_is_not_there_is_one_line(string backend, params string[] command)
    {
        CudaUnderTest.Require();
        new RunConfig { LimitTrain = 200 }.Write(Path.Combine(_folder, "config.json"));
        AssertNoDevice(1007, [.. command, "--backend", backend, "--device", "1007"]);
        Assert.Single(Directory.EnumerateFileSystemEntries(_folder));
    }

    [Fact]
    public void A_config_names_the_device_unless_the_command_line_does()
    {
        CudaUnderTest.Require();
        string config = Path.Combine(_folder, "config.json");
        new RunConfig { Backend = "cuda", Device = 1005, LimitTrain = 200 }.Write(config);
        AssertNoDevice(1005, "train", "--config", config);
        AssertNoDevice(1006, "train", "--config", config, "--device", "1006");
    }

    [Fact]
    [SeveralDevices("")]
    public void The_device_that_computes_is_named_and_kept()
    {
        CudaUnderTest.RequireDevices(3);
        string run = Path.Combine(_folder, "run");
        string[] small = ["--model", "lenet", "--limit-train", "32", "--limit-test", "16", "--batch", "16", "--epochs", "1"];
        AssertComputes($"cuda: {Device}", 2, ["train", "--backend", "cuda", "--device", "2", "--out", run, .. small]);
        Assert.Equal(2, RunConfig.Read(Path.Combine(run, "config.json")).Device);
        AssertComputes($"cuda: {Device}", 1, "evaluate", run, "--backend", "cuda", "--device", "1");
        string output = AssertComputes($"cuda (auto): {Device}", 1, "info", "--model", "lenet", "--device", "1");
        Assert.Contains("chosen because a device is given", output);
    }

    [Fact]
    public void Auto_says_what_it_chose_and_why()
    {
        CudaUnderTest.Require();
        (int code, string output, _) = Feedback(CudaUnderTest.Path, "info", "--model", "lenet");
        Assert.Equal(0, code);
        Assert.Contains($"backend cuda (auto): {Device}", output);
        Assert.Contains("chosen because there is a GPU", output);
        Assert.Contains("(1) implicit GEMM", output);

        (code, output, _) = Feedback(CudaUnderTest.Path, "info", "--model", "lenet", "--precision", "bf16");
        Assert.Equal(0, code);
        Assert.Contains("chosen because it alone computes in bf16", output);

        (code, output, _) = Feedback("/not/there.so", "info", "--model", "lenet");
        Assert.Equal(0, code);
        Assert.Contains("backend cpu (auto)", output);
        Assert.Contains("chosen because cuda cannot be used: the CUDA driver library '/not/there.so'", output);
    }

    [Fact]
    public void Info_names_the_kernel_that_computes_the_logits()
    {
        using EmulatedDriver.Setting? machine = CudaUnderTest.Hopper();
        string[] info = ["info", "--model", "mlp", "--hidden", "64", "--classes", "64", "--backend", "cuda", "--precision", "bf16"];
        (int code, string output, string error) = Feedback(CudaUnderTest.Path, "9.0", info);
        Assert.Equal((0, ""), (code, error));
        // Logits are fp32 and the kernels for Hopper write bf16: of the last layer they compute the other two passes.
        Assert.Contains("bf16 wgmma", output);
        Assert.Matches("stages by cp.async: .*; not hopper: y is fp32; not few channels: 64 channels are more than 7", output);
    }

    [Theory]
    [InlineData("0", "the driver's compiler has no word of serialized products or spilled registers")]
    [InlineData("1", "native/convolution_gather_sm90.cu: ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized")]
    [InlineData("2", "native/fill.cu: fill_")]
    [EmulatedOnly("sets what the compiler of the driver says")]
    public void Info_loads_the_kernels_and_says_what_the_compiler_warns_of(string warnings, string expected)
    {
        string log = Path.Combine(_folder, "jit.log");
        (int code, string output, string error) = Feedback(
            CudaUnderTest.Path, "9.0", ["info", "--model", "mlp", "--backend", "cuda", "--load-kernels"],
            ("FEEDBACK_EMULATED_WARNINGS", warnings), (CudaKernelFile.LogVariable, log), (CudaKernelFile.ImageVariable, "ptx"));
        Assert.Equal((0, ""), (code, error));
        Assert.Contains("kernels for sm_90a (PTX)", output);
        int files = CudaArchive.Files("sm_90a", ".ptx").Count;
        Assert.Contains($"CUDA kernels loaded: {files} files for sm_90a, 0 from cubins, {files} from PTX that the driver compiled", output);
        Assert.Contains(expected, output);
        string[] lines = File.ReadAllLines(log);
        Assert.Equal(files, lines.Count(line => line.StartsWith("== native/", StringComparison.Ordinal)));
        Assert.Contains("== native/convolution_gather_sm90.cu: PTX for sm_90a, emulated device", lines);
        Assert.Contains("ptxas info    : Compiling entry function 'conv_gather_sm90_128' for 'sm_90'", lines);
    }

    [Fact]
    public void A_log_that_cannot_be_written_and_an_image_that_is_none_are_said()
    {
        CudaUnderTest.Require();
        string[] info = ["info", "--model", "mlp", "--backend", "cuda"];
        (int code, _, string error) = Feedback(CudaUnderTest.Path, "8.0", info, (CudaKernelFile.LogVariable, _folder));
        Assert.Equal(1, code);
        Assert.Contains($"{CudaKernelFile.LogVariable} names '{_folder}', which cannot be written", error);
        (code, _, error) = Feedback(CudaUnderTest.Path, "8.0", info, (CudaKernelFile.ImageVariable, "sass"));
        Assert.Equal(1, code);
        Assert.Contains($"{CudaKernelFile.ImageVariable} is 'sass', wanted is ptx or nothing", error);
    }

    [Theory]
    [InlineData("train")]
    [InlineData("compare")]
    [InlineData("study")]
    [InlineData("evaluate")]
    public void Without_a_driver_auto_says_so_in_one_short_line(string command)
    {
        bool kernels = !CudaBackend.KernelBuild.StartsWith("none", StringComparison.Ordinal);
        string reason = kernels ? "no NVIDIA driver" : "this build has no CUDA kernels";
        string[] small = ["--model", "mlp", "--hidden", "8", "--limit-train", "32", "--limit-test", "16", "--batch", "16", "--epochs", "1", "--align-every", "0"];
        string run = Path.Combine(_folder, "run");
        string[] Arguments(string folder) => command switch
        {
            "compare" => [.. small, "--rules", "bp", "--out", folder],
            "study" => [.. small, "--rules", "bp", "--seeds", "1", "--out", folder],
            "train" => [.. small, "--out", folder],
            _ => [run],
        };
        if (command == "evaluate") Assert.Equal(0, Feedback("/not/there.so", ["train", .. small, "--out", run]).Code);
        (int code, string output, string error) = Feedback("/not/there.so", [command, .. Arguments(run)]);
        Assert.Equal((0, ""), (code, error));
        string[] lines = output.Split('\n');
        Assert.StartsWith("backend cpu (auto): ", lines[0]);
        Assert.Equal($"{reason}: using the CPU; `feedback info` has the details", lines[1]);
        Assert.DoesNotContain("/not/there.so", output);
        // Who asks for cuda by name gets the paths.
        (_, _, error) = Feedback("/not/there.so", [command, .. Arguments(Path.Combine(_folder, "other")), "--backend", "cuda"]);
        Assert.Contains(kernels ? "'/not/there.so'" : "this build has no CUDA kernels (", error);
    }

    [Fact]
    public void Settings_of_the_cpu_backend_need_no_word_about_a_gpu()
    {
        string[] small = ["--model", "mlp", "--hidden", "8", "--limit-train", "32", "--limit-test", "16", "--batch", "16", "--epochs", "1", "--align-every", "0"];
        (int code, string output, _) = Feedback("/not/there.so", ["train", .. small, "--threads", "1", "--out", Path.Combine(_folder, "run")]);
        Assert.Equal(0, code);
        Assert.StartsWith("epoch 1/1", output.Split('\n')[1]);
    }

    private string AssertComputes(string backend, int device, params string[] arguments)
    {
        (int code, string output, string error) = Feedback(CudaUnderTest.Path, arguments);
        Assert.Equal((0, ""), (code, error));
        Assert.StartsWith($"backend {backend}", output);
        Assert.Contains($", device {device}, ", output);
        return output;
    }

    private void AssertNoDevice(int device, params string[] arguments)
    {
        (int code, string output, string error) = Feedback(CudaUnderTest.Path, arguments);
        Assert.Equal((1, ""), (code, output));
        Assert.Contains($"has no device {device}: there are {(CudaUnderTest.IsEmulated ? "3" : "")}", Assert.Single(error.TrimEnd('\n').Split('\n')));
    }

    private (int Code, string Output, string Error) Feedback(string? driver, params string[] arguments) => Feedback(driver, "8.0", arguments);

    private (int Code, string Output, string Error) Feedback(
        string? driver, string capability, string[] arguments, params (string Name, string Value)[] variables)
    {
        var start = new ProcessStartInfo(Path.Combine(AppContext.BaseDirectory, "feedback"), arguments)
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            WorkingDirectory = _folder,
        };
        if (driver is not null) start.Environment[CudaLibrary.EnvironmentVariable] = driver;
        if (CudaUnderTest.IsEmulated)
        {
            start.Environment["FEEDBACK_EMULATED_DEVICES"] = "3";
            start.Environment["FEEDBACK_EMULATED_CAPABILITY"] = capability;
        }

        foreach ((string name, string value) in variables) start.Environment[name] = value;
        using Process process = Process.Start(start)!;
        Task<string> error = process.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return (process.ExitCode, output, error.Result);
    }
}
