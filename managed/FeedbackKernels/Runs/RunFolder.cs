using FeedbackKernels.Models;
using FeedbackKernels.Reports;
using FeedbackKernels.Training;

namespace FeedbackKernels.Runs;

/// <summary>
/// The folder of a run. It writes config.json at the start and lists the sinks that write the other files. No other run can write to
/// the folder meanwhile.
/// </summary>
public sealed class RunFolder : IDisposable
{
    private readonly ClaimedFolder _folder;
    private readonly RunConfig _config;
    private readonly Model _model;
    private readonly List<IRunSink> _sinks = [];
    private readonly SummaryFile _end;

    /// <summary>Writes the configuration, and lets each sink begin its file.</summary>
    /// <param name="folder">The folder, claimed by this process; it belongs to this object from now on.</param>
    /// <param name="config">The run.</param>
    /// <param name="model">The model that the run trains.</param>
    /// <param name="trainer">The run, new or with the state that it goes on from.</param>
    /// <param name="others">Other observers, which are called after the folder's own sinks.</param>
    /// <exception cref="IOException">A file cannot be written.</exception>
    internal RunFolder(ClaimedFolder folder, RunConfig config, Model model, Trainer trainer, params IEnumerable<ITrainingObserver> others)
    {
        (_folder, _config, _model) = (folder, config, model);
        string configuration = config.Hash();
        try
        {
            config.Write(File(RunFiles.Config));
            _sinks.Add(new MetricsTable(File(RunFiles.Metrics)));
            _sinks.Add(new AlignmentTable(File(RunFiles.Alignment)));
            _sinks.Add(new LogFile(File(RunFiles.Log), config, model));
            if (config.TensorBoard != TensorBoardContent.Off) _sinks.Add(new TensorBoardFile(Path, config, model));
            _sinks.Add(new ModelFile(File(RunFiles.Model), model, trainer.Preprocessing, configuration));
            _sinks.Add(new ReportFile(File(RunFiles.Report), config, model));
            _end = new SummaryFile(File(RunFiles.Summary));
            _end.OnStart(trainer.Measured, trainer.Step);
            foreach (IRunSink sink in _sinks) sink.OnStart(trainer.Measured, trainer.Step);
            Observers = new ObserverList([.. _sinks, .. others]);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>The folder, as an absolute path.</summary>
    public string Path => _folder.Path;

    /// <summary>Everything that follows the run: the sinks and the other observers.</summary>
    public ITrainingObserver Observers { get; }

    /// <summary>Ends the run: the sinks write what belongs to the end, such as the report. The summary says that the run has finished, and
    /// there is nothing left for a resumed run to do, so it is written when all else is on the disk.</summary>
    /// <param name="result">What was measured.</param>
    /// <param name="checkpoints">Whose last checkpoint is waited for; optional.</param>
    /// <param name="divergence">What ended the run early, if it diverged; the model is then that of the last epoch before.</param>
    /// <exception cref="IOException">A file, or the last checkpoint, could not be written.</exception>
    internal RunSummary Finish(TrainingResult result, CheckpointWriter? checkpoints, NonFiniteLossException? divergence = null)
    {
        RunSummary summary = _config.Summarise(_model, result, divergence);
        foreach (IRunSink sink in _sinks) sink.OnEnd(summary, result);
        checkpoints?.End();
        _end.OnEnd(summary, result);
        return summary;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (IRunSink sink in _sinks) sink.Dispose();
        _folder.Dispose();
    }

    private string File(string name) => System.IO.Path.Combine(Path, name);
}
