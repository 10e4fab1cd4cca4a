using FeedbackKernels.Models;
using FeedbackKernels.Reports;
using FeedbackKernels.Storage;
using FeedbackKernels.Training;

namespace FeedbackKernels.Runs;

/// <summary>Writes report.html after each epoch and at the end.</summary>
/// <param name="path">The file.</param>
/// <param name="config">The run.</param>
/// <param name="model">The model that it trains.</param>
internal sealed class ReportFile(string path, RunConfig config, Model model) : IRunSink
{
    private readonly List<EpochReport> _epochs = [];
    private readonly List<LayerAlignment> _alignment = [];

    /// <inheritdoc/>
    public void OnStart(TrainingResult measured, int step)
    {
        _epochs.AddRange(measured.Epochs);
        _alignment.AddRange(measured.Alignment);
    }

    /// <inheritdoc/>
    public void OnAlignment(IReadOnlyList<LayerAlignment> layers) => _alignment.AddRange(layers);

    /// <inheritdoc/>
    public void OnEpoch(EpochReport report)
    {
        _epochs.Add(report);
        TrainingResult soFar = TrainingResult.Of(_epochs, _alignment, report.Seconds, cancelled: false);
        OnEnd(config.Summarise(model, soFar), soFar);
    }

    /// <inheritdoc/>
    public void OnEnd(RunSummary summary, TrainingResult result) =>
        AtomicFile.WriteAllText(path, HtmlReport.OfRun(new ReportedRun(summary, result, config.Training.Epochs, config.ToJson())));
}
