using Spectre.Console;

namespace FeedbackKernels.Cli;

/// <summary>The console, for what needs more than plain lines.</summary>
internal static class Terminal
{
    private const int WidthWithoutTerminal = 200;

    /// <summary>Whether output goes to a person's terminal.</summary>
    public static bool IsInteractive => !Console.IsOutputRedirected && Open().Profile.Capabilities.Interactive;

    /// <summary>Lets a run go on when the terminal that it reports to is closed.</summary>
    public static void SurviveHangUp()
    {
        if (!Console.IsOutputRedirected) Console.SetOut(new HangUpWriter(Console.Out));
        if (!Console.IsErrorRedirected) Console.SetError(new HangUpWriter(Console.Error));
    }

    /// <summary>The console as it is now, as wide as a table needs where there is no terminal to say how wide it may be.</summary>
    public static IAnsiConsole Open()
    {
        IAnsiConsole console = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(Console.Out) });
        if (Console.IsOutputRedirected) console.Profile.Width = WidthWithoutTerminal;
        return console;
    }
}
