using System.Globalization;
using FeedbackKernels.Models;
using FeedbackKernels.Reports;
using FeedbackKernels.Training;

namespace FeedbackKernels.Runs;

/// <summary>Writes log.txt: what happened when, in UTC. A run that goes on adds to the file.</summary>
internal sealed class LogFile : IRunSink
{
    private static readonly TimeSpan Pause = TimeSpan.FromSeconds(30);

    private readonly StreamWriter _file;
    private readonly TimeProvider _clock;
    private readonly int _epochs;
    private long _last;

    /// <summary>Opens the file and writes what runs.</summary>
    /// <param name="path">The file.</param>
    /// <param name="config">The run.</param>
    /// <param name="model">The model that it trains.</param>
    /// <param name="clock">The times of the lines; null for the system's.</param>
    /// <exception cref="IOException">The file cannot be written.</exception>
    public LogFile(string path, RunConfig config, Model model, TimeProvider? clock = null)
    {
        (_clock, _epochs) = (clock ?? TimeProvider.System, config.Training.Epochs);
        _file = new StreamWriter(new FileStream(path, FileMode.Append, FileAccess.Write, FileShare.Read)) { NewLine = "\n" };
        _last = _clock.GetTimestamp();
        Add($"{config.Model}, {config.Rule.Name}, {config.Data}: {_epochs} epochs, batch {config.Training.Batch}, seed {config.Training.Seed}; {model.Backend.Name}: {model.Backend.Description}; {config.WrittenBy}, process {Environment.ProcessId}");
    }

    /// <inheritdoc/>
    public void OnStep(in StepReport report)
    {
        if (_clock.GetElapsedTime(_last) < Pause) return;
        Add($"epoch {report.Epoch}/{_epochs}, step {report.Step}/{report.StepsInEpoch}: loss {report.Loss:F4}, top-1 {100 * report.Top1:F2} %, {report.ImagesPerSecond:F0} images/s");
    }

    /// <inheritdoc/>
    public void OnEpoch(EpochReport report) =>
        Add($"epoch {report.Epoch}/{_epochs}: train loss {report.TrainLoss:F4}, top-1 {100 * report.TrainTop1:F2} %; test loss {report.TestLoss:F4}, top-1 {100 * report.TestTop1:F2} %, top-5 {100 * report.TestTop5:F2} %; learning rate {report.LearningRate:G4}, {report.ImagesPerSecond:F0} images/s");

    /// <inheritdoc/>
    public void OnNote(string note) => Add($"note: {note}");

    /// <inheritdoc/>
    public void OnWarning(string text) => Add($"warning: {text}");

    /// <inheritdoc/>
    public void OnEnd(RunSummary summary, TrainingResult result) =>
        Add($"{(summary.Cancelled ? "stopped" : summary.Diverged is { } place ? $"diverged at {place}" : "finished")}: {summary.Epochs} of {_epochs} epochs, {summary.Seconds:F1} s");

    /// <inheritdoc/>
    public void Dispose() => _file.Dispose();

    private void Add(FormattableString text)
    {
        _last = _clock.GetTimestamp();
        _file.WriteLine($"{_clock.GetUtcNow().ToString("yyyy-MM-dd HH:mm:ss'Z'", CultureInfo.InvariantCulture)} {FormattableString.Invariant(text).ReplaceLineEndings(" ")}");
        _file.Flush();
    }
}
