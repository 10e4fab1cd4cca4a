namespace FeedbackKernels.Training;

/// <summary>Half a cosine from peak/25 up to the peak over 30 % of the run, another from there to 0 (Smith and Topin 2019).</summary>
internal sealed class OneCycleSchedule() : ScheduleKind("one-cycle", "a twenty-fifth of the peak, up to the peak over 30 % of the run, then down to 0")
{
    private const double RisingShare = 0.3, StartDivisor = 25;

    public override bool HasWarmUp => false;

    internal override double Rate(LearningRateSchedule schedule, in SchedulePosition position)
    {
        double start = schedule.Peak / StartDivisor, progress = position.Progress;
        return progress < RisingShare
            ? start + (schedule.Peak - start) * (1 - HalfCosine(progress / RisingShare))
            : schedule.Peak * HalfCosine((progress - RisingShare) / (1 - RisingShare));
    }
}
