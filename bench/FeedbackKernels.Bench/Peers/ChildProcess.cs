using System.ComponentModel;
using System.Diagnostics;

namespace FeedbackKernels.Bench.Peers;

/// <summary>What to run.</summary>
/// <param name="File">The program.</param>
/// <param name="Arguments">Its arguments.</param>
internal sealed record ChildProcess(string File, IReadOnlyList<string> Arguments)
{
    private const int SignalOffset = 128;

    /// <summary>Variables that the program gets besides our own.</summary>
    public IReadOnlyDictionary<string, string> Environment { get; init; } = new Dictionary<string, string>();

    /// <summary>What it reads.</summary>
    public string Input { get; init; } = "";

    /// <summary>Runs it to its end.</summary>
    /// <returns>Exit code, what it printed, and what it complained of; null where there is no such program.</returns>
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

    /// <summary>How an exit code reads: a program that a signal ended has 128 and its number.</summary>
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
            // The program ended without reading: its exit code and its complaint say why.
        }
    }
}

/// <summary>How a program ended.</summary>
internal sealed record ChildResult(int ExitCode, string Output, string Error)
{
    /// <summary>Its lines.</summary>
    public IEnumerable<string> Lines => Output.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);

    /// <summary>The last line of its complaint, or how it ended.</summary>
    public string Reason
    {
        get
        {
            string[] lines = Error.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
            return lines.Length == 0 ? ChildProcess.Describe(ExitCode) : $"{ChildProcess.Describe(ExitCode)}: {lines[^1]}";
        }
    }
}
