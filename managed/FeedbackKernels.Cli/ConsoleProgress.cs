using System.Diagnostics;
using System.Globalization;
using FeedbackKernels.Training;
using Spectre.Console;

namespace FeedbackKernels.Cli;

/// <summary>Shows a run on the console: a bar an epoch on a terminal, plain lines elsewhere.</summary>
internal static class ConsoleProgress
{
    // Below this plain lines, which a terminal wraps without losing anything; from WithBar on there is room for a bar.
    private const int Narrowest = 80, WithBar = 100;

    /// <summary>Carries out a run that reports to an observer.</summary>
    public static T Show<T>(int epochs, Func<ITrainingObserver, T> run) => Show(Terminal.Open(), epochs, run);

    /// <summary>The same on a console of the caller's.</summary>
    public static T Show<T>(IAnsiConsole terminal, int epochs, Func<ITrainingObserver, T> run)
    {
        int width = terminal.Profile.Width;
        if (!terminal.Profile.Capabilities.Interactive || width < Narrowest) return run(new Lines(epochs, terminal.Profile.Out.Writer));
        ProgressColumn[] columns = width < WithBar
            ? [new TaskDescriptionColumn { Alignment = Justify.Left }, new RemainingTimeColumn()]
            : [new TaskDescriptionColumn { Alignment = Justify.Left }, new ProgressBarColumn { Width = 16 }, new RemainingTimeColumn()];
        // The other columns, and a blank between two.
        int room = width - (width < WithBar ? 9 : 26);
        return terminal.Progress().AutoClear(false).Columns(columns).Start(context => run(new Bars(context, epochs, room)));
    }

    private static string Result(EpochReport report, int epochs) => string.Create(
        CultureInfo.InvariantCulture,
        $"epoch {report.Epoch}/{epochs}: loss {report.TrainLoss:F3}, train {100 * report.TrainTop1:F2} %, test {100 * report.TestTop1:F2} % (top-5 {100 * report.TestTop5:F2} %), {report.ImagesPerSecond:F0} images/s");

    private static string? Angles(IReadOnlyList<LayerAlignment> layers)
    {
        double[] weights = [.. layers.Select(l => l.WeightAngle).Where(double.IsFinite)];
        double[] deltas = [.. layers.Select(l => l.DeltaAngle).Where(double.IsFinite)];
        if (deltas.Length == 0) return null;
        string own = weights.Length == 0 ? "" : string.Create(CultureInfo.InvariantCulture, $"W-B angle mean {weights.Average():F1}°, largest {weights.Max():F1}°; ");
        return string.Create(CultureInfo.InvariantCulture, $"{own}error angle mean {deltas.Average():F1}°, largest {deltas.Max():F1}°");
    }

    private sealed class Lines(int epochs, TextWriter output) : ITrainingObserver
    {
        // Long epochs would leave a log without a sign of life.
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
            output.WriteLine(Result(report, epochs));
        }

        public void OnAlignment(IReadOnlyList<LayerAlignment> layers)
        {
            if (Angles(layers) is { } angles) output.WriteLine($"  {angles}");
        }
    }

    private sealed class Bars(ProgressContext context, int epochs, int room) : ITrainingObserver
    {
        private ProgressTask? _task;
        private int _epoch;

        public void OnStep(in StepReport report)
        {
            string text = Text(report.Epoch, report.Loss, report.Top1, report.ImagesPerSecond, "");
            if (report.Epoch != _epoch)
            {
                _epoch = report.Epoch;
                _task = context.AddTask(text, maxValue: report.StepsInEpoch);
            }

            _task!.Description = text;
            _task.Value = report.Step;
        }

        public void OnEpoch(EpochReport report)
        {
            string test = string.Create(CultureInfo.InvariantCulture, $"  test {100 * report.TestTop1:F2} %");
            _task!.Description = Text(report.Epoch, report.TrainLoss, report.TrainTop1, report.ImagesPerSecond, test);
            _task.StopTask();
        }

        public void OnAlignment(IReadOnlyList<LayerAlignment> layers)
        {
            // The bars have no room for it; alignment.csv and the report have it all.
        }

        // What does not fit would be cut in the middle of a number: the speed goes first, which every next line has again.
        private string Text(int epoch, double loss, double top1, double imagesPerSecond, string test)
        {
            string result = string.Create(CultureInfo.InvariantCulture, $"epoch {epoch}/{epochs}  loss {Loss(loss)}  train {100 * top1:F2} %");
            string speed = string.Create(CultureInfo.InvariantCulture, $"  {imagesPerSecond:F0} images/s");
            return (result + speed + test).Length <= room ? result + speed + test : result + test;
        }

        private static string Loss(double loss) => loss.ToString(Math.Abs(loss) < 1e5 ? "F3" : "G4", CultureInfo.InvariantCulture);
    }
}
