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
    private readonly RunConfig _config;
    private readonly Model _model;
    private readonly TimeProvider _clock;
    private long _last;

    /// <summary>Opens the file.</summary>
    /// <param name="path">The file.</param>
    /// <param name="config">The run.</param>
    /// <param name="model">The model that it trains.</param>
    /// <param name="clock">The times of the lines; null for the system's.</param>
    /// <exception cref="IOException">The file cannot be written.</exception>
    public LogFile(string path, RunConfig config, Model model, TimeProvider? clock = null)
    {
        (_config, _model, _clock) = (config, model, clock ?? TimeProvider.System);
        _file = new StreamWriter(new FileStream(path, FileMode.Append, FileAccess.Write, FileShare.Read)) { NewLine = "\n" };
        _last = _clock.GetTimestamp();
    }

    private int Epochs => _config.Training.Epochs;

    /// <inheritdoc/>
    public void OnStart(TrainingResult measured, int step) =>
        Add($"{(step == 0 ? "starts" : FormattableString.Invariant($"goes on after step {step}"))}: {_config.Model}, {_config.Rule.Name}, {_config.Data}, {Epochs} epochs, batch {_config.Training.Batch}, seed {_config.Training.Seed}; {_model.Backend.Name}: {_model.Backend.Description}; {_config.WrittenBy}, process {Environment.ProcessId}");

    /// <inheritdoc/>
    public void OnStep(in StepReport report)
    {
        if (_clock.GetElapsedTime(_last) < Pause) return;
        Add($"epoch {report.Epoch}/{Epochs}, step {report.Step}/{report.StepsInEpoch}: loss {report.Loss:F4}, top-1 {100 * report.Top1:F2} %, {report.ImagesPerSecond:F0} images/s");
    }

    /// <inheritdoc/>
    public void OnEpoch(EpochReport report) =>
        Add($"epoch {report.Epoch}/{Epochs}: train loss {report.TrainLoss:F4}, top-1 {100 * report.TrainTop1:F2} %; test loss {report.TestLoss:F4}, top-1 {100 * report.TestTop1:F2} %, top-5 {100 * report.TestTop5:F2} %; learning rate {report.LearningRate:G4}, {report.ImagesPerSecond:F0} images/s, waited {report.CheckpointSeconds:F3} s for checkpoints");

    /// <inheritdoc/>
    public void OnNote(string note) => Add($"note: {note}");

    /// <inheritdoc/>
    public void OnWarning(string text) => Add($"warning: {text}");

    /// <inheritdoc/>
    public void OnEnd(RunSummary summary, TrainingResult result) =>
        Add($"{(summary.Cancelled ? "stopped" : summary.Diverged is { } place ? $"diverged at {place}" : "finished")}: {summary.Epochs} of {Epochs} epochs, {summary.Seconds:F1} s");

    /// <inheritdoc/>
    public void Dispose() => _file.Dispose();

    private void Add(FormattableString text)
    {
        _last = _clock.GetTimestamp();
        _file.WriteLine($"{_clock.GetUtcNow().ToString("yyyy-MM-dd HH:mm:ss'Z'", CultureInfo.InvariantCulture)} {FormattableString.Invariant(text).ReplaceLineEndings(" ")}");
        _file.Flush();
    }
}
