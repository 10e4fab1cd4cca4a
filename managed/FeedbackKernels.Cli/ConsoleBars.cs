using System.Globalization;
using FeedbackKernels.Training;
using Spectre.Console;

namespace FeedbackKernels.Cli;

/// <summary>Progress as bars on a terminal: one for each epoch.</summary>
internal sealed class ConsoleBars(IAnsiConsole terminal, ProgressContext context, int epochs, int room) : ITrainingObserver
{
    private ProgressTask? _task;
    private int _epoch;

    public void OnStep(in StepReport report)
    {
        string text = Text(report.Epoch, report.Loss, report.Top1, report.ImagesPerSecond, "");
        ProgressTask task = TaskOf(report.Epoch, text, report.StepsInEpoch);
        task.Description = text;
        task.Value = report.Step;
    }

    public void OnNote(string note) => terminal.WriteLine($"note: {note}");

    public void OnEpoch(EpochReport report)
    {
        string test = string.Create(CultureInfo.InvariantCulture, $"  test {100 * report.TestTop1:F2} %");
        string text = Text(report.Epoch, report.TrainLoss, report.TrainTop1, report.ImagesPerSecond, test);
        // A run that goes on may have no step left in the epoch.
        ProgressTask task = TaskOf(report.Epoch, text, 1);
        task.Description = text;
        task.Value = task.MaxValue;
        task.StopTask();
    }

    public void OnWarning(string text) => terminal.WriteLine($"feedback: {text}");

    private ProgressTask TaskOf(int epoch, string text, int steps)
    {
        if (_task is not null && epoch == _epoch) return _task;
        _epoch = epoch;
        return _task = context.AddTask(text, maxValue: steps);
    }

    // A text that is too long would be cut within a number, so the speed is left out first: the next line has it again.
    private string Text(int epoch, double loss, double top1, double imagesPerSecond, string test)
    {
        string result = string.Create(CultureInfo.InvariantCulture, $"epoch {epoch}/{epochs}  loss {Loss(loss)}  train {100 * top1:F2} %");
        string speed = string.Create(CultureInfo.InvariantCulture, $"  {imagesPerSecond:F0} images/s");
        return (result + speed + test).Length <= room ? result + speed + test : result + test;
    }

    private static string Loss(double loss) => loss.ToString(Math.Abs(loss) < 1e5 ? "F3" : "G4", CultureInfo.InvariantCulture);
}
