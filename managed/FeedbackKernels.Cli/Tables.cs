using System.Globalization;
using FeedbackKernels.Interop;
using FeedbackKernels.Reports;
using Spectre.Console;

namespace FeedbackKernels.Cli;

/// <summary>Output that several commands share.</summary>
internal static class Tables
{
    private const string Star = "*";

    /// <summary>Prints one line for each run. A run that diverged is marked by a star, and a line below the table says where.</summary>
    public static void Print(params IReadOnlyList<RunSummary> runs) => Print(Terminal.Open(), runs);

    /// <summary>Prints the same on a given console.</summary>
    public static void Print(IAnsiConsole terminal, params IReadOnlyList<RunSummary> runs)
    {
        var table = new TextTable(
            new TextColumn("rule", Left: true), new TextColumn("top-1"), new TextColumn("top-5"), new TextColumn("train loss", "train\nloss"),
            new TextColumn("W-B angle", "W-B\nangle"), new TextColumn("largest W-B angle", "largest\nW-B"),
            new TextColumn("error angle", "error\nangle"), new TextColumn("largest error angle", "largest\nerror"), new TextColumn("images/s"), new TextColumn("seconds"));
        foreach (RunSummary run in runs)
        {
            table.Add(
                run.Diverged is null ? run.Rule : run.Rule + Star, Percent(run.TestTop1), Percent(run.TestTop5), Number(run.FinalLoss, "F3"), Degrees(run.WeightAngle), Degrees(run.LargestWeightAngle),
                Degrees(run.DeltaAngle), Degrees(run.LargestDeltaAngle), Number(run.ImagesPerSecond, "F0"), Number(run.Seconds, "F0"));
        }

        table.Write(terminal);
        foreach (RunSummary run in runs.Where(run => run.Diverged is not null))
        {
            string kept = run.Epochs == 0 ? "no epoch had ended" : $"the values and the model are those of epoch {run.Epochs}";
            terminal.Profile.Out.Writer.WriteLine($"{Star} {run.Rule} diverged at {run.Diverged}; {kept}");
        }
    }

    /// <summary>Prints the backend.</summary>
    /// <param name="asked">The name that was asked for.</param>
    /// <param name="backend">The backend in use.</param>
    /// <param name="details">Whether to print in full why it was chosen; otherwise a GPU that was not found gets one short line.</param>
    public static void PrintBackend(string asked, Backend backend, bool details = false)
    {
        Console.WriteLine($"backend {backend.Name}{(asked == backend.Name ? "" : $" ({asked})")}: {backend.Description}");
        if (details && backend.Choice is { } choice) Console.WriteLine($"chosen because {choice}");
        if (!details && backend.ShortChoice != backend.Choice) Console.WriteLine($"{backend.ShortChoice}: using the CPU; `feedback info` has the details");
    }

    /// <summary>Prints the notes of a reader.</summary>
    public static void PrintNotes(IReadOnlyList<string> notes)
    {
        foreach (string note in notes) Console.WriteLine(note);
    }

    /// <summary>A number of bytes in the unit that suits it.</summary>
    public static string Bytes(long bytes)
    {
        string[] units = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        int unit = 0;
        double number = bytes;
        for (; number >= 1024 && unit < units.Length - 1; unit++) number /= 1024;
        return $"{number.ToString(unit == 0 ? "F0" : "F1", CultureInfo.InvariantCulture)} {units[unit]}";
    }

    private static string Percent(double? share) => share is { } s ? (100 * s).ToString("F2", CultureInfo.InvariantCulture) + " %" : "-";

    private static string Degrees(double? angle) => Number(angle, "F1");

    private static string Number(double? value, string format) => value?.ToString(format, CultureInfo.InvariantCulture) ?? "-";
}
