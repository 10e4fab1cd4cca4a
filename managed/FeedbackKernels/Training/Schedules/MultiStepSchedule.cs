namespace FeedbackKernels.Training;

/// <summary>The peak, multiplied by <see cref="LearningRateSchedule.Gamma"/> at each milestone.</summary>
internal sealed class MultiStepSchedule() : ScheduleKind("multi-step", "the peak, multiplied by --gamma at each of the --milestones")
{
    public override bool HasMilestones => true;

    internal override double Rate(LearningRateSchedule schedule, in SchedulePosition position)
    {
        int passed = 0;
        IReadOnlyList<double> milestones = schedule.Milestones ?? LearningRateSchedule.DefaultMilestones;
        for (int i = 0; i < milestones.Count; i++)
        {
            double start = milestones[i] < 1 ? milestones[i] * position.Total : milestones[i] * position.StepsPerEpoch;
            if (position.Step >= start) passed++;
        }

        return schedule.Peak * Math.Pow(schedule.Gamma, passed);
    }
}
