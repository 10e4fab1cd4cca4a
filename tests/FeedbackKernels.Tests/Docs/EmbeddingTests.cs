using System.Diagnostics;
using System.Text.RegularExpressions;
using FeedbackKernels.Interop;
using FeedbackKernels.Tests.Cuda;

namespace FeedbackKernels.Tests.Docs;

/// <summary>
/// The programs of managed/embedding.md, as a reader would save them: each is compiled against the assemblies of this build, runs in a
/// process of its own, and prints what its text says.
/// </summary>
public sealed partial class EmbeddingTests : IDisposable
{
    private const string Page = "managed/embedding.md";

    // Outside the repository, so that no property file of it applies to a reader's program.
    private readonly string _folder = Directory.CreateTempSubdirectory("feedback-embedding").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public async Task The_loop_on_own_arrays_learns()
    {
        string[] lines = await Run("own-loop");
        Assert.Equal(["step 10", "step 20", "step 30", "step 40", "step 50", "step 60"], lines.Select(line => line.Split(':')[0]));
        // The loss of a guess is ln 2 = 0.69.
        Assert.InRange(Number(lines[^1]), 0.0001, 0.35);
    }

    [Fact]
    public async Task The_own_rule_learns()
    {
        string[] lines = await Run("own-rule");
        Assert.Equal(["epoch 1", "epoch 2", "epoch 3"], lines.Select(line => line.Split(':')[0]));
        Assert.InRange(Number(lines[^1]), 0.0001, 0.35);
    }

    [Fact]
    public async Task The_device_pointers_are_worked_on()
    {
        CudaUnderTest.Require();
        string[] lines = await Run("device-pointers");
        // In the corner 4 of 9 taps lie in the image.
        Assert.Equal(["dx inside 144, in the corner 64"], lines);
    }

    [Fact]
    public void All_programs_of_the_page_take_part() =>
        Assert.Equal(["own-loop", "own-rule", "device-pointers"], Block().Matches(Read()).Select(m => m.Groups[1].Value).Where(name => name != "torchsharp"));

    private static string Read()
    {
        Assert.SkipWhen(NamedFiles.Root is null, "the tests run outside the repository");
        return File.ReadAllText(Path.Combine(NamedFiles.Root!, Page));
    }

    /// <summary>Compiles and runs a program; returns the lines that it prints.</summary>
    private async Task<string[]> Run(string name)
    {
        string code = Block().Matches(Read()).Single(m => m.Groups[1].Value == name).Groups[2].Value;
        Match package = Package().Match(code);
        Assert.True(package.Success, $"the program {name} names no package");
        string assembly = package.Groups[1].Value == "FeedbackKernels" ? "FeedbackKernels" : "FeedbackKernels.Interop";
        await File.WriteAllTextAsync(Path.Combine(_folder, "Program.cs"), Package().Replace(code, ""));
        await File.WriteAllTextAsync(Path.Combine(_folder, "program.csproj"), $"""
            <Project Sdk="Microsoft.NET.Sdk">
              <PropertyGroup>
                <OutputType>Exe</OutputType>
                <TargetFramework>net10.0</TargetFramework>
                <ImplicitUsings>enable</ImplicitUsings>
                <Nullable>enable</Nullable>
                <TreatWarningsAsErrors>true</TreatWarningsAsErrors>
              </PropertyGroup>
              <ItemGroup>
                {string.Concat(References(assembly).Select(file => $"<Reference Include=\"{file}\" />"))}
              </ItemGroup>
            </Project>
            """);
        string output = Path.Combine(_folder, "out");
        (int code, string text) built = await Execute("dotnet", "build", "-c", "Release", "-o", output, "--nologo", "-v", "quiet", "-nodeReuse:false");
        Assert.True(built.code == 0, built.text);
        (int code, string text) ran = await Execute("dotnet", Path.Combine(output, "program.dll"));
        Assert.True(ran.code == 0, ran.text);
        return ran.text.TrimEnd('\n').Split('\n');
    }

    // What the package would bring: the assembly and those that it needs.
    private static IEnumerable<string> References(string assembly) =>
        Directory.EnumerateFiles(AppContext.BaseDirectory, "*.dll")
            .Where(file => Path.GetFileName(file) is var name && (name == $"{assembly}.dll" || name == "FeedbackKernels.Interop.dll"
                || name is "System.Numerics.Tensors.dll" or "SkiaSharp.dll" or "Google.Protobuf.dll" or "OxyPlot.dll" or "System.IO.Hashing.dll"));

    private async Task<(int Code, string Text)> Execute(string program, params string[] arguments)
    {
        var start = new ProcessStartInfo(program, arguments) { WorkingDirectory = _folder, RedirectStandardOutput = true, RedirectStandardError = true };
        start.Environment[CudaLibrary.EnvironmentVariable] = CudaUnderTest.Path;
        start.Environment["MSBUILDDISABLENODEREUSE"] = "1";
        using Process process = Process.Start(start)!;
        Task<string> output = process.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken);
        string error = await process.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
        await process.WaitForExitAsync(TestContext.Current.CancellationToken);
        return (process.ExitCode, await output + error);
    }

    private static double Number(string line) =>
        double.Parse(Loss().Match(line).Groups[1].Value, System.Globalization.CultureInfo.InvariantCulture);

    [GeneratedRegex("^```csharp program=([a-z-]+)\n(.*?)^```", RegexOptions.Multiline | RegexOptions.Singleline)]
    private static partial Regex Block();

    [GeneratedRegex("^#:package ([A-Za-z.]+)@.*\n", RegexOptions.Multiline)]
    private static partial Regex Package();

    [GeneratedRegex("loss ([0-9.]+)")]
    private static partial Regex Loss();
}
