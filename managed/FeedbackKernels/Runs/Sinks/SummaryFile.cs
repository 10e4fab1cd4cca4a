using System.Text.Json;
using FeedbackKernels.Reports;
using FeedbackKernels.Storage;
using FeedbackKernels.Training;

namespace FeedbackKernels.Runs;

/// <summary>Writes summary.json at the end. It is the mark of a run that has finished, after everything else.</summary>
internal sealed class SummaryFile(string path) : IRunSink
{
    /// <inheritdoc/>
    // The summary of a run that was stopped is not that of the run that goes on.
    public void OnStart(TrainingResult measured, int step) => File.Delete(path);

    /// <inheritdoc/>
    public void OnEnd(RunSummary summary, TrainingResult result) =>
        AtomicFile.WriteAllText(path, JsonSerializer.Serialize(summary, RunJson.Default.RunSummary) + "\n");
}
