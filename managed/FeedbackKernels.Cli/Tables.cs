using System.Globalization;
using FeedbackKernels.Interop;
using FeedbackKernels.Runs;
using Spectre.Console;

namespace FeedbackKernels.Cli;

/// <summary>Tables that commands end with.</summary>
internal static class Tables
{
    /// <summary>One line a run.</summary>
    public static void Print(IEnumerable<RunSummary> runs)
    {
        Table table = New("rule", "top-1", "top-5", "train loss", "W-B angle", "error angle", "images/s", "seconds");
        foreach (RunSummary run in runs)
        {
            table.AddRow(
                run.Rule, Percent(run.TestTop1), Percent(run.TestTop5), Number(run.FinalLoss, "F3"), Degrees(run.WeightAngle),
                Degrees(run.DeltaAngle), Number(run.ImagesPerSecond, "F0"), Number(run.Seconds, "F0"));
        }

        Terminal.Open().Write(table);
    }

    /// <summary>A table whose first column is text and whose others are numbers.</summary>
    public static Table New(params string[] columns)
    {
        Table table = new Table().Border(Terminal.IsInteractive ? TableBorder.Rounded : TableBorder.Ascii);
        for (int i = 0; i < columns.Length; i++)
        {
            var column = new TableColumn(columns[i]) { NoWrap = true };
            table.AddColumn(i == 0 ? column : column.RightAligned());
        }

        return table;
    }

    /// <summary>Says what computes.</summary>
    /// <param name="asked">The backend that was asked for.</param>
    /// <param name="backend">The one there is.</param>
    /// <param name="details">Says in full why it was chosen. Otherwise a GPU that was not found has one short line.</param>
    public static void PrintBackend(string asked, Backend backend, bool details = false)
    {
        Console.WriteLine($"backend {backend.Name}{(asked == backend.Name ? "" : $" ({asked})")}: {backend.Description}");
        if (details && backend.Choice is { } choice) Console.WriteLine($"chosen because {choice}");
        if (!details && backend.ShortChoice != backend.Choice) Console.WriteLine($"{backend.ShortChoice}: using the CPU; `feedback info` has the details");
    }

    /// <summary>Says what a reader did with the data that a user may want to know.</summary>
    public static void PrintNotes(IReadOnlyList<string> notes)
    {
        foreach (string note in notes) Console.WriteLine(note);
    }

    private static string Percent(double? share) => share is { } s ? (100 * s).ToString("F2", CultureInfo.InvariantCulture) + " %" : "-";

    private static string Degrees(double? angle) => Number(angle, "F1");

    private static string Number(double? value, string format) => value?.ToString(format, CultureInfo.InvariantCulture) ?? "-";
}
