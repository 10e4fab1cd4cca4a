using System.Globalization;
using System.Text;
using FeedbackKernels.Training;
using OxyPlot;

namespace FeedbackKernels.Reports;

/// <summary>The page of a study: means over seeds with their intervals, and curves with bands. It may be of a study that still goes
/// on.</summary>
internal static class StudyPage
{
    // From here on, values are evenly spaced by their logarithms.
    private const double LogarithmicFrom = 10;

    // Distance of two rules at the same value, as a fraction of the axis.
    private const double BesideEachOther = 0.006;

    /// <summary>The page.</summary>
    /// <param name="results">The results so far.</param>
    public static string Of(StudyResults results)
    {
        var page = new ChartPage();
        StudyOutline outline = results.Outline;
        var body = new StringBuilder();
        body.Append(Explanation(results)).Append(Tables(results)).Append(Troubles(results));
        if (outline.Option is not null) body.Append(Sweep(page, results));
        foreach (string? value in outline.Option is null ? (string?[])[null] : [.. outline.OrderedValues]) body.Append(OverEpochs(page, results, value));
        body.Append(CultureInfo.InvariantCulture, $"<h2>Command</h2>\n<pre>{HtmlReport.Text(outline.Command)}</pre>\n");
        body.Append(CultureInfo.InvariantCulture, $"<h2>Configuration of the first run</h2>\n<pre>{HtmlReport.Text(outline.Configuration)}</pre>\n");
        string swept = outline.Option is { } option ? $", {Count(outline.Values.Count, "value")} of {option}" : "";
        return HtmlReport.Page(
            $"{outline.Title}: {Count(outline.Labels.Count, "learning rule")}, {Count(outline.Seeds.Count, "seed")}{swept}", Progress(results), body.ToString());
    }

    private static string Progress(StudyResults results)
    {
        string text = Text($"{results.Runs.Count(run => run.Status == RunStatus.Finished)} of {results.Outline.Runs} runs have finished");
        foreach (RunStatus status in (RunStatus[])[RunStatus.Diverged, RunStatus.Failed, RunStatus.Stopped])
        {
            int count = results.Runs.Count(run => run.Status == status);
            if (count > 0) text += Text($", {count} {status.ToString().ToLowerInvariant()}");
        }

        return text;
    }

    private static string Explanation(StudyResults results)
    {
        var text = new StringBuilder("<p>");
        int most = results.Groups.Select(g => g.Finished.Count()).DefaultIfEmpty(0).Max();
        text.Append(most > 1
            ? "Means over seeds, with 95 % intervals of the mean (Student's t distribution, n - 1 degrees of freedom). "
            : "One seed: there is no interval, and a difference between two rules may be chance. ");
        if (results.Outline.Baseline is { } baseline)
            text.Append(CultureInfo.InvariantCulture, $"Differences are from {HtmlReport.Text(baseline)}, seed by seed: each seed gives all rules the same initial weights and the same images. ");
        if (results.Runs.Any(run => run.Status is RunStatus.Diverged or RunStatus.Failed)) text.Append("Means leave out runs that diverged or failed. ");
        if (results.Outline.Attacks.Count > 0)
            text.Append(CultureInfo.InvariantCulture, $"Attacks (on each test image itself, without its mirror image): {HtmlReport.Text(string.Join("; ", results.Outline.Attacks.Select(attack => attack.Describe())))}. ");
        return text.Append("Angles are the largest of all layers.</p>\n").ToString();
    }

    private static string Tables(StudyResults results)
    {
        bool compared = results.Outline.Baseline is not null;
        (string, Func<StudyGroup, string>)[] accuracy =
        [
            ("n", NumberOfRuns), ("top-1", g => Cell(g.Of(StudyMeasure.TestTop1), 100, "F2", " %")),
            .. compared ? [("difference, points", g => Cell(g.DifferenceOf(StudyMeasure.TestTop1), 100, "+0.00;-0.00;0.00", ""))] : ((string, Func<StudyGroup, string>)[])[],
            .. results.Outline.Attacks.SelectMany(attack => UnderAttack(attack.Kind, compared)),
            ("best top-1", g => Cell(g.Of(StudyMeasure.BestTestTop1), 100, "F2", " %")), ("train loss", g => Cell(g.Of(StudyMeasure.TrainLoss), 1, "F4", "")),
            .. compared ? [("difference", g => Cell(g.DifferenceOf(StudyMeasure.TrainLoss), 1, "+0.0000;-0.0000;0.0000", ""))] : ((string, Func<StudyGroup, string>)[])[],
        ];
        (string, Func<StudyGroup, string>)[] others =
        [
            ("W–B angle, largest", g => Cell(g.Of(StudyMeasure.LargestWeightAngle), 1, "F1", "°")), ("at the end", g => Cell(g.Of(StudyMeasure.LastWeightAngle), 1, "F1", "°")),
            ("error angle, largest", g => Cell(g.Of(StudyMeasure.LargestDeltaAngle), 1, "F1", "°")), ("at the end", g => Cell(g.Of(StudyMeasure.LastDeltaAngle), 1, "F1", "°")),
            ("norm ratio", g => Cell(g.Of(StudyMeasure.NormRatio), 1, "F3", "")),
            ("images/s", g => Plain(g.Of(StudyMeasure.ImagesPerSecond).Mean, "F0")), ("seconds", g => Plain(g.Of(StudyMeasure.Seconds).Mean, "F0")),
        ];
        return Table(results, accuracy) + Table(results, others);
    }

    private static IEnumerable<(string, Func<StudyGroup, string>)> UnderAttack(AttackKind kind, bool compared)
    {
        StudyMeasure measure = StudyMeasure.Under(kind);
        yield return ($"top-1 under {Attack.NameOf(kind)}", g => Cell(g.Of(measure), 100, "F2", " %") + g.PartOf(measure));
        if (compared) yield return ("difference, points", g => Cell(g.DifferenceOf(measure), 100, "+0.00;-0.00;0.00", ""));
    }

    private static string Table(StudyResults results, (string Title, Func<StudyGroup, string> Of)[] columns)
    {
        string swept = results.Outline.Option is { } option ? $"<th>{HtmlReport.Text(Name(option))}</th>" : "";
        var html = new StringBuilder($"<table class=\"study\"><tr><th>rule</th>{swept}{string.Concat(columns.Select(column => $"<th>{column.Title}</th>"))}</tr>\n");
        foreach (StudyGroup group in results.Groups)
        {
            string value = swept.Length == 0 ? "" : $"<td>{HtmlReport.Text(group.Value ?? "no effect")}</td>";
            html.Append(CultureInfo.InvariantCulture, $"<tr><td>{HtmlReport.Text(group.Label)}</td>{value}{string.Concat(columns.Select(column => $"<td>{column.Of(group)}</td>"))}</tr>\n");
        }

        return html.Append("</table>\n").ToString();
    }

    private static string NumberOfRuns(StudyGroup group)
    {
        int lost = group.Runs.Count(run => run.Status is RunStatus.Diverged or RunStatus.Failed);
        return Text($"{group.Finished.Count()}") + (lost > 0 ? Text($", {lost} lost") : "");
    }

    /// <summary>A mean with half its interval.</summary>
    private static string Cell(Interval interval, double unit, string format, string suffix)
    {
        if (interval.Count == 0) return "–";
        string half = interval.HasWidth ? $" ± {Plain(unit * interval.Half, format.Split(';')[0].TrimStart('+'))}" : "";
        return $"{Plain(unit * interval.Mean, format)}{half}{suffix}";
    }

    private static string Troubles(StudyResults results)
    {
        StudiedRun[] lost = [.. results.Runs.Where(run => run.Failure is not null)];
        return lost.Length == 0 ? "" : $"<ul>{string.Concat(lost.Select(run => $"<li>{HtmlReport.Text(run.Folder)} {run.Status.ToString().ToLowerInvariant()}: {HtmlReport.Text(run.Failure!)}</li>\n"))}</ul>\n";
    }

    private static string Sweep(ChartPage page, StudyResults results)
    {
        StudyOutline outline = results.Outline;
        (ChartAxis axis, Func<string, double> on) = AxisOf(outline);
        double[] places = [.. outline.Values.Select(on)];
        // Bars of several rules at one value would hide each other: each rule is a little to the right of the one before.
        double PlaceOf(string value, int rule) => axis.IsLogarithmic
            ? on(value) * Math.Pow(places.Max() / places.Min(), BesideEachOther * rule)
            : on(value) + BesideEachOther * rule * (places.Max() - places.Min());
        string[] charts =
        [
            page.Figure($"Test accuracy over {Name(outline.Option!)}", axis, "top-1, %", OverValues(results, StudyMeasure.TestTop1, 100, PlaceOf)),
            .. outline.Attacks.Select(attack => page.Figure(
                $"Test accuracy under {Attack.NameOf(attack.Kind)} over {Name(outline.Option!)}", axis, "top-1, %", OverValues(results, StudyMeasure.Under(attack.Kind), 100, PlaceOf))),
            page.Figure($"Training loss over {Name(outline.Option!)}", axis, "loss", OverValues(results, StudyMeasure.TrainLoss, 1, PlaceOf)),
            page.Figure($"Largest angle between W and Bᵀ over {Name(outline.Option!)}", axis, "degrees", OverValues(results, StudyMeasure.LargestWeightAngle, 1, PlaceOf), 0),
            page.Figure($"Largest angle between the error and backprop's over {Name(outline.Option!)}", axis, "degrees", OverValues(results, StudyMeasure.LargestDeltaAngle, 1, PlaceOf), 0),
        ];
        return $"<h2>{HtmlReport.Text(Name(outline.Option!))}</h2>\n{Peaks(results)}{HtmlReport.Charts(charts)}";
    }

    private static string Peaks(StudyResults results)
    {
        var lines = new StringBuilder();
        foreach (string label in results.Outline.Labels)
        {
            if (results.PeakOf(label) is not { } peak) continue;
            string factor = peak.Low > 0 ? Text($", a factor of {peak.High / peak.Low:G3}") : "";
            string width = peak.Low == peak.High ? "no value beside it is within 1 point" : Text($"within 1 point of it from {peak.Low:R} to {peak.High:R}{factor}");
            lines.Append(CultureInfo.InvariantCulture, $"<li>{HtmlReport.Text(label)}: best at {peak.Best:R}; {width}</li>\n");
        }

        return lines.Length == 0 ? "" : $"<p>Width of the peak, among the values tried:</p>\n<ul>{lines}</ul>\n";
    }

    /// <summary>The axis of the swept values, and where on it a value is.</summary>
    private static (ChartAxis Axis, Func<string, double> Place) AxisOf(StudyOutline outline)
    {
        double?[] numbers = [.. outline.OrderedValues.Select(StudyOutline.NumberOf)];
        string title = Name(outline.Option!);
        if (numbers.All(number => number is not null))
        {
            double least = numbers.Min()!.Value, most = numbers.Max()!.Value;
            if (least > 0) return (new ChartAxis(title) { IsLogarithmic = most / least >= LogarithmicFrom }, value => StudyOutline.NumberOf(value)!.Value);
            // Zero has no place among decades.
            double smallest = numbers.Where(number => number > 0).DefaultIfEmpty(most).Min()!.Value;
            if (least < 0 || most / smallest < LogarithmicFrom) return (new ChartAxis(title), value => StudyOutline.NumberOf(value)!.Value);
        }

        return (new ChartAxis(title) { Names = outline.OrderedValues }, value => outline.OrderedValues.ToList().IndexOf(value));
    }

    private static Curve[] OverValues(StudyResults results, StudyMeasure measure, double unit, Func<string, int, double> place) =>
    [
        .. results.Outline.Labels.Select((label, i) =>
        {
            (double X, Interval Y)[] points =
            [
                .. results.Outline.OrderedValues.Select(value => (place(value, i), results.Find(label, value)?.Of(measure) ?? Interval.Of())).Where(p => p.Item2.Count > 0),
            ];
            return CurveOf(label, i, points, unit) with { HasBars = true };
        }).Where(curve => curve.Points.Any()),
    ];

    private static string OverEpochs(ChartPage page, StudyResults results, string? value)
    {
        string heading = value is null ? "Over epochs" : $"Over epochs, {Name(results.Outline.Option!)} {value}";
        List<string> charts =
        [
            page.Figure("Test accuracy", "epoch", "top-1, %", Curves(run => run.Epochs.Select(e => (e.Epoch, 100 * e.TestTop1)))),
            page.Figure("Training loss", "epoch", "loss", Curves(run => run.Epochs.Select(e => (e.Epoch, e.TrainLoss)))),
        ];
        AddAngles("Angle between W and Bᵀ, largest of all layers", a => a.LargestWeightAngle);
        AddAngles("Angle between the error and backprop's, largest of all layers", a => a.LargestDeltaAngle);
        return $"<h2>{HtmlReport.Text(heading)}</h2>\n{HtmlReport.Charts(charts)}";

        Curve[] Curves(Func<StudiedRun, IEnumerable<(double, double)>> points) =>
        [
            .. results.Outline.Labels.Select((label, i) => CurveOf(label, i, results.Find(label, value)?.Curve(points) ?? [], 1)).Where(curve => curve.Points.Any()),
        ];

        void AddAngles(string title, Func<StudiedAngles, double> angle)
        {
            Curve[] curves = Curves(run => run.Angles.Select(a => (a.Epoch, angle(a))));
            if (curves.Length > 0) charts.Add(page.Figure(title, "epoch", "degrees", curves, 0));
        }
    }

    private static Curve CurveOf(string label, int number, IReadOnlyList<(double X, Interval Y)> points, double unit)
    {
        OxyColor color = ChartPage.Color(number);
        return new Curve(label, points.Select(p => (p.X, unit * p.Y.Mean)), color)
        {
            Intervals = [.. points.Select(p => (p.X, unit * p.Y.Low, unit * p.Y.High))],
            IsDashed = ChartPage.IsRepeated(number),
        };
    }

    /// <summary>An option without its dashes.</summary>
    private static string Name(string option) => option.TrimStart('-');

    /// <summary>A number and what it counts, in the singular for 1.</summary>
    internal static string Count(int count, string what) => Text($"{count} {what}{(count == 1 ? "" : "s")}");

    private static string Plain(double value, string format) => double.IsFinite(value) ? value.ToString(format, CultureInfo.InvariantCulture) : "–";

    private static string Text(FormattableString text) => FormattableString.Invariant(text);
}
