namespace FeedbackKernels.Training;

/// <summary>When a run measures the alignment: before its first step, after every so many epochs or each fraction of an epoch, and at its
/// end.</summary>
/// <param name="every">Epochs from one measurement to the next; a fraction is rounded to whole steps. 0 for none.</param>
/// <param name="epochs">Epochs of the run.</param>
/// <param name="stepsPerEpoch">Steps of an epoch.</param>
internal readonly struct AlignmentSchedule(double every, int epochs, int stepsPerEpoch)
{
    private readonly long _steps = (long)epochs * stepsPerEpoch;

    /// <summary>Whether the run measures at all.</summary>
    public bool IsOn => every > 0;

    /// <summary>Number of measurements in the run.</summary>
    public long Count => IsOn ? 1 + Intervals(_steps) + (EndsInterval(_steps) ? 0 : 1) : 0;

    /// <summary>Whether the run measures after a step.</summary>
    /// <param name="step">Steps done.</param>
    public bool Includes(long step) => IsOn && (step == 0 || step == _steps || EndsInterval(step));

    private bool EndsInterval(long step) => Intervals(step) > Intervals(step - 1);

    /// <summary>Intervals that are over after a step; none is shorter than a step.</summary>
    private long Intervals(long step)
    {
        double interval = Math.Max(1, every * stepsPerEpoch);
        // Three times a third of an epoch is a whole one: rounding in the division must not move the measurement behind the epoch's end.
        return (long)Math.Floor((step / interval) + 1e-9);
    }
}
