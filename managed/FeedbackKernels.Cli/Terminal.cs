using Spectre.Console;

namespace FeedbackKernels.Cli;

/// <summary>The console, for what needs more than plain lines.</summary>
internal static class Terminal
{
    private const int WidthWithoutTerminal = 200;

    /// <summary>Lets a run go on when the terminal that it reports to is closed.</summary>
    public static void SurviveHangUp()
    {
        if (!Console.IsOutputRedirected) Console.SetOut(new HangUpWriter(Console.Out));
        if (!Console.IsErrorRedirected) Console.SetError(new HangUpWriter(Console.Error));
    }

    /// <summary>The console, as wide as it is now, or as a table needs where there is no terminal to say how wide it may be.</summary>
    public static IAnsiConsole Open()
    {
        IAnsiConsole console = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(Console.Out) });
        // Set also where there is a terminal: one that a person makes very narrow during a run would hold up the bars for ever.
        console.Profile.Width = Console.IsOutputRedirected ? WidthWithoutTerminal : Math.Max(1, console.Profile.Width);
        if (Console.IsOutputRedirected) console.Profile.Capabilities.Interactive = false;
        return console;
    }
}
