using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text.RegularExpressions;
using FeedbackKernels.Interop;

namespace FeedbackKernels.Tests.Packages;

/// <summary>The packages, installed into new projects outside the repository. The programs are those of the packages' READMEs.</summary>
[Collection(nameof(PackedPackages))]
public sealed partial class InstalledPackageTests(PackedPackages packages)
{
    [Fact]
    public async Task ProgramTrainsWithWeightMirrors()
    {
        await packages.Pack();
        string project = packages.NewProject("FeedbackKernels", "stripes");
        await PackedPackages.Sdk(project, "build", "-c", "Release", "-o", "out");
        RequireTrained(await Dotnet.RunProgram(Path.Combine(project, "out", "stripes"), project, []), SimdLevels.Widest);
    }

    [Fact]
    public async Task ProgramUsesTheKernelsAlone()
    {
        await packages.Pack();
        string project = packages.NewProject("FeedbackKernels.Interop", "kernels"), output = Path.Combine(project, "out");
        await PackedPackages.Sdk(project, "build", "-c", "Release", "-o", "out");
        Assert.Contains("y is 9 in the centre, 4 in the corner", await Dotnet.RunProgram(Path.Combine(output, "kernels"), project, []));
        Assert.Equal(
            ["FeedbackKernels.Interop.dll", "System.Numerics.Tensors.dll", "kernels.dll"],
            Directory.GetFiles(output, "*.dll").Select(Path.GetFileName).Order(StringComparer.Ordinal));
    }

    /// <summary>The whole packages are kept, so that the trimmer looks at all of their code. Its warnings are errors.</summary>
    [Fact]
    public async Task TrimmedProgramTrains()
    {
        await packages.Pack();
        string project = packages.NewProject("FeedbackKernels", "trimmed");
        string output = await PackedPackages.Sdk(
            project, "publish", "-c", "Release", "-o", "out", "-p:PublishTrimmed=true", "-p:KeepAll=true", "-p:TrimmerSingleWarn=false", "-p:TreatWarningsAsErrors=false");
        // OxyPlot, which draws the charts of reports, reads properties by name where data are bound to a series. The charts bind none.
        string[] ours = [.. output.Split('\n').Where(line => TrimWarning().IsMatch(line) && !line.Contains("OxyPlot.", StringComparison.Ordinal))];
        Assert.True(ours.Length == 0, string.Join('\n', ours));
        RequireTrained(await Dotnet.RunProgram(Path.Combine(project, "out", "trimmed"), project, []), SimdLevels.Widest);
    }

    /// <summary>A native program takes the widest vectors of the machine, and AVX2 where AVX-512 is turned off.</summary>
    [Fact]
    public async Task NativeProgramTrains()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux() && RuntimeInformation.ProcessArchitecture == Architecture.X64, "the native program is tested on Linux on x64");
        Assert.SkipUnless(SimdLevels.IsSupported(SimdLevel.Avx2), "this machine has no AVX2");
        Assert.SkipUnless(HasLinker(), "there is no clang or gcc to link a native program");
        await packages.Pack();
        string project = packages.NewProject("FeedbackKernels", "native"), program = Path.Combine(project, "out", "native");
        await PackedPackages.Sdk(project, "publish", "-c", "Release", "-o", "out", "-p:PublishAot=true", "-p:FeedbackKernelsAvx512Program=true");
        Assert.False(File.Exists(program + ".dll"));
        Assert.InRange(new FileInfo(program).Length, 1_000_000, 16_000_000);
        RequireTrained(await Dotnet.RunProgram(program, project, []), SimdLevels.Widest);
        RequireTrained(await Dotnet.RunProgram(program, project, [], ("DOTNET_EnableAVX512", "0")), SimdLevel.Avx2);
        File.Delete(program + Avx512Program.Suffix);
        RequireTrained(await Dotnet.RunProgram(program, project, []), SimdLevel.Avx2);
    }

    /// <summary>The example of the package's README, with a program around it and the way round an old libstdc++ that the README names.</summary>
    [Fact]
    public async Task TorchSharpModelTrains()
    {
        string[] others = ["TorchVision", "libtorch-cpu-linux-x64"];
        Assert.SkipUnless(OperatingSystem.IsLinux() && RuntimeInformation.ProcessArchitecture == Architecture.X64, "the libtorch package is of Linux on x64");
        await packages.Pack();
        Assert.SkipUnless(others.All(PackedPackages.IsUnpacked), "libtorch has not been restored; tests/FeedbackKernels.TorchSharp.Tests restores it");
        string project = packages.NewProject("FeedbackKernels.TorchSharp", "torch", others);
        File.Copy(Path.Combine(PackedPackages.Root, "tests", "FeedbackKernels.TorchSharp.Tests", "LibTorch.cs"), Path.Combine(project, "LibTorch.cs"));
        File.WriteAllText(
            Path.Combine(project, "Main.cs"),
            """
            using static TorchSharp.torch;
            manual_seed(1);
            float loss = MyTrainer.Example.Train(randn(4, 3, 32, 32), arange(4), 12);
            Console.WriteLine(FormattableString.Invariant($"loss {loss:F3}"));
            """);
        await PackedPackages.Sdk(project, "build", "-c", "Release", "-o", "out");
        string output = await Dotnet.RunProgram(Path.Combine(project, "out", "torch"), project, []);
        Assert.Matches(@"(?m)^layer4\.1\.conv2: \d+\.\d degrees$", output);
        Assert.Matches(@"(?m)^loss 0\.\d+$", output);
    }

    [Fact]
    public async Task ToolRuns()
    {
        await packages.Pack();
        string folder = Directory.CreateDirectory(Path.Combine(packages.Folder, "..", "tool")).FullName, feedback = Path.Combine(folder, "bin", "feedback");
        await PackedPackages.Sdk(folder, "tool", "install", "FeedbackKernels.Tool", "--tool-path", "bin", "--configfile", packages.Sources, "--version", PackedPackages.Version);
        string info = await Dotnet.RunProgram(feedback, folder, ["info", "--backend", "cpu"]);
        Assert.Contains(SimdLevels.Widest.ToString(), info);
        Assert.Contains($"CUDA kernels of this build: {CudaKernels.BuildStatus}", info);
        await Dotnet.RunProgram(
            feedback, folder,
            ["train", "--rule", "weight-mirror", "--model", "lenet", "--data", "synthetic", "--backend", "cpu", "--epochs", "1", "--limit-train", "256", "--limit-test", "64", "--out", "run"]);
        foreach (string file in new[] { "model.safetensors", "report.html", "metrics.csv" }) Assert.True(new FileInfo(Path.Combine(folder, "run", file)).Length > 0, file);
        await RequirePage(feedback, folder);
    }

    /// <summary>Starts the page of the tool, or finds that it says what it needs.</summary>
    private static async Task RequirePage(string feedback, string folder)
    {
        var start = new ProcessStartInfo(feedback, ["watch", "run", "--port", "0"]) { RedirectStandardOutput = true, RedirectStandardError = true, WorkingDirectory = folder, Environment = { ["DOTNET_ROOT"] = Dotnet.Root } };
        using Process page = Process.Start(start)!;
        try
        {
            if (Directory.Exists(Path.Combine(Dotnet.Root, "shared", "Microsoft.AspNetCore.App")))
                Assert.Contains("http://", await page.StandardOutput.ReadLineAsync(TestContext.Current.CancellationToken));
            else
                Assert.Contains("feedback watch needs ASP.NET Core", await page.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken));
        }
        finally
        {
            page.Kill(entireProcessTree: true);
        }
    }

    /// <summary>Checks what the program of the README printed.</summary>
    private static void RequireTrained(string output, SimdLevel level)
    {
        Assert.StartsWith($"{level}, ", output);
        // The PTX is in the program: what is missing is the driver, or there is a GPU.
        if (CudaKernels.Exist) Assert.DoesNotContain("this build has no CUDA kernels", output);
        Assert.Matches(@"epoch 3: loss 0\.0\d+, test accuracy (9[5-9]|100)\.", output);
        Assert.Matches(@"conv2: angle between B and W [0-4]\.", output);
    }

    private static bool HasLinker() => (Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator).Any(
        folder => File.Exists(Path.Combine(folder, "clang")) || File.Exists(Path.Combine(folder, "gcc")));

    [GeneratedRegex(@"(warning|error) IL\d+")]
    private static partial Regex TrimWarning();
}
