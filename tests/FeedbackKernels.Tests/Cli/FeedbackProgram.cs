using System.CommandLine;
using System.Text.Json;
using FeedbackKernels.Cli;

namespace FeedbackKernels.Tests.Cli;

/// <summary>The program in this process. It writes to the console of the process: tests that use it run alone.</summary>
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

    /// <summary>A JSON file of a run.</summary>
    public static JsonElement Json(string folder, string file) =>
        JsonDocument.Parse(File.ReadAllText(Path.Combine(folder, file))).RootElement;
}
