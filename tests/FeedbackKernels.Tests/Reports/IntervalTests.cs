using FeedbackKernels.Reports;

namespace FeedbackKernels.Tests.Reports;

/// <summary>Means with intervals, against tables of Student's t distribution and examples by hand.</summary>
public sealed class IntervalTests
{
    // The 97.5 % column of the usual table, as in the NIST/SEMATECH e-Handbook, 1.3.6.7.2.
    [Theory]
    [InlineData(1, 12.706)]
    [InlineData(2, 4.303)]
    [InlineData(3, 3.182)]
    [InlineData(4, 2.776)]
    [InlineData(5, 2.571)]
    [InlineData(9, 2.262)]
    [InlineData(19, 2.093)]
    [InlineData(30, 2.042)]
    [InlineData(84, 1.989)]
    [InlineData(100, 1.984)]
    public void The_factor_is_that_of_the_tables(int freedom, double factor) => Assert.Equal(factor, Interval.Quantile(freedom), 5e-4);

    // With one and two degrees of freedom the distribution has a closed form.
    [Fact]
    public void The_factor_is_exact_where_it_has_a_closed_form()
    {
        Assert.Equal(Math.Tan(Math.PI * 0.475), Interval.Quantile(1), 1e-9);
        Assert.Equal(0.95 * Math.Sqrt(2 / (1 - 0.95 * 0.95)), Interval.Quantile(2), 1e-9);
    }

    [Fact]
    public void An_example_by_hand()
    {
        // Deviations -4/3, -1/3, 5/3: squares 42/9, variance 21/9, error of the mean sqrt(21/27).
        Interval interval = Interval.Of(1, 2, 4);
        Assert.Equal((3, 7.0 / 3), (interval.Count, interval.Mean));
        Assert.Equal(0.881917, interval.StandardError, 1e-6);
        Assert.Equal(3.794593, interval.Half, 1e-5);
        Assert.Equal(7.0 / 3 - 3.794593, interval.Low, 1e-5);
        Assert.Equal(7.0 / 3 + 3.794593, interval.High, 1e-5);
    }

    [Fact]
    public void One_measurement_has_a_mean_and_no_interval()
    {
        Interval one = Interval.Of(0.75);
        Assert.Equal((1, 0.75, false), (one.Count, one.Mean, one.HasWidth));
        Assert.True(double.IsNaN(one.StandardError) && double.IsNaN(one.Low) && double.IsNaN(one.High));
        Interval none = Interval.Of();
        Assert.Equal((0, false), (none.Count, none.HasWidth));
        Assert.True(double.IsNaN(none.Mean));
    }

    [Fact]
    public void Equal_measurements_have_an_interval_of_no_width() => Assert.Equal((0.5, 0, 0), Interval.Of(0.5, 0.5, 0.5) is var i ? (i.Mean, i.StandardError, i.Half) : default);
}
