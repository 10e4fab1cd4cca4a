using FeedbackKernels.Reports;
using FeedbackKernels.Training;

namespace FeedbackKernels.Runs;

/// <summary>Something that a run writes: one file of its folder, or another place. Sinks do not know of each other.</summary>
internal interface IRunSink : ITrainingObserver, IDisposable
{
    /// <summary>Called when the run has ended, also early.</summary>
    /// <param name="summary">Its results.</param>
    /// <param name="result">All its measurements.</param>
    void OnEnd(RunSummary summary, TrainingResult result)
    {
    }

    /// <inheritdoc/>
    void IDisposable.Dispose()
    {
    }
}
