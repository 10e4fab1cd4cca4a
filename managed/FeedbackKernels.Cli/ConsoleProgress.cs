using System.Globalization;
using FeedbackKernels.Training;
using Spectre.Console;

namespace FeedbackKernels.Cli;

/// <summary>Shows a run on the console: one bar for each epoch on a terminal, plain lines elsewhere.</summary>
internal static class ConsoleProgress
{
    // Narrower terminals get plain lines, which wrap without loss; from WithBar on there is room for a bar.
    private const int Narrowest = 80, WithBar = 100;

    /// <summary>Shows a run that reports to an observer.</summary>
    public static T Show<T>(int epochs, Func<ITrainingObserver, T> run) => Show(Terminal.Open(), epochs, run);

    /// <summary>Shows a run on a given console.</summary>
    public static T Show<T>(IAnsiConsole terminal, int epochs, Func<ITrainingObserver, T> run)
    {
        int width = terminal.Profile.Width;
        if (!terminal.Profile.Capabilities.Interactive || width < Narrowest) return run(new ConsoleLines(epochs, terminal.Profile.Out.Writer));
        ProgressColumn[] columns = width < WithBar
            ? [new TaskDescriptionColumn { Alignment = Justify.Left }, new RemainingTimeColumn()]
            : [new TaskDescriptionColumn { Alignment = Justify.Left }, new ProgressBarColumn { Width = 16 }, new RemainingTimeColumn()];
        // Width of the other columns, with a blank between two.
        int room = width - (width < WithBar ? 9 : 26);
        return terminal.Progress().AutoClear(false).Columns(columns).Start(context => run(new ConsoleBars(terminal, context, epochs, room)));
    }

    /// <summary>A line with the results of an epoch.</summary>
    public static string Result(EpochReport report, int epochs) => string.Create(
        CultureInfo.InvariantCulture,
        $"epoch {report.Epoch}/{epochs}: loss {report.TrainLoss:F3}, train {100 * report.TrainTop1:F2} %, test {100 * report.TestTop1:F2} % (top-5 {100 * report.TestTop5:F2} %), {report.ImagesPerSecond:F0} images/s{Waiting(new FeedWaiting(report.WaitingRead, report.WaitingDecode, report.WaitingResize, report.WaitingUpload))}");

    // Below a percent it says nothing.
    private static string Waiting(in FeedWaiting waiting) =>
        waiting.Total < 0.01 ? "" : string.Create(CultureInfo.InvariantCulture, $", waited {100 * waiting.Total:F0} % ({waiting.Stage})");

    /// <summary>A line with the angles of a measurement; null if there are none.</summary>
    public static string? Angles(IReadOnlyList<LayerAlignment> layers)
    {
        double[] weights = [.. layers.Select(l => l.WeightAngle).Where(double.IsFinite)];
        double[] deltas = [.. layers.Select(l => l.DeltaAngle).Where(double.IsFinite)];
        if (deltas.Length == 0) return null;
        string own = weights.Length == 0 ? "" : string.Create(CultureInfo.InvariantCulture, $"W-B angle mean {weights.Average():F1}°, largest {weights.Max():F1}°; ");
        return string.Create(CultureInfo.InvariantCulture, $"{own}error angle mean {deltas.Average():F1}°, largest {deltas.Max():F1}°");
    }
}
