using System.Diagnostics;
using System.Globalization;
using FeedbackKernels.Data;
using Spectre.Console;

namespace FeedbackKernels.Cli;

/// <summary>Shows how far work on many images is: one bar for each stage on a terminal, a line now and then elsewhere; both with the time
/// left.</summary>
internal static class ConsoleCounts
{
    // Narrower terminals get plain lines, which wrap without loss.
    private const int Narrowest = 80, BarWidth = 24;

    /// <summary>Shows work that reports to an observer.</summary>
    public static T Show<T>(Func<IPackObserver, T> work) => Show(Terminal.Open(), work);

    /// <summary>Shows work on a given console.</summary>
    public static T Show<T>(IAnsiConsole terminal, Func<IPackObserver, T> work)
    {
        if (!terminal.Profile.Capabilities.Interactive || terminal.Profile.Width < Narrowest) return work(new Lines(terminal.Profile.Out.Writer, Lines.Pause));
        ProgressColumn[] columns = [new TaskDescriptionColumn { Alignment = Justify.Left }, new ProgressBarColumn { Width = BarWidth }, new RemainingTimeColumn()];
        return terminal.Progress().AutoClear(false).Columns(columns).Start(context => work(new Bars(terminal, context)));
    }

    /// <summary>What is done in a stage.</summary>
    private static string NameOf(PackStage stage) => stage switch
    {
        PackStage.Check => "checking what is packed",
        PackStage.Pack => "packing",
        _ => "verifying",
    };

    private static string Count(PackStage stage, long done, long total) => string.Create(CultureInfo.InvariantCulture, $"{NameOf(stage)}: {done} of {total} images");

    private sealed class Bars(IAnsiConsole terminal, ProgressContext context) : IPackObserver
    {
        private readonly Dictionary<PackStage, ProgressTask> _tasks = [];

        public void OnNote(string note) => terminal.WriteLine(note);

        public void OnProgress(PackStage stage, long done, long total)
        {
            if (!_tasks.TryGetValue(stage, out ProgressTask? task))
            {
                foreach (ProgressTask before in _tasks.Values) before.StopTask();
                _tasks[stage] = task = context.AddTask(Count(stage, done, total), maxValue: total);
            }

            task.Description = Count(stage, done, total);
            task.Value = done;
        }
    }

    /// <summary>Progress as plain lines.</summary>
    internal sealed class Lines(TextWriter output, TimeSpan pause) : IPackObserver
    {
        /// <summary>Time between two lines: often enough to see that the program is at work.</summary>
        public static readonly TimeSpan Pause = TimeSpan.FromSeconds(10);

        private PackStage? _stage;
        private long _start, _last, _doneBefore;

        public void OnNote(string note) => output.WriteLine(note);

        public void OnProgress(PackStage stage, long done, long total)
        {
            if (stage != _stage) (_stage, _start, _last, _doneBefore) = (stage, Stopwatch.GetTimestamp(), Stopwatch.GetTimestamp(), done);
            if (done < total && Stopwatch.GetElapsedTime(_last) < pause) return;
            _last = Stopwatch.GetTimestamp();
            output.WriteLine(Count(stage, done, total) + TimeLeft(done, total));
        }

        private string TimeLeft(long done, long total)
        {
            if (done >= total || done <= _doneBefore) return "";
            TimeSpan left = Stopwatch.GetElapsedTime(_start) * ((double)(total - done) / (done - _doneBefore));
            return string.Create(CultureInfo.InvariantCulture, $", {left:d\\.hh\\:mm\\:ss} left").Replace(" 0.", " ", StringComparison.Ordinal);
        }
    }
}
