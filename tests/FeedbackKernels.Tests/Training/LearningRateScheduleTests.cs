using FeedbackKernels.Training;

namespace FeedbackKernels.Tests.Training;

/// <summary>Settings of schedules: their effect, and which are rejected.</summary>
public class LearningRateScheduleTests
{
    [Theory]
    // Epochs of 4 steps, ten of them.
    [InlineData(new[] { 2.0, 3 }, new[] { 8, 12 })]
    [InlineData(new[] { 0.2, 0.3 }, new[] { 8, 12 })]
    [InlineData(new[] { 1.0 }, new[] { 4 })]
    [InlineData(new[] { 2.5 }, new[] { 10 })]
    [InlineData(new[] { 0.999 }, new int[0])]
    public void Milestones_are_shares_below_1_and_epochs_from_1_on(double[] milestones, int[] steps)
    {
        var schedule = new LearningRateSchedule(ScheduleKind.MultiStep, 1, Milestones: milestones, Gamma: 0.5f);
        schedule.Validate(10);
        float[] rates = [.. Enumerable.Range(0, 40).Select(step => schedule.At(step, 4, 10))];
        int[] falls = [.. Enumerable.Range(1, 39).Where(step => rates[step] < rates[step - 1])];
        Assert.Equal(steps, falls);
        Assert.Equal(MathF.Pow(0.5f, steps.Length), rates[^1]);
    }

    public static TheoryData<string, string, LearningRateSchedule> Wrong() => new()
    {
        { "milestones", "all below 1", new(ScheduleKind.MultiStep, 1, Milestones: [0.5, 2]) },
        { "milestones", "above the one before", new(ScheduleKind.MultiStep, 1, Milestones: [3, 2]) },
        { "milestones", "above the one before", new(ScheduleKind.MultiStep, 1, Milestones: [0.5, 0.5]) },
        { "milestones", "positive", new(ScheduleKind.MultiStep, 1, Milestones: [-0.5]) },
        { "milestones", "positive", new(ScheduleKind.MultiStep, 1, Milestones: [0, 0.5]) },
        { "milestones", "positive", new(ScheduleKind.Cosine, 1, Milestones: [double.NaN]) },
        { "milestones", "one or more", new(ScheduleKind.MultiStep, 1, Milestones: []) },
        { "milestones", "the run has 10 epochs", new(ScheduleKind.MultiStep, 1, Milestones: [5, 10]) },
        { "gamma", "positive", new(ScheduleKind.MultiStep, 1, Gamma: -0.1f) },
        { "gamma", "positive", new(ScheduleKind.MultiStep, 1, Gamma: 0) },
        { "gamma", "positive", new(ScheduleKind.MultiStep, 1, Gamma: float.NaN) },
        { "learning rate", "0 or more", new(ScheduleKind.Constant, -1) },
        { "learning rate", "finite", new(ScheduleKind.Constant, float.PositiveInfinity) },
        { "warm-up", "0 to 10 epochs", new(ScheduleKind.Constant, 1, WarmUpEpochs: 11) },
        { "warm-up", "0 to 10 epochs", new(ScheduleKind.Constant, 1, WarmUpEpochs: -1) },
        { "warm-up", "0 to 10 epochs", new(ScheduleKind.Constant, 1, WarmUpEpochs: double.NaN) },
        { "schedule", "one-cycle", new(null!, 1) },
    };

    [Theory, MemberData(nameof(Wrong))]
    public void Wrong_settings_are_named(string name, string wanted, LearningRateSchedule schedule)
    {
        var e = Assert.Throws<ArgumentOutOfRangeException>(() => (new TrainingOptions { Epochs = 10, Schedule = schedule }).Validate());
        Assert.Equal(name, e.ParamName);
        Assert.Contains(wanted, e.Message);
    }
}
