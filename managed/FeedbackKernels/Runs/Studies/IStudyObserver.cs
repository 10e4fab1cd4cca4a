using FeedbackKernels.Reports;
using FeedbackKernels.Training;

namespace FeedbackKernels.Runs;

/// <summary>Follows a study. Where several runs go on at once, calls come from several threads.</summary>
internal interface IStudyObserver
{
    /// <summary>Called for each run; must call <paramref name="run"/> and return what that returns.</summary>
    /// <param name="cell">The run.</param>
    /// <param name="number">Its number among the runs that this call of the study does, from 1.</param>
    /// <param name="run">The run; takes what follows it, or null.</param>
    StudiedRun Show(StudyCell cell, int number, Func<ITrainingObserver?, StudiedRun> run);

    /// <summary>Called after a run, when the tables and the page have it.</summary>
    /// <param name="run">The run.</param>
    /// <param name="left">Time that the other runs will take; null where none has ended yet.</param>
    void OnEnd(StudiedRun run, TimeSpan? left);

    /// <summary>Called for an error that ended a run, and does not end the study.</summary>
    /// <param name="cell">The run.</param>
    /// <param name="error">The error.</param>
    void OnError(StudyCell cell, Exception error);
}
