using System.Globalization;
using System.Text.RegularExpressions;
using FeedbackKernels.Reports;
using FeedbackKernels.Runs;

namespace FeedbackKernels.Tests.Reports;

/// <summary>What a study says of runs whose results are given.</summary>
public sealed class StudyPageTests
{
    [Fact]
    public void Differences_are_taken_seed_by_seed()
    {
        // The seeds differ much and the rules little: each pair differs by 0.01, 0.02, 0.03.
        StudyResults results = Results(
            Outline(null), Run("bp", null, 1, 0.50), Run("bp", null, 2, 0.70), Run("bp", null, 3, 0.90), Run("bp", null, 4, 0.10),
            Run("kp", null, 3, 0.87), Run("kp", null, 1, 0.49), Run("kp", null, 2, 0.68));
        Interval difference = results.Find("kp", null)!.DifferenceOf(StudyMeasure.TestTop1);
        Assert.Equal(3, difference.Count);
        Assert.Equal(-0.02, difference.Mean, 1e-12);
        // The deviation is 0.01, its error 0.01 / sqrt(3), and the factor of two degrees of freedom 4.303.
        Assert.Equal(4.302653 * 0.01 / Math.Sqrt(3), difference.Half, 1e-7);
        Assert.Equal(4, results.Find("bp", null)!.Of(StudyMeasure.TestTop1).Count);
        Assert.Equal(0, results.Find("bp", null)!.DifferenceOf(StudyMeasure.TestTop1).Count);
        // Loss is 1 - accuracy here: the difference has the other sign.
        Assert.Equal(0.02, results.Find("kp", null)!.DifferenceOf(StudyMeasure.TrainLoss).Mean, 1e-12);
        string page = StudyPage.Of(results);
        Assert.Contains("<td>-2.00 ± 2.48</td>", page);
        Assert.Contains("<td>68.00 ± 47.20 %</td>", page);
        Assert.Contains("<td>+0.0200 ± 0.0248</td>", page);
    }

    [Fact]
    public void A_pair_with_a_lost_run_does_not_count()
    {
        StudyResults results = Results(
            Outline(null), Run("bp", null, 1, 0.5), Run("bp", null, 2, 0.1) with { Status = RunStatus.Diverged, Failure = "at step 3: weights of fc1" },
            Run("kp", null, 1, 0.4), Run("kp", null, 2, 0.4), Run("kp", null, 3, 0.4) with { Status = RunStatus.Stopped });
        Assert.Equal((1, 0.5), results.Find("bp", null)!.Of(StudyMeasure.TestTop1) is var mean ? (mean.Count, mean.Mean) : default);
        Assert.Equal(2, results.Find("kp", null)!.Of(StudyMeasure.TestTop1).Count);
        Assert.Equal(1, results.Find("kp", null)!.DifferenceOf(StudyMeasure.TestTop1).Count);
        string page = StudyPage.Of(results);
        Assert.Contains("3 of 6 runs have finished, 1 diverged, 1 stopped", page);
        Assert.Contains("<td>1, 1 lost</td>", page);
        Assert.Contains("diverged: at step 3: weights of fc1", page);
    }

    [Fact]
    public void With_one_seed_there_is_no_interval_and_the_page_says_so()
    {
        string page = StudyPage.Of(Results(Outline(null, seeds: 1), Run("bp", null, 1, 0.5), Run("kp", null, 1, 0.4)));
        Assert.Contains("One seed: there is no interval", page);
        Assert.DoesNotContain("±", page);
        Assert.Contains("<td>-10.00</td>", page);
        Assert.DoesNotContain("One seed", StudyPage.Of(Results(Outline(null), Run("bp", null, 1, 0.5), Run("bp", null, 2, 0.4))));
    }

    [Fact]
    public void The_peak_is_the_values_around_the_best_within_a_point()
    {
        string[] values = ["0.4", "0.05", "0.1", "0.2", "0.0125", "0.025"];
        // By size of the value: 0.805, 0.70, 0.7925, 0.80, 0.791, 0.60. The first is as good as the best, but not beside it.
        StudyOutline outline = Outline("--lr", values);
        StudyResults results = Results(
            outline, Run("bp", "0.0125", 1, 0.795), Run("bp", "0.025", 1, 0.70), Run("bp", "0.05", 1, 0.7925), Run("bp", "0.1", 1, 0.80), Run("bp", "0.2", 1, 0.791), Run("bp", "0.4", 1, 0.60),
            Run("kp", "0.1", 1, 0.5));
        Assert.Equal((0.05, 0.2, 0.1), results.PeakOf("bp"));
        // One value has no width.
        Assert.Null(results.PeakOf("kp"));
        Assert.Contains("bp: best at 0.1; within 1 point of it from 0.05 to 0.2, a factor of 4", StudyPage.Of(results));
        Assert.Equal(["0.0125", "0.025", "0.05", "0.1", "0.2", "0.4"], outline.OrderedValues);
    }

    [Fact]
    public void Models_stand_in_the_order_of_their_depth()
    {
        StudyOutline outline = Outline("--model", ["resnet110", "resnet20", "resnet56"]);
        Assert.Equal(["resnet20", "resnet56", "resnet110"], outline.OrderedValues);
        StudyResults results = Results(outline, Run("bp", "resnet110", 1, 0.5), Run("bp", "resnet56", 1, 0.6), Run("bp", "resnet20", 1, 0.7));
        Assert.Null(results.PeakOf("bp"));
        string chart = ChartOf(results, "Test accuracy over model");
        int[] places = [.. outline.OrderedValues.Select(model => chart.IndexOf($">{model}<", StringComparison.Ordinal))];
        Assert.True(places[0] > 0 && places[0] < places[1] && places[1] < places[2], string.Join(' ', places));
        // The curve falls from left to right.
        double[] heights = HeightsOf(chart);
        Assert.True(heights[0] < heights[1] && heights[1] < heights[2], string.Join(' ', heights));
    }

    [Theory]
    [InlineData("0.1,0.2,0.4", false)]
    [InlineData("0.001,0.01,0.1", true)]
    public void Values_that_span_decades_have_a_logarithmic_axis(string values, bool logarithmic)
    {
        string[] all = values.Split(',');
        double[] x = XsOf(ChartOf(Results(Outline("--lr", all), [.. all.Select(value => Run("bp", value, 1, 0.5))]), "Test accuracy over lr"));
        // Factors of the same size are equally far apart on a logarithmic axis alone.
        Assert.Equal(logarithmic, Math.Abs((x[1] - x[0]) - (x[2] - x[1])) < 1);
    }

    [Fact]
    public void Zero_among_decades_gets_a_place_of_its_own()
    {
        double[] x = XsOf(ChartOf(Results(Outline("--weight-decay", ["0", "0.0001", "0.01"]), Run("bp", "0", 1, 0.5), Run("bp", "0.0001", 1, 0.5), Run("bp", "0.01", 1, 0.5)), "Test accuracy over weight-decay"));
        Assert.Equal(x[1] - x[0], x[2] - x[1], 1.0);
    }

    [Fact]
    public void A_rule_that_the_option_has_no_effect_on_is_the_same_at_each_value()
    {
        StudyResults results = Results(
            Outline("--mirror-samples", ["16", "64"]), Run("bp", null, 1, 0.5), Run("bp", null, 2, 0.6), Run("kp", "16", 1, 0.4), Run("kp", "16", 2, 0.4), Run("kp", "64", 1, 0.45), Run("kp", "64", 2, 0.5));
        Assert.Equal(-0.15, results.Find("kp", "16")!.DifferenceOf(StudyMeasure.TestTop1).Mean, 1e-12);
        Assert.Equal(-0.075, results.Find("kp", "64")!.DifferenceOf(StudyMeasure.TestTop1).Mean, 1e-12);
        Assert.Contains("<td>bp</td><td>no effect</td><td>2</td>", StudyPage.Of(results));
        // Its curve has a point at each value.
        Assert.Equal(2, XsOf(ChartOf(results, "Test accuracy over mirror-samples")).Length);
    }

    [Fact]
    public void Bands_are_the_interval_at_each_epoch()
    {
        StudyResults results = Results(Outline(null), Run("bp", null, 1, 0.5), Run("bp", null, 2, 0.7));
        IReadOnlyList<(double X, Interval Mean)> curve = results.Find("bp", null)!.Curve(run => run.Epochs.Select(e => (e.Epoch, e.TestTop1)));
        Assert.Equal([1.0, 2.0], curve.Select(p => p.X));
        Assert.Equal(0.6, curve[1].Mean.Mean, 1e-12);
        Assert.Equal(12.7062 * 0.1, curve[1].Mean.Half, 1e-4);
        Assert.Contains("<polygon", ChartOf(results, "Test accuracy"));
        // One seed has no band.
        Assert.DoesNotContain("<polygon", ChartOf(Results(Outline(null, seeds: 1), Run("bp", null, 1, 0.5)), "Test accuracy"));
    }

    [Fact]
    public void The_page_needs_nothing_from_elsewhere_and_escapes_texts()
    {
        StudyOutline outline = Outline(null) with { Title = "a <b> & c", Command = "feedback study --rules 'x=kp'" };
        string page = StudyPage.Of(Results(outline, Run("bp", null, 1, 0.5)));
        Assert.Contains("a &lt;b&gt; &amp; c", page);
        Assert.Contains("feedback study --rules &#39;x=kp&#39;", page);
        Assert.DoesNotContain("src=", page);
        Assert.DoesNotContain("href=", page);
        Assert.DoesNotContain("<script", page);
    }

    [Fact]
    public void Angles_are_the_largest_after_the_first_step()
    {
        StudiedRun run = Run("kp", null, 1, 0.5) with
        {
            Angles = [new(0, 0, 90, 80, 1), new(0.5, 5, 30, 20, 1.1), new(1, 10, 10, 25, 1.2)],
        };
        double?[] found = [.. ((StudyMeasure[])[StudyMeasure.LargestWeightAngle, StudyMeasure.LastWeightAngle, StudyMeasure.LargestDeltaAngle, StudyMeasure.LastDeltaAngle, StudyMeasure.NormRatio]).Select(m => m.Of(run))];
        Assert.Equal([30, 10, 25, 25, 1.2], found);
    }

    [Fact]
    public void The_tables_quote_what_a_comma_would_break()
    {
        StudyResults results = Results(
            Outline(null) with { Labels = ["a, \"b\""] }, Run("a, \"b\"", null, 1, 0.5) with { Rule = "bp", Status = RunStatus.Failed, Failure = "no\nmemory, none" });
        string line = StudyTables.Runs(results).Split('\n')[1];
        Assert.StartsWith("\"a, \"\"b\"\"\",bp,", line);
        Assert.Contains(",failed,\"no memory, none\",", line);
    }

    private static StudyOutline Outline(string? option, string[]? values = null, int seeds = 3) => new(
        "net on data", ["bp", "kp"], "bp", option, values ?? [], [.. Enumerable.Range(1, seeds + 1).Select(i => (ulong)i)], 6, "feedback study", "{}");

    private static StudyResults Results(StudyOutline outline, params StudiedRun[] runs) => new(outline, runs);

    private static StudiedRun Run(string label, string? value, ulong seed, double top1) => new(
        label, label, "", value, seed, string.Create(CultureInfo.InvariantCulture, $"{label}/{seed}"), RunStatus.Finished, null,
        new RunSummary("net", label, "data", 2, seed, "cpu", top1, top1, top1, 1 - top1, 1 - top1, null, null, 10, 100, 5, false),
        [new StudiedEpoch(1, 2 - top1, top1 / 2), new StudiedEpoch(2, 1 - top1, top1)], []);

    private static string ChartOf(StudyResults results, string title) =>
        StudyPage.Of(results).Split("<figure>").First(figure => figure.Contains($">{title}<", StringComparison.Ordinal));

    // Curves are polylines with the stroke of a curve; the first is that of the first rule.
    private static double[] XsOf(string chart) => [.. PointsOf(chart).Select(p => p.X)];

    private static double[] HeightsOf(string chart) => [.. PointsOf(chart).Select(p => p.Y)];

    private static (double X, double Y)[] PointsOf(string chart)
    {
        string points = Regex.Matches(chart, "<polyline points=\"([^\"]+)\"[^>]*stroke-width[:=]\"?1.8").Select(m => m.Groups[1].Value).First();
        return [.. points.Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(p => p.Split(',')).Select(p => (double.Parse(p[0], CultureInfo.InvariantCulture), double.Parse(p[1], CultureInfo.InvariantCulture)))];
    }
}
