using System.Diagnostics;
using FeedbackKernels.Cli;

namespace FeedbackKernels.Tests.Runs;

/// <summary>The program, in this process or in one of its own.</summary>
internal static class FeedbackProgram
{
    /// <summary>Runs it here. The console is redirected: tests that call this run alone.</summary>
    public static (int Code, string Output, string Error) Run(params string[] arguments)
    {
        TextWriter output = Console.Out, error = Console.Error;
        using StringWriter newOutput = new() { NewLine = "\n" }, newError = new() { NewLine = "\n" };
        Console.SetOut(newOutput);
        Console.SetError(newError);
        try
        {
            int code = Program.Run(arguments);
            return (code, newOutput.ToString(), newError.ToString());
        }
        finally
        {
            Console.SetOut(output);
            Console.SetError(error);
        }
    }

    /// <summary>Starts it in a process of its own, in a folder.</summary>
    public static Process Start(string folder, params string[] arguments) => Process.Start(
        new ProcessStartInfo(Path.Combine(AppContext.BaseDirectory, "feedback"), arguments)
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            WorkingDirectory = folder,
        })!;

    /// <summary>Waits for a process's end and returns what it wrote.</summary>
    public static async Task<(int Code, string Output, string Error)> End(Process process, CancellationToken cancel)
    {
        Task<string> output = process.StandardOutput.ReadToEndAsync(cancel), error = process.StandardError.ReadToEndAsync(cancel);
        await process.WaitForExitAsync(cancel);
        return (process.ExitCode, await output, await error);
    }
}
