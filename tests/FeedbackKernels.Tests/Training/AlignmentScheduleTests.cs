using FeedbackKernels.Training;

namespace FeedbackKernels.Tests.Training;

/// <summary>When a run measures the alignment, by hand.</summary>
public sealed class AlignmentScheduleTests
{
    [Theory]
    [InlineData(0, 3, 4, new int[0])]
    [InlineData(1, 3, 4, new[] { 0, 4, 8, 12 })]
    [InlineData(2, 3, 4, new[] { 0, 8, 12 })]
    [InlineData(0.25, 2, 4, new[] { 0, 1, 2, 3, 4, 5, 6, 7, 8 })]
    [InlineData(0.5, 2, 4, new[] { 0, 2, 4, 6, 8 })]
    [InlineData(1.5, 4, 4, new[] { 0, 6, 12, 16 })]
    // Steps 4/3, 8/3, 4, ...: the first whole step from there on.
    [InlineData(1 / 3.0, 2, 4, new[] { 0, 2, 3, 4, 6, 7, 8 })]
    // An interval is no shorter than a step.
    [InlineData(0.001, 1, 3, new[] { 0, 1, 2, 3 })]
    [InlineData(100, 2, 3, new[] { 0, 6 })]
    public void A_run_measures_at_these_steps(double every, int epochs, int stepsPerEpoch, int[] steps)
    {
        var schedule = new AlignmentSchedule(every, epochs, stepsPerEpoch);
        Assert.Equal(steps, Enumerable.Range(0, epochs * stepsPerEpoch + 1).Where(step => schedule.Includes(step)));
        Assert.Equal(steps.Length, schedule.Count);
    }

    [Theory]
    [InlineData(0.1, 390)]
    [InlineData(0.7, 781)]
    [InlineData(1 / 3.0, 5004)]
    public void The_ends_of_epochs_are_met_where_the_fraction_says_so_also_after_many(double every, int stepsPerEpoch)
    {
        const int epochs = 700;
        var schedule = new AlignmentSchedule(every, epochs, stepsPerEpoch);
        int[] ends = [.. Enumerable.Range(1, epochs).Where(epoch => schedule.Includes((long)epoch * stepsPerEpoch))];
        int each = every == 0.7 ? 7 : 1;
        // The step that ends an interval is rounded up, so that other ends of epochs may be met too.
        Assert.All(Enumerable.Range(1, epochs / each), i => Assert.Contains(i * each, ends));
        Assert.Equal(1 + (int)Math.Round(epochs / every), schedule.Count);
    }
}
