using System.Diagnostics;

namespace FeedbackKernels.Tests;

/// <summary>Runs a test in a process of its own.</summary>
internal static class ChildProcess
{
    /// <summary>Set in the child.</summary>
    public const string Variable = "FEEDBACK_TEST_CHILD";

    /// <summary>Runs a test of a class in another process and asserts that it passes there.</summary>
    public static void RunTest(Type type, string method)
    {
        string program = Path.Combine(AppContext.BaseDirectory, "FeedbackKernels.Tests" + (OperatingSystem.IsWindows() ? ".exe" : ""));
        var start = new ProcessStartInfo(program, ["-method", $"{type.FullName}.{method}", "-noColor"])
        {
            RedirectStandardOutput = true,
            Environment = { [Variable] = "1" },
        };
        using Process child = Process.Start(start)!;
        string output = child.StandardOutput.ReadToEnd();
        child.WaitForExit();
        Assert.True(child.ExitCode == 0, $"exit code {child.ExitCode}: {output}");
        Assert.Contains("Failed: 0, Skipped: 0", output);
    }

    /// <summary>Skips a test that another one starts in a process of its own.</summary>
    public static void Require() => Assert.SkipWhen(
        Environment.GetEnvironmentVariable(Variable) is null, $"{Variable} is set by the test that starts this one in a process of its own");
}
