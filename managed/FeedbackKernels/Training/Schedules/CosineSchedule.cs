namespace FeedbackKernels.Training;

/// <summary>Half a cosine from the peak to 0 (Loshchilov and Hutter 2017).</summary>
internal sealed class CosineSchedule() : ScheduleKind("cosine", "half a cosine from the peak down to 0")
{
    internal override double Rate(LearningRateSchedule schedule, in SchedulePosition position) => schedule.Peak * HalfCosine(position.Progress);
}
