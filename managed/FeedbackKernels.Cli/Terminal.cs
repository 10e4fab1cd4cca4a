using Spectre.Console;

namespace FeedbackKernels.Cli;

/// <summary>The console for tables and progress bars.</summary>
internal static class Terminal
{
    private const int WidthWithoutTerminal = 200;

    /// <summary>Lets a run continue after its terminal has been closed.</summary>
    public static void SurviveHangUp()
    {
        if (!Console.IsOutputRedirected) Console.SetOut(new HangUpWriter(Console.Out));
        if (!Console.IsErrorRedirected) Console.SetError(new HangUpWriter(Console.Error));
    }

    /// <summary>The console with its current width; without a terminal, wide enough for every table.</summary>
    public static IAnsiConsole Open()
    {
        IAnsiConsole console = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(Console.Out) });
        // The width is fixed also for a terminal: the bars would hang if the terminal became very narrow during a run.
        console.Profile.Width = Console.IsOutputRedirected ? WidthWithoutTerminal : Math.Max(1, console.Profile.Width);
        if (Console.IsOutputRedirected) console.Profile.Capabilities.Interactive = false;
        return console;
    }
}
