using System.Diagnostics;
using FeedbackKernels.Tests.KnownAnswers;

namespace FeedbackKernels.Tests.Runs;

/// <summary>Runs make_weights.py with a Python that has PyTorch.</summary>
internal static class TorchScript
{
    // The system's own comes second: another one may be first in the path, and Debian's packages are for that of the system.
    private static readonly string[] Candidates = ["python3", "/usr/bin/python3"];

    private static readonly Lazy<string?> Python = new(() => Candidates.FirstOrDefault(python => Start(python, "-c", "import torch, numpy") is (0, _, _)));

    /// <summary>Runs the script; skips the test where there is no PyTorch.</summary>
    /// <returns>What it printed.</returns>
    public static string Run(params string[] arguments)
    {
        Assert.SkipWhen(Python.Value is null, "no python3 here has PyTorch; on Debian: apt-get install --no-install-recommends python3-torch python3-numpy");
        string script = Path.Combine(Directory.CreateTempSubdirectory("feedback-torch").FullName, "make_weights.py");
        File.WriteAllBytes(script, Known.Bytes("make_weights.py"));
        try
        {
            (int code, string output, string error) = Start(Python.Value!, [script, .. arguments]);
            Assert.True(code == 0, error);
            return output;
        }
        finally
        {
            Directory.Delete(Path.GetDirectoryName(script)!, recursive: true);
        }
    }

    private static (int Code, string Output, string Error) Start(string python, params string[] arguments)
    {
        try
        {
            using Process process = Process.Start(new ProcessStartInfo(python, arguments) { RedirectStandardOutput = true, RedirectStandardError = true })!;
            Task<string> error = process.StandardError.ReadToEndAsync();
            string output = process.StandardOutput.ReadToEnd();
            process.WaitForExit();
            return (process.ExitCode, output, error.Result);
        }
        catch (System.ComponentModel.Win32Exception e)
        {
            return (-1, "", e.Message);
        }
    }
}
