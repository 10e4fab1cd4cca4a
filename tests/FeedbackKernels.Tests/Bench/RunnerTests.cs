using System.Diagnostics;
using System.Globalization;
using FeedbackKernels.Bench;
using FeedbackKernels.Interop;
using FeedbackKernels.Tests.Cuda;
using FeedbackKernels.Tests.Data.Decoding;

namespace FeedbackKernels.Tests.Bench;

/// <summary>The benchmark runner on each backend, with budgets too small for useful figures, and the estimates.</summary>
public sealed class RunnerTests
{
    private static readonly string[] Cpu = ["--backend", "cpu"], Cuda = ["--backend", "cuda"], TensorCores = ["--backend", "cuda", "--precision", "bf16"];

    public static TheoryData<string[]> Choices => [Cpu, Cuda, TensorCores];

    [Theory, MemberData(nameof(Choices))]
    public void Layers_have_a_line_for_each_pass(string[] choice)
    {
        string[] lines = Bench(choice, "layers", "--model", "resnet20", "--filter", "1x1s2", "--batch", "1", "--budget", "0.001");
        Assert.Equal(6, lines.Length);
        Assert.All(lines, line => Assert.StartsWith("conv,feedback-kernels,", line));
        Assert.Equal(
            ["fwd", "bwd_data", "bwd_weights", "fwd", "bwd_data", "bwd_weights"], lines.Select(line => line.Split(',')[4]));
        Assert.All(lines, line => Assert.Equal(7, line.Split(',').Length));
        Assert.All(lines, line => Assert.True(Number(line, 5) >= 0 && Number(line, 6) >= Number(line, 5), line));
        if (choice == TensorCores) Assert.All(lines, line => Assert.Contains("tensor cores", line));
    }

    [Theory]
    [InlineData("bf16", "9.0", "hopper,pipelined pipelined,portable portable,cpu", 14)]
    [InlineData("bf16", "8.0", "pipelined,portable portable,cpu", 12)]
    [InlineData("fp32", "8.0", "portable,cpu", 8)]
    public void Check_compares_each_kernel_with_the_next_and_the_last_with_the_cpu(string precision, string capability, string pairs, int atLeast)
    {
        CudaUnderTest.Require();
        using EmulatedDriver.Setting? machine = capability == "9.0" ? CudaUnderTest.Hopper() : null;
        (int code, string output, string error) = RunWith(
            [("FEEDBACK_EMULATED_CAPABILITY", capability)], "check", "--precision", precision, "--shape", "2,7,7,64,128,3,3,2,1", "--shape", "1,6,5,64,32,1,1,1,0");
        Assert.Equal((0, ""), (code, error));
        string[] lines = output.TrimEnd('\n').Split('\n');
        Assert.Equal($"{lines.Length - 1} comparisons, 0 failed", lines[^1]);
        Assert.True(lines.Length > atLeast, output);
        Assert.All(lines[..^1], line => Assert.Matches("^check,feedback-kernels,[0-9x]+,(fwd|bwd_data|bwd_data_by_w|bwd_weights),(integers|normal),.*,ok,", line));
        string[] found = [.. lines[..^1].Where(line => line.StartsWith("check,feedback-kernels,2x7x7x64x128x3x3x2x1,fwd,integers,", StringComparison.Ordinal)).Select(line => string.Join(',', line.Split(',')[5..7]))];
        // A Hopper has its kernels in each case.
        if (capability == "9.0" || CudaUnderTest.IsEmulated) Assert.Equal(pairs.Split(' '), found);
        // Sums of integers are exact; those of normal numbers are not, in the order of another kernel.
        Assert.All(lines[..^1], line => Assert.True(Number(line, 8) <= Number(line, 9), line));
        Assert.Contains(lines[..^1], line => line.Contains(",normal,", StringComparison.Ordinal) && Number(line, 8) > 0);
    }

    [Theory]
    [InlineData("conv_gather_sm90_128", "bf16", "9.0", "hopper,pipelined", "fwd", "y[0,0,0,50] (element 50 of 4096)")]
    [InlineData("conv_forward_bf16_8_8", "bf16", "9.0", "pipelined,portable", "fwd", "y[0,0,0,50] (element 50 of 4096)")]
    [InlineData("conv_gather_sm90_64", "bf16", "9.0", "hopper,pipelined", "bwd_data", "dx[0,0,0,50] (element 50 of 6272)")]
    [InlineData("conv_feedback_transposed_fp32_4_4", "fp32", "8.0", "portable,cpu", "bwd_data_by_w", "dx[0,0,0,25] (element 25 of 6272)")]
    [InlineData("conv_weight_gradient_fp32_4_4", "fp32", "8.0", "portable,cpu", "bwd_weights", "dW[0,0,0,25] (element 25 of 73728)")]
    [EmulatedOnly("plants a wrong result")]
    public void A_wrong_result_of_one_kernel_is_found_with_its_shape_and_element(
        string kernel, string precision, string capability, string pair, string pass, string place)
    {
        // Bytes 100 and 102 are the low and a higher byte of these elements.
        string at = $"{kernel}:{(precision == "bf16" ? 100 : 102)}";
        (int code, string output, string error) = RunWith(
            [("FEEDBACK_EMULATED_CAPABILITY", capability), ("FEEDBACK_EMULATED_FAULT", at)], "check", "--precision", precision, "--shape", "2,7,7,64,128,3,3,2,1");
        Assert.Equal((1, ""), (code, error));
        string[] lines = output.TrimEnd('\n').Split('\n');
        Assert.StartsWith($"check,feedback-kernels,2x7x7x64x128x3x3x2x1,{pass},integers,{pair},WRONG,", lines.First(line => line.Contains("WRONG", StringComparison.Ordinal)));
        string detail = lines.First(line => line.StartsWith("  ", StringComparison.Ordinal));
        Assert.StartsWith($"  2x7x7x64x128x3x3x2x1 (", detail);
        Assert.Contains($", {pass}: {place} is ", detail);
        Assert.Matches("[1-9][0-9]* failed$", lines[^1]);
        // What another kernel computes is right.
        Assert.All(lines.Where(line => line.Contains(",ok,", StringComparison.Ordinal)), line => Assert.True(Number(line, 8) <= Number(line, 9), line));
        Assert.Contains(lines, line => line.Contains(",ok,", StringComparison.Ordinal));
    }

    [Fact]
    public void Check_can_have_the_TMA_step_over_pixels()
    {
        using EmulatedDriver.Setting? machine = CudaUnderTest.Hopper();
        (int code, string output, string error) = RunWith(
            [("FEEDBACK_EMULATED_CAPABILITY", "9.0")], "check", "--precision", "bf16", "--shape", "2,7,7,64,128,3,3,2,1", "--traversal-strides");
        Assert.Equal((0, ""), (code, error));
        Assert.Matches("\n24 comparisons with element strides, 0 failed\n$", output);
    }

    [Theory]
    [InlineData("1,2,3", "--shape is '1,2,3', wanted are nine numbers")]
    [InlineData("1,2,3,4,5,6,7,8,x", "wanted are nine numbers")]
    public void A_shape_that_is_none_is_said(string shape, string expected)
    {
        (int code, _, string error) = Run("check", "--shape", shape);
        Assert.Equal(1, code);
        Assert.Contains(expected, error);
    }

    [Fact]
    public void Check_says_where_a_filter_leaves_nothing()
    {
        (int code, string output, string error) = Run("check", "--model", "resnet8", "--filter", "9x9");
        Assert.Equal((1, ""), (code, output));
        Assert.Contains("--filter '9x9' leaves no layer of resnet8", error);
    }

    [Theory, MemberData(nameof(Choices))]
    public void Steps_take_every_rule_in_turn(string[] choice)
    {
        string[] lines = Bench(choice, "step", "--model", "lenet", "--rule", "all", "--batch", "2", "--rounds", "2", "--inner", "1");
        Assert.Equal(BenchRules.All.Select(r => $"model,feedback-kernels,{r.Name},lenet,2"), lines.Select(line => string.Join(',', line.Split(',')[..5])));
        Assert.All(lines, line => Assert.True(Number(line, 5) > 0 && Number(line, 6) >= Number(line, 5), line));

        lines = Bench(choice, "step", "--model", "lenet", "--batch", "2", "--rounds", "1");
        Assert.Equal(2, lines.Length);
        Assert.StartsWith("memory,feedback-kernels,backprop,lenet,2,", lines[1]);
        Assert.True(Number(lines[1], 5) > 0, lines[1]);
    }

    [Fact]
    public void Rules_have_their_short_names_too()
    {
        string[] lines = Bench([], "step", "--model", "lenet", "--rule", "kp,wm,weight-mirror", "--batch", "2", "--rounds", "1");
        Assert.Equal(["kolen-pollack", "weight-mirror"], lines.Select(line => line.Split(',')[2]));
        Assert.Equal("weight-mirror", Bench([], "estimate", "--model", "resnet8", "--batch", "4", "--rule", "wm")[^1].Split(',')[2]);
        foreach (string command in (string[])["step", "estimate"])
        {
            (int code, _, string error) = Run(command, "--rule", "relay");
            Assert.Equal(1, code);
            Assert.Contains("--rule 'relay' is unknown; rules: backprop (bp), feedback-alignment (fa), ", error);
            Assert.Contains("[default: backprop]\n", Run(command, "--help").Output);
        }
    }

    [Theory, MemberData(nameof(Choices))]
    public void The_mirror_reads_a_layer_in_a_cycle(string[] choice)
    {
        string[] lines = Bench(choice, "mirror", "--model", "resnet20", "--filter", "1x1s2_16", "--batch", "1", "--samples", "2", "--budget", "0.001");
        string line = Assert.Single(lines);
        Assert.StartsWith("mirror,feedback-kernels,balanced,r20_1x1s2_16-32@32,2,", line);
        // bf16 rounds W to 8 bits, an error of up to 2^-9 of each number; about half of it shows as an angle.
        Assert.InRange(Number(line, 7), 0, choice == TensorCores ? 0.3 : 0.01);
    }

    [Fact]
    public void Calls_have_a_line_for_each_way_and_each_layout()
    {
        string[] lines = Bench([], "calls", "--budget", "0.01");
        Assert.Equal(["kernel", "spans", "pointers", "tensors", "kernel", "spans", "kernel", "spans"], lines[..8].Select(line => line.Split(',')[2]));
        Assert.All(lines[..8], line => Assert.True(Number(line, 4) > 0 && Number(line, 5) <= Number(line, 4), line));
        Assert.Equal(10, lines[8..].Length);
        Assert.All(lines[8..], line => Assert.True(line.StartsWith("layout,", StringComparison.Ordinal) && Number(line, 4) > 0 && Number(line, 6) > 0, line));
    }

    [Fact]
    public void The_loader_has_a_line_for_each_number_of_threads()
    {
        string folder = Directory.CreateTempSubdirectory().FullName;
        try
        {
            foreach (string part in new[] { "train", "val" })
            {
                Directory.CreateDirectory(Path.Combine(folder, part, "a"));
                string[] names = ["420.jpg", "colour.png", "orientation-6.jpg"];
                for (int i = 0; i < 66; i++) File.WriteAllBytes(Path.Combine(folder, part, "a", $"{i}{Path.GetExtension(names[i % 3])}"), KnownImages.Read(names[i % 3]));
            }

            string[] lines = Bench([], "loader", "--data", $"imagefolder:{folder}", "--size", "16", "--threads", "2", "--budget", "0.2");
            string line = Assert.Single(lines);
            Assert.StartsWith($"loader,feedback-kernels,imagefolder:{folder},", line);
            Assert.True(Number(line, 3) > 0 && Number(line, 4) > 0 && Number(line, 5) == 2 && Number(line, 6) > 0, line);
            Assert.Equal(1, Run("loader", "--data", "synthetic:8x8x3,2,64,64").Code);
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Fact]
    public void A_device_that_is_not_there_is_one_line()
    {
        CudaUnderTest.Require();
        (int code, string output, string error) = Run("layers", "--backend", "cuda", "--device", "1000");
        Assert.Equal((1, ""), (code, output));
        Assert.Matches("has no device 1000: there are [1-9]", Assert.Single(error.TrimEnd('\n').Split('\n')));
        (code, _, error) = Run("layers", "--backend", "cpu", "--device", "1");
        Assert.Equal(1, code);
        Assert.Contains("backend 'cpu' has no device 1", error);
    }

    [Fact]
    public void An_estimate_has_the_FLOP_of_a_step_and_says_that_nothing_was_measured()
    {
        string[] lines = Bench(Cpu[..0], "estimate", "--model", "resnet50", "--batch", "256");
        Assert.StartsWith("# a model, not a measurement", lines[0]);
        Assert.Contains("# HbmBytes 4.8E+12", lines);
        // 4.09 GMAC an image forward (He et al. 2015 count 3.8 for strides in the first filter of a block), as much for the
        // weights, and less the stem for the errors.
        double forward = 256 * 2 * 4.09e9, stem = 2.0 * 256 * 112 * 112 * 64 * 3 * 49;
        Assert.Equal(forward, 1e9 * GigaFlops("forward convolution"), 0.002 * forward);
        Assert.Equal(forward, 1e9 * GigaFlops("weight gradient"), 0.002 * forward);
        Assert.Equal(forward - stem, 1e9 * GigaFlops("feedback convolution"), 0.002 * forward);
        string[] step = lines[^1].Split(',');
        Assert.Equal(["estimate", "h200", "backprop", "resnet50", "256", "step", "all", "images/s"], step[..8]);
        Assert.Equal(256 / (1e-6 * Number(lines[^1], 13)), Number(lines[^1], 14), 1);
        // Kernels and kinds add up to the step, in number and in time.
        foreach (string part in (string[])[",kernel,", ",kind,"])
        {
            string[] parts = [.. lines.Where(line => line.Contains(part, StringComparison.Ordinal))];
            Assert.Equal(Number(lines[^1], 8), parts.Sum(line => Number(line, 8)), 0.1);
            Assert.Equal(Number(lines[^1], 13), parts.Sum(line => Number(line, 13)), 0.1);
        }

        Assert.DoesNotContain(lines, line => line.Contains(",launch,", StringComparison.Ordinal));

        double GigaFlops(string kind) => Number(Assert.Single(lines, line => line.Contains($",kind,{kind},", StringComparison.Ordinal)), 11);
    }

    [Fact]
    public void An_estimate_lists_launches_when_asked()
    {
        string[] lines = Bench([], "estimate", "--model", "resnet8", "--batch", "4", "--launches");
        string[] launches = [.. lines.Where(line => line.Contains(",launch,", StringComparison.Ordinal))];
        Assert.Equal(Number(lines[^1], 8), launches.Sum(line => Number(line, 8)), 0.1);
        Assert.Contains(launches, line => line.Contains("r8_3x3s2_16-32@32", StringComparison.Ordinal));
    }

    [Fact]
    public void An_estimate_depends_on_card_precision_and_rule()
    {
        string[] usual = Estimate();
        Assert.Contains(usual, line => line.Contains("conv_gather_sm90", StringComparison.Ordinal));
        string[] ampere = Estimate("--card", "a100");
        Assert.DoesNotContain(ampere, line => line.Contains("sm90", StringComparison.Ordinal));
        Assert.Contains(ampere, line => line.Contains("pipelined", StringComparison.Ordinal));
        string[] single = Estimate("--precision", "fp32");
        Assert.DoesNotContain(single, line => line.Contains("bf16", StringComparison.Ordinal));
        Assert.Contains(Estimate("--rule", "weight-mirror"), line => line.Contains(",kind,mirror,", StringComparison.Ordinal));
        Assert.True(Number(ampere[^1], 13) > Number(usual[^1], 13) && Number(single[^1], 13) > Number(ampere[^1], 13));

        static string[] Estimate(params string[] more) => Bench([], ["estimate", "--model", "resnet18", "--batch", "64", .. more]);
    }

    [Fact]
    public void A_file_replaces_assumptions()
    {
        string file = Path.GetTempFileName();
        try
        {
            string[] usual = Bench([], "estimate", "--model", "resnet8", "--batch", "4");
            File.WriteAllText(file, """{ "LaunchGap": 1e-3 }""");
            string[] slow = Bench([], "estimate", "--model", "resnet8", "--batch", "4", "--assume", file);
            Assert.Contains("# LaunchGap 0.001", slow);
            double launches = Number(usual[^1], 8);
            Assert.Equal(Number(usual[^1], 13) + launches * (1000 - 1.3), Number(slow[^1], 13), 0.1);

            Refused("""{ "Gap": 1 }""", "unknown assumption 'Gap'; there are Multiprocessors, SharedBytes, HbmBytes");
            Refused("""{ "LaunchGap": "1" }""", "has \"1\" for 'LaunchGap', wanted a number above 0");
            Refused("""{ "LaunchGap": 0 }""", "has 0 for 'LaunchGap', wanted a number above 0");
            Refused("""{ "Wgmma64": 1.5 }""", "has 1.5 for 'Wgmma64', wanted a share above 0 and up to 1");
            Refused("""{ "LaunchGap": 1, "LaunchGap": 2 }""", "has 'LaunchGap' twice");
            Refused("[]", "has a JSON Array, wanted an object");
            Refused("{", "is no JSON");
        }
        finally
        {
            File.Delete(file);
        }

        void Refused(string text, string message)
        {
            File.WriteAllText(file, text);
            (int code, string output, string error) = Run("estimate", "--model", "resnet8", "--assume", file);
            Assert.Equal((1, ""), (code, output));
            Assert.StartsWith($"bench: '{file}' ", error);
            Assert.Contains(message, Assert.Single(error.TrimEnd('\n').Split('\n')));
        }
    }

    private static double Number(string line, int field) => double.Parse(line.Split(',')[field], CultureInfo.InvariantCulture);

    private static string[] Bench(string[] choice, params string[] arguments)
    {
        if (choice.Contains("cuda")) CudaUnderTest.Require();
        (int code, string output, string error) = Run([.. arguments, .. choice]);
        Assert.Equal("", error);
        Assert.Equal(0, code);
        return output.TrimEnd('\n').Split('\n');
    }

    private static (int Code, string Output, string Error) Run(params string[] arguments) => RunWith([], arguments);

    private static (int Code, string Output, string Error) RunWith((string Name, string Value)[] variables, params string[] arguments)
    {
        var start = new ProcessStartInfo(Path.Combine(AppContext.BaseDirectory, "bench"), arguments)
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            Environment = { [CudaLibrary.EnvironmentVariable] = CudaUnderTest.Path },
        };
        foreach ((string name, string value) in variables) start.Environment[name] = value;
        using Process process = Process.Start(start)!;
        Task<string> error = process.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return (process.ExitCode, output, error.Result);
    }
}
