using System.Text.Json;
using FeedbackKernels.Reports;
using FeedbackKernels.Storage;
using FeedbackKernels.Training;

namespace FeedbackKernels.Runs;

/// <summary>Writes summary.json at the end.</summary>
internal sealed class SummaryFile(string path) : IRunSink
{
    /// <inheritdoc/>
    public void OnEnd(RunSummary summary, TrainingResult result) =>
        AtomicFile.WriteAllText(path, JsonSerializer.Serialize(summary, RunJson.Default.RunSummary) + "\n");
}
