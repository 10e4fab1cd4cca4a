using System.ComponentModel;
using System.Diagnostics;

namespace FeedbackKernels.Bench.Peers;

/// <summary>A program to run.</summary>
/// <param name="File">The program.</param>
/// <param name="Arguments">Its arguments.</param>
internal sealed record ChildProcess(string File, IReadOnlyList<string> Arguments)
{
    private const int SignalOffset = 128;

    /// <summary>Environment variables in addition to those of this process.</summary>
    public IReadOnlyDictionary<string, string> Environment { get; init; } = new Dictionary<string, string>();

    /// <summary>Its standard input.</summary>
    public string Input { get; init; } = "";

    /// <summary>Runs it and waits for its end.</summary>
    /// <returns>Exit code, output and error output; null if the program does not exist.</returns>
    public ChildResult? Run()
    {
        var start = new ProcessStartInfo(File, Arguments)
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        foreach ((string name, string value) in Environment) start.Environment[name] = value;
        using Process process = new() { StartInfo = start };
        try
        {
            process.Start();
        }
        catch (Win32Exception)
        {
            return null;
        }

        Task<string> output = process.StandardOutput.ReadToEndAsync(), error = process.StandardError.ReadToEndAsync();
        WriteInput(process);
        process.WaitForExit();
        return new ChildResult(process.ExitCode, output.Result, error.Result);
    }

    /// <summary>An exit code in words. For a program that a signal ended, it is 128 plus the number of the signal.</summary>
    public static string Describe(int exitCode) =>
        exitCode > SignalOffset ? $"ended by signal {exitCode - SignalOffset}" : $"exit code {exitCode}";

    private void WriteInput(Process process)
    {
        try
        {
            process.StandardInput.Write(Input);
            process.StandardInput.Close();
        }
        catch (IOException)
        {
            // The program ended without reading its input; its exit code and error output tell why.
        }
    }
}

/// <summary>The result of a program.</summary>
internal sealed record ChildResult(int ExitCode, string Output, string Error)
{
    /// <summary>The lines of its output.</summary>
    public IEnumerable<string> Lines => Output.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);

    /// <summary>The exit code in words, and the last line of the error output.</summary>
    public string Reason
    {
        get
        {
            string[] lines = Error.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
            return lines.Length == 0 ? ChildProcess.Describe(ExitCode) : $"{ChildProcess.Describe(ExitCode)}: {lines[^1]}";
        }
    }
}
