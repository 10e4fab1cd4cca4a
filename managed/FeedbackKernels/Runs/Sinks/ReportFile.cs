using FeedbackKernels.Reports;
using FeedbackKernels.Storage;
using FeedbackKernels.Training;

namespace FeedbackKernels.Runs;

/// <summary>Writes report.html at the end.</summary>
internal sealed class ReportFile(string path, RunConfig config) : IRunSink
{
    /// <inheritdoc/>
    public void OnEnd(RunSummary summary, TrainingResult result) =>
        AtomicFile.WriteAllText(path, HtmlReport.OfRun(new ReportedRun(summary, result, config.Training.Epochs, config.ToJson())));
}
