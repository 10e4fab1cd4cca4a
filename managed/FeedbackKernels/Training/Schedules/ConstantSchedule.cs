namespace FeedbackKernels.Training;

/// <summary>The peak rate throughout, after the warm-up.</summary>
internal sealed class ConstantSchedule() : ScheduleKind("constant", "the peak throughout")
{
    internal override double Rate(LearningRateSchedule schedule, in SchedulePosition position) => schedule.Peak;
}
