using System.Diagnostics;
using System.Globalization;
using System.Runtime.Intrinsics.X86;
using System.Text.RegularExpressions;
using FeedbackKernels.Interop;

namespace FeedbackKernels.Tests.Conformance;

/// <summary>
/// The conformance tests once more in processes whose runtime is told that the machine has less: what is detected there,
/// and that nothing runs an instruction that is not to be had.
/// </summary>
public partial class SimdLevelTests
{
    internal const string Expected = "FEEDBACK_EXPECTED_SIMD";

    [Theory]
    [InlineData("DOTNET_EnableAVX512", SimdLevel.Avx2)]
    [InlineData("DOTNET_EnableAVX2", SimdLevel.Vector128)]
    [InlineData("DOTNET_EnableHWIntrinsic", SimdLevel.Scalar)]
    public void Conformance_holds_where_the_runtime_has_less(string switchedOff, SimdLevel expected)
    {
        Assert.SkipUnless(Avx512F.IsSupported || expected < SimdLevel.Avx2, "this machine has no AVX-512 to switch off");
        Assert.SkipUnless(Avx2.IsSupported || expected < SimdLevel.Vector128, "this machine has no AVX2 to switch off");
        string program = Path.Combine(AppContext.BaseDirectory, "FeedbackKernels.Tests" + (OperatingSystem.IsWindows() ? ".exe" : ""));
        var start = new ProcessStartInfo(program, ["-trait", "Category=Conformance", "-noColor"])
        {
            RedirectStandardOutput = true,
            Environment = { [switchedOff] = "0", [Expected] = expected.ToString() },
        };
        using Process child = Process.Start(start)!;
        string output = child.StandardOutput.ReadToEnd();
        child.WaitForExit();
        Match totals = Totals().Match(output);
        Assert.True(totals.Success, output);
        Assert.True(child.ExitCode == 0, output);
        Assert.True(int.Parse(totals.Groups["total"].Value, CultureInfo.InvariantCulture) > 50, output);
    }

    [Fact, Trait("Category", "Conformance")]
    public void The_widest_level_is_what_is_left()
    {
        string? expected = Environment.GetEnvironmentVariable(Expected);
        Assert.SkipWhen(expected is null, $"{Expected} is set by the test that starts this one in a process of its own");
        Assert.Equal(expected, SimdLevels.Widest.ToString());
        Assert.Equal(expected, new CpuBackend(1).Level.ToString());
    }

    [GeneratedRegex(@"Total: (?<total>\d+), Errors: 0, Failed: 0")]
    private static partial Regex Totals();
}
