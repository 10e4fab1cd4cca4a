using FeedbackKernels.Reports;
using FeedbackKernels.Training;

namespace FeedbackKernels.Runs;

/// <summary>Something that a run writes: one file of its folder, or another place. Sinks do not know of each other.</summary>
internal interface IRunSink : ITrainingObserver, IDisposable
{
    /// <summary>Called once before the first step. A sink writes its files so that they hold what belongs to the measurements so far and
    /// nothing that came after them: a run that goes on may go on from before its last line.</summary>
    /// <param name="measured">What the run has measured: nothing, if it is new.</param>
    /// <param name="step">Steps done: 0, if it is new.</param>
    void OnStart(TrainingResult measured, int step)
    {
    }

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
