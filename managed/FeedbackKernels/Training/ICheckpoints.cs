namespace FeedbackKernels.Training;

/// <summary>Saves the state of a run while the run goes on.</summary>
public interface ICheckpoints
{
    /// <summary>Seconds for which steps have waited so far.</summary>
    double SecondsWaited { get; }

    /// <summary>Whether the state should be saved now. Called after each step, so it must be fast.</summary>
    /// <param name="step">Steps done in the run.</param>
    bool IsDue(int step);

    /// <summary>Saves the state. Called between two steps, and at the end of an epoch after its results have been reported.</summary>
    /// <param name="step">Steps done in the run.</param>
    void Save(int step);
}
