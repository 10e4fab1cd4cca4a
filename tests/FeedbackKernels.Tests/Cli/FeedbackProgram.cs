using System.CommandLine;
using System.Diagnostics;
using System.Text.Json;
using FeedbackKernels.Cli;

namespace FeedbackKernels.Tests.Cli;

/// <summary>Runs the program, in this process or in a new one. In this process it writes to the console, so such tests cannot run in
/// parallel.</summary>
internal static class FeedbackProgram
{
    /// <summary>The commands, from the parser itself.</summary>
    public static IEnumerable<Command> Commands => Program.CreateRoot().Subcommands;

    /// <summary>The options of a command that the program itself defines.</summary>
    public static IEnumerable<Option> OptionsOf(Command command) =>
        command.Options.Concat(Program.CreateRoot().Options.Where(o => o.Recursive && o is ISetting));

    /// <summary>Runs a command line.</summary>
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

    /// <summary>Starts a command line in a new process, in a folder.</summary>
    public static Process Start(string folder, params string[] arguments) => StartWith(new Dictionary<string, string>(), folder, arguments);

    /// <summary>The same with environment variables.</summary>
    public static Process StartWith(IReadOnlyDictionary<string, string> environment, string folder, params string[] arguments)
    {
        var start = new ProcessStartInfo(Path.Combine(AppContext.BaseDirectory, "feedback"), arguments)
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            WorkingDirectory = folder,
        };
        foreach ((string name, string value) in environment) start.Environment[name] = value;
        return Process.Start(start)!;
    }

    /// <summary>Waits for the end of a process and returns its output.</summary>
    public static async Task<(int Code, string Output, string Error)> End(Process process, CancellationToken cancel)
    {
        Task<string> output = process.StandardOutput.ReadToEndAsync(cancel), error = process.StandardError.ReadToEndAsync(cancel);
        await process.WaitForExitAsync(cancel);
        return (process.ExitCode, await output, await error);
    }

    /// <summary>A JSON file of a run.</summary>
    public static JsonElement Json(string folder, string file) =>
        JsonDocument.Parse(File.ReadAllText(Path.Combine(folder, file))).RootElement;
}
