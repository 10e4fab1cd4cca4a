using System.Diagnostics;
using System.Globalization;
using FeedbackKernels.Training;

namespace FeedbackKernels.Cli;

/// <summary>Progress as plain lines: one for each epoch, and one now and then within long epochs.</summary>
internal sealed class ConsoleLines(int epochs, TextWriter output) : ITrainingObserver
{
    // Without a line within long epochs, a log would look as if the run had stopped.
    private static readonly TimeSpan Pause = TimeSpan.FromSeconds(30);

    private long _last = Stopwatch.GetTimestamp();

    public void OnStep(in StepReport report)
    {
        if (Stopwatch.GetElapsedTime(_last) < Pause) return;
        _last = Stopwatch.GetTimestamp();
        output.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"  epoch {report.Epoch}/{epochs}, step {report.Step}/{report.StepsInEpoch}: loss {report.Loss:F3}, train {100 * report.Top1:F2} %, {report.ImagesPerSecond:F0} images/s"));
    }

    public void OnEpoch(EpochReport report)
    {
        _last = Stopwatch.GetTimestamp();
        output.WriteLine(ConsoleProgress.Result(report, epochs));
    }

    public void OnWarning(string text) => Console.Error.WriteLine($"feedback: {text}");

    public void OnNote(string note) => output.WriteLine($"  note: {note}");

    public void OnAlignment(IReadOnlyList<LayerAlignment> layers)
    {
        if (ConsoleProgress.Angles(layers) is { } angles) output.WriteLine($"  {angles}");
    }
}
