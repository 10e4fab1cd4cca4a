using Spectre.Console;

namespace FeedbackKernels.Cli;

/// <summary>The console, for output that needs more than plain lines.</summary>
internal static class Terminal
{
    private const int WidthWithoutTerminal = 200;

    /// <summary>Lets a run continue after its terminal is closed.</summary>
    public static void SurviveHangUp()
    {
        if (!Console.IsOutputRedirected) Console.SetOut(new HangUpWriter(Console.Out));
        if (!Console.IsErrorRedirected) Console.SetError(new HangUpWriter(Console.Error));
    }

    /// <summary>The console with its present width; if the output is redirected, with a width that every table fits in.</summary>
    public static IAnsiConsole Open()
    {
        IAnsiConsole console = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(Console.Out) });
        // Set for a terminal too: otherwise the progress bars loop forever if the window becomes very narrow during a run.
        console.Profile.Width = Console.IsOutputRedirected ? WidthWithoutTerminal : Math.Max(1, console.Profile.Width);
        if (Console.IsOutputRedirected) console.Profile.Capabilities.Interactive = false;
        return console;
    }
}
