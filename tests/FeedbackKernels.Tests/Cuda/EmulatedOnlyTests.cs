using System.Diagnostics;
using System.Reflection;
using System.Text;
using System.Text.RegularExpressions;
using System.Xml.Linq;
using FeedbackKernels.Interop;
using FeedbackKernels.Tests.Docs;
using FeedbackKernels.Tests.Interop.Operations;

namespace FeedbackKernels.Tests.Cuda;

/// <summary>What is skipped on a machine with a GPU, and that nothing else is.</summary>
public class EmulatedOnlyTests
{
    private const string Mark = "<!-- emulated only -->\n";

    [Fact]
    public void The_table_in_the_readme_names_each_test_that_a_real_device_skips_and_why()
    {
        Assert.SkipWhen(NamedFiles.Root is null, "the tests run outside the repository");
        string path = Path.Combine(NamedFiles.Root!, "tests", "README.md");
        string[] parts = File.ReadAllText(path).Split(Mark);
        Assert.Equal(3, parts.Length);
        string table = Table();
        if (Environment.GetEnvironmentVariable(OperationTests.WriteTables) == "1") File.WriteAllText(path, string.Join(Mark, parts[0], table, parts[2]));
        else Assert.Equal(parts[1], table);
    }

    // As on a Hopper: a driver is named, and the tests do not know that it is the emulated one.
    [Fact]
    [EmulatedOnly("names the emulated driver in a process of its own, as if it were a real one")]
    public async Task On_a_Hopper_the_others_run()
    {
        Type[] classes = [typeof(HopperTests), typeof(TensorMapTests), typeof(CudaConvKernelsTests), typeof(CudaErrorTests), typeof(CudaHostTests), typeof(CudaLabelTests)];
        string results = Path.Combine(Directory.CreateTempSubdirectory("feedback-named").FullName, "results.xml");
        var start = new ProcessStartInfo(
            Path.Combine(AppContext.BaseDirectory, "FeedbackKernels.Tests"),
            [.. classes.SelectMany(c => (string[])["-class", c.FullName!]), "-noColor", "-result-xml", results])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            Environment = { [CudaLibrary.EnvironmentVariable] = EmulatedDriver.Path, ["FEEDBACK_EMULATED_CAPABILITY"] = "9.0" },
        };
        using Process child = Process.Start(start)!;
        Task<string> error = child.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
        string output = await child.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken);
        await child.WaitForExitAsync(TestContext.Current.CancellationToken);
        Assert.True(child.ExitCode == 0, output + await error);
        XElement[] tests = [.. XDocument.Load(results).Descendants("test")];
        Directory.Delete(Path.GetDirectoryName(results)!, recursive: true);
        IEnumerable<string> expected = Marked<EmulatedOnlyAttribute>().Where(t => classes.Contains(t.Test.DeclaringType)).Select(t => NameOf(t.Test));
        IEnumerable<string> skipped = tests.Where(t => t.Attribute("result")!.Value == "Skip")
            .Select(t => $"{t.Attribute("type")!.Value.Split('.')[^1]}.{t.Attribute("method")!.Value}").Distinct();
        Assert.Equal(expected.Order(), skipped.Order());
        Assert.True(tests.Count(t => t.Attribute("result")!.Value == "Pass") > 100, output);
    }

    // Classes that compute on the device and need more than the kit has, or that skip all on it.
    private static readonly Dictionary<string, string> NotInTheKit = new()
    {
        ["Docs.EmbeddingTests"] = "compiles the text of a README",
        ["Bench.RunnerTests"] = "starts the program of the benchmarks, which the kit's list runs",
        ["Bench.EstimateTests"] = "compares with the emulated driver",
        ["Runs.Checkpoints.OutOfMemoryTests"] = "starts a program that limits its memory",
        ["Collectives.NcclTests"] = "sums by the emulated NCCL",
        ["Cli.MpiTests"] = "starts the command line under a launcher",
        ["Cli.OptionTests"] = "starts the command line",
    };

    [Fact]
    public void The_kit_runs_each_class_that_computes_on_the_device()
    {
        Assert.SkipWhen(NamedFiles.Root is null, "the tests run outside the repository");
        string run = File.ReadAllText(Path.Combine(NamedFiles.Root!, "bench", "gpu-kit", "run.sh"));
        string[] named = [.. Regex.Match(run, "OTHER_TESTS:-([^}]*)}").Groups[1].Value.Split(' ')];
        // Whole namespaces, but for a class that needs no device.
        Assert.Contains("-namespace FeedbackKernels.Tests.Conformance -namespace FeedbackKernels.Tests.Cuda", run);
        Assert.All(named, name => Assert.NotNull(typeof(EmulatedOnlyTests).Assembly.GetType($"FeedbackKernels.Tests.{name}")));
        string sources = Path.Combine(NamedFiles.Root!, "tests", "FeedbackKernels.Tests");
        IEnumerable<string> computing = Directory.EnumerateFiles(sources, "*Tests.cs", SearchOption.AllDirectories)
            .Where(file => Regex.IsMatch(File.ReadAllText(file), @"CudaUnderTest\.|Candidates\)|Binary32Backends"))
            .Select(file => Path.GetRelativePath(sources, file)[..^3].Replace(Path.DirectorySeparatorChar, '.'))
            .Where(name => !name.StartsWith("Cuda.", StringComparison.Ordinal) && !name.StartsWith("Conformance.", StringComparison.Ordinal));
        Assert.Equal(named.Concat(NotInTheKit.Keys).Order(StringComparer.Ordinal), computing.Order(StringComparer.Ordinal));
    }

    private static string Table()
    {
        var table = new StringBuilder("| test | what a real device cannot have |\n|---|---|\n");
        foreach ((MethodInfo test, EmulatedOnlyAttribute mark) in Marked<EmulatedOnlyAttribute>()) table.Append($"| `{NameOf(test)}` | {mark.Why} |\n");
        foreach ((MethodInfo test, SeveralDevicesAttribute mark) in Marked<SeveralDevicesAttribute>())
            table.Append($"| `{NameOf(test)}`{(mark.Which.Length > 0 ? $", cases {mark.Which}" : "")} | needs several devices: skipped where the machine has one |\n");
        return table.ToString();
    }

    private static IEnumerable<(MethodInfo Test, T Mark)> Marked<T>() where T : Attribute =>
        typeof(EmulatedOnlyTests).Assembly.GetTypes().SelectMany(type => type.GetMethods())
            .Select(method => (Test: method, Mark: method.GetCustomAttribute<T>(inherit: false)!))
            .Where(marked => marked.Mark is not null).OrderBy(marked => NameOf(marked.Test), StringComparer.Ordinal);

    private static string NameOf(MethodInfo test) => $"{test.DeclaringType!.Name}.{test.Name}";
}
