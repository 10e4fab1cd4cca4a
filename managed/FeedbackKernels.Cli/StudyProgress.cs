using System.Globalization;
using FeedbackKernels.Reports;
using FeedbackKernels.Runs;
using FeedbackKernels.Training;

namespace FeedbackKernels.Cli;

/// <summary>Shows a study on the console: a line before each run and one after it, and between them, where runs go one after another, the
/// run itself.</summary>
/// <param name="runs">Number of runs that this call does.</param>
/// <param name="parallel">Number of runs at the same time.</param>
/// <param name="option">The swept option; null for none.</param>
internal sealed class StudyProgress(int runs, int parallel, string? option) : IStudyObserver
{
    private readonly Lock _gate = new();

    /// <summary>A run for messages, without its seed.</summary>
    /// <param name="label">Label of its rule.</param>
    /// <param name="option">The swept option; null for none.</param>
    /// <param name="value">Its value; null for none.</param>
    public static string NameOf(string label, string? option, string? value) => value is null ? label : $"{label}, {option?.TrimStart('-')} {value}";

    /// <inheritdoc/>
    public StudiedRun Show(StudyCell cell, int number, Func<ITrainingObserver?, StudiedRun> run)
    {
        string name = Text($"{NameOf(cell.Label, option, cell.Value)}, seed {cell.Seed}");
        lock (_gate) Console.WriteLine(Text($"run {number} of {runs}: {name}"));
        return parallel == 1 ? ConsoleProgress.Show(cell.Config.Training.Epochs, run) : run(new Warnings(name));
    }

    /// <inheritdoc/>
    public void OnEnd(StudiedRun run, TimeSpan? left)
    {
        string top1 = run.Summary?.TestTop1 is { } share ? Text($", top-1 {100 * share:F2} %") : "", time = run.Summary is { } summary ? Text($", {summary.Seconds:F0} s") : "";
        string rest = left is { TotalSeconds: > 0 } more ? $"; about {PlanCommand.Time(Math.Max(1, more.TotalSeconds))} left" : "";
        lock (_gate) Console.WriteLine(Text($"{NameOf(run.Label, option, run.Value)}, seed {run.Seed}: {run.Status.ToString().ToLowerInvariant()}{top1}{time}{rest}"));
    }

    /// <inheritdoc/>
    // An error that is a bug is shown with its stack trace, as by every command; the study says at its end which runs have failed.
    public void OnError(StudyCell cell, Exception error)
    {
        string text = Program.IsExpected(error) ? error.Message.ReplaceLineEndings(" ") : error.ToString();
        lock (_gate) Console.WriteLine($"{cell.Folder} failed: {text}");
    }

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);

    /// <summary>Of a run beside others: only what a person should know.</summary>
    private sealed class Warnings(string name) : ITrainingObserver
    {
        public void OnWarning(string text) => Console.Error.WriteLine($"feedback: {name}: {text}");
    }
}
