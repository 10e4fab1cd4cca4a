using System.Globalization;
using System.Net;
using System.Text;
using FeedbackKernels.Training;

namespace FeedbackKernels.Reports;

/// <summary>A self-contained HTML page about one run or several: no scripts, nothing loaded from the network.</summary>
public static class HtmlReport
{
    private const string Style =
        """
        body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 1180px; padding: 0 1rem; color: #222; }
        h1 { font-size: 1.5rem; margin-bottom: .2rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
        .sub { color: #666; margin-top: 0; }
        .charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(480px, 1fr)); gap: 1rem; }
        figure { margin: 0; border: 1px solid #e4e4e4; border-radius: 6px; padding: .3rem .6rem .6rem; } figure svg { width: 100%; height: auto; }
        figcaption { text-align: center; font-size: 13px; } figcaption span { margin: 0 .5rem; white-space: nowrap; }
        figcaption i.dashed { background: none !important; border-top: 2px dashed; height: 0 !important; }
        figcaption i { display: inline-block; width: 1.1em; height: .25em; margin-right: .4em; vertical-align: middle; }
        table { border-collapse: collapse; margin: 1rem 0; } th, td { padding: .3rem .8rem; text-align: right; border-bottom: 1px solid #e4e4e4; }
        th:first-child, td:first-child { text-align: left; } th { font-weight: 600; background: #f6f6f6; }
        .study td { white-space: nowrap; }
        .multiples { display: grid; grid-template-columns: repeat(auto-fill, minmax(210px, 1fr)); gap: .5rem; }
        .multiples figure { padding: .2rem; } .legend span { margin-right: 1rem; } .legend i { display: inline-block; width: 1.1em; height: .25em; margin-right: .4em; vertical-align: middle; }
        label { margin-right: 1rem; cursor: pointer; } .charts > figure > div, .multiples div { display: none; }
        pre { background: #f6f6f6; padding: 1rem; border-radius: 6px; overflow-x: auto; font-size: 13px; }
        """;

    // Without a script: a radio button for each axis comes before the charts, and the one that is checked shows its drawings.
    private static readonly string AxisStyle = string.Concat(
        RunAxis.Names.Select(name => $"#over-{name}:checked ~ .charts .by-{name}, #over-{name}:checked ~ .multiples .by-{name} {{ display: block; }}\n"));

    private static readonly string AxisSwitch = string.Concat(RunAxis.Names.Select((name, i) =>
        $"<input type=\"radio\" name=\"axis\" id=\"over-{name}\"{(i == 0 ? " checked" : "")}><label for=\"over-{name}\">over {name}</label>")) + "\n";

    /// <summary>The report of one run, which may still go on.</summary>
    /// <param name="run">Its results.</param>
    public static string OfRun(ReportedRun run)
    {
        ArgumentNullException.ThrowIfNull(run);
        (RunSummary summary, TrainingResult result, _, _) = run;
        var page = new ChartPage();
        List<string> charts =
        [
            page.OverRun("Loss", "loss", [EpochCurve("train", run, e => e.TrainLoss, 0), EpochCurve("test", run, e => e.TestLoss, 1)], lowest: 0),
            page.OverRun(
                "Accuracy", "%",
                [EpochCurve("train top-1", run, e => 100 * e.TrainTop1, 0), EpochCurve("test top-1", run, e => 100 * e.TestTop1, 1), EpochCurve("test top-5", run, e => 100 * e.TestTop5, 4)],
                lowest: 0, highest: 100),
        ];
        if (result.Alignment.Count > 0)
        {
            charts.Add(LayerChart(page, "Angle between W and Bᵀ", "degrees", result, a => a.WeightAngle));
            charts.Add(LayerChart(page, "Angle between the error and backprop's", "degrees", result, a => a.DeltaAngle));
            charts.Add(LayerChart(page, "Norm of B over norm of W", "ratio", result, a => a.NormRatio));
        }

        return Page(
            $"{summary.Model}, {summary.Rule}, {summary.Data}",
            $"{Progress(run)}, seed {summary.Seed}, {summary.Backend}",
            SummaryTable([summary]) + AxisSwitch + Charts(charts) + Multiples(page, result) + Configuration(run));
    }

    /// <summary>The report of several runs side by side.</summary>
    /// <param name="runs">Their results, in the order of the page.</param>
    public static string OfComparison(IReadOnlyList<ReportedRun> runs)
    {
        ArgumentNullException.ThrowIfNull(runs);
        var page = new ChartPage();
        List<string> charts =
        [
            RunChart("Test accuracy", "top-1, %", r => EpochPoints(r, e => 100 * e.TestTop1), 100),
            RunChart("Training loss", "loss", r => EpochPoints(r, e => e.TrainLoss)),
            RunChart("Test loss", "loss", r => EpochPoints(r, e => e.TestLoss)),
            RunChart("Angle between W and Bᵀ, mean over layers", "degrees", r => MeanOverLayers(r.Result, a => a.WeightAngle)),
            RunChart("Angle between the error and backprop's, mean over layers", "degrees", r => MeanOverLayers(r.Result, a => a.DeltaAngle)),
            LastByLayer("Angle between W and Bᵀ by layer, at the end", a => a.WeightAngle),
            LastByLayer("Angle between the error and backprop's by layer, at the end", a => a.DeltaAngle),
        ];
        RunSummary first = runs[0].Summary;
        return Page(
            $"{first.Model} on {first.Data}: {runs.Count} learning rules",
            $"{runs[0].Epochs} epochs, seed {first.Seed}, same initial weights and same order of images; {first.Backend}",
            SummaryTable([.. runs.Select(r => r.Summary)]) + AxisSwitch + Charts(charts) + string.Concat(runs.Select(Configuration)));

        string RunChart(string title, string yTitle, Func<ReportedRun, IEnumerable<RunPoint>> points, double? highest = null) =>
            page.OverRun(title, yTitle, [.. runs.Select((run, i) => new RunCurve(run.Summary.Rule, [.. points(run)], ChartPage.Color(i)))], 0, highest);

        string LastByLayer(string title, Func<LayerAlignment, double> value) => page.Figure(
            title, "layer", "degrees",
            [.. runs.Select((run, i) => new Curve(run.Summary.Rule, LastAlignment(run.Result).Select((a, layer) => (layer + 1.0, value(a))), ChartPage.Color(i)))], 0);
    }

    private static string Progress(ReportedRun run)
    {
        int done = run.Summary.Epochs;
        if (run.Summary.Cancelled) return $"stopped before its end, after {done} of {run.Epochs} epochs";
        if (run.Summary.Diverged is not null) return $"diverged after {done} of {run.Epochs} epochs";
        return done < run.Epochs ? $"{done} of {run.Epochs} epochs so far" : $"{done} epochs";
    }

    private static RunCurve EpochCurve(string name, ReportedRun run, Func<EpochReport, double> value, int color) =>
        new(name, [.. EpochPoints(run, value)], ChartPage.Color(color));

    private static IEnumerable<RunPoint> EpochPoints(ReportedRun run, Func<EpochReport, double> value) =>
        run.Result.Epochs.Select(e => new RunPoint(e.Epoch, e.Step, e.Seconds, value(e)));

    private static string LayerChart(ChartPage page, string title, string yTitle, TrainingResult result, Func<LayerAlignment, double> value)
    {
        string[] layers = LayersOf(result);
        // Curves of many layers are told apart by their colours, from the first layer to the last.
        return page.OverRun(
            $"{title}, each layer", yTitle,
            [
                .. layers.Select((layer, i) => LayerCurve(
                    layers.Length <= 12 || i == 0 || i == layers.Length - 1 || i == layers.Length / 2 ? layer : "", result, layer, value) with { Color = ChartPage.Depth(i, layers.Length) }),
            ],
            lowest: 0);
    }

    private static string Multiples(ChartPage page, TrainingResult result)
    {
        if (result.Alignment.Count == 0) return "";
        double largest = result.Alignment.SelectMany(a => (double[])[a.WeightAngle, a.DeltaAngle]).Where(double.IsFinite).DefaultIfEmpty(0).Max();
        (string, IReadOnlyList<RunCurve>)[] charts =
        [
            .. LayersOf(result).Select(layer => (layer, (IReadOnlyList<RunCurve>)
                [LayerCurve("between W and Bᵀ", result, layer, a => a.WeightAngle), LayerCurve("between the error and backprop's", result, layer, a => a.DeltaAngle) with { Color = ChartPage.Color(1) }])),
        ];
        return "<h2>Angles of each layer</h2>\n" + page.Multiples("degrees", charts, Math.Max(10, 10 * Math.Ceiling(largest / 10)));
    }

    private static string[] LayersOf(TrainingResult result) => [.. result.Alignment.Select(a => a.Layer).Distinct()];

    private static RunCurve LayerCurve(string name, TrainingResult result, string layer, Func<LayerAlignment, double> value) =>
        new(name, [.. result.Alignment.Where(a => a.Layer == layer).Select(a => PointOf(result, a, value(a)))], ChartPage.Color(0));

    private static IEnumerable<RunPoint> MeanOverLayers(TrainingResult result, Func<LayerAlignment, double> value) =>
        result.Alignment.Where(a => double.IsFinite(value(a))).GroupBy(a => a.Step).Select(g => PointOf(result, g.First(), g.Average(value)));

    private static RunPoint PointOf(TrainingResult result, LayerAlignment at, double value) => new(at.Epoch, at.Step, SecondsAt(result, at.Epoch), value);

    // A measurement of the alignment has no time of its own. Within an epoch, the time is taken to pass evenly.
    private static double SecondsAt(TrainingResult result, double epoch)
    {
        int before = (int)epoch;
        double start = TimeOf(before);
        return epoch == before ? start : start + (epoch - before) * (TimeOf(before + 1) - start);

        double TimeOf(int end) => end == 0 ? 0 : result.Epochs.FirstOrDefault(e => e.Epoch == end)?.Seconds ?? double.NaN;
    }

    private static IEnumerable<LayerAlignment> LastAlignment(TrainingResult result)
    {
        int last = result.Alignment.Select(a => a.Step).DefaultIfEmpty(0).Max();
        return result.Alignment.Where(a => a.Step == last);
    }

    private static string SummaryTable(IReadOnlyList<RunSummary> runs)
    {
        var html = new StringBuilder("<table><tr><th>rule</th><th>top-1</th><th>top-5</th><th>best top-1</th><th>train loss</th><th>test loss</th><th>W–B angle</th><th>largest W–B</th><th>error angle</th><th>largest error</th><th>images/s</th><th>seconds</th></tr>\n");
        foreach (RunSummary run in runs)
        {
            string diverged = run.Diverged is null ? "" : $"<br>diverged at {Text(run.Diverged)}";
            html.Append(CultureInfo.InvariantCulture, $"<tr><td>{Text(run.Rule)}{diverged}</td><td>{Percent(run.TestTop1)}</td><td>{Percent(run.TestTop5)}</td><td>{Percent(run.BestTestTop1)}</td>");
            html.Append(CultureInfo.InvariantCulture, $"<td>{Number(run.FinalLoss, "F3")}</td><td>{Number(run.TestLoss, "F3")}</td><td>{Degrees(run.WeightAngle)}</td><td>{Degrees(run.LargestWeightAngle)}</td><td>{Degrees(run.DeltaAngle)}</td><td>{Degrees(run.LargestDeltaAngle)}</td>");
            html.Append(CultureInfo.InvariantCulture, $"<td>{run.ImagesPerSecond:F0}</td><td>{run.Seconds:F0}</td></tr>\n");
        }

        return html.Append("</table>\n").ToString();
    }

    /// <summary>Charts side by side.</summary>
    internal static string Charts(IEnumerable<string> charts) => $"<div class=\"charts\">{string.Concat(charts)}</div>\n";

    private static string Configuration(ReportedRun run) =>
        $"<h2>Configuration: {Text(run.Summary.Rule)}</h2>\n<pre>{Text(run.Configuration)}</pre>\n";

    /// <summary>A page in the look of all reports.</summary>
    /// <param name="title">Its title.</param>
    /// <param name="subtitle">The line below it.</param>
    /// <param name="body">The rest, as HTML.</param>
    internal static string Page(string title, string subtitle, string body) =>
        $"""
        <!doctype html>
        <html lang="en">
        <head><meta charset="utf-8"><title>{Text(title)}</title><style>
        {Style}
        {AxisStyle}</style></head>
        <body>
        <h1>{Text(title)}</h1>
        <p class="sub">{Text(subtitle)}</p>
        {body}
        </body>
        </html>

        """;

    /// <summary>A text as HTML.</summary>
    internal static string Text(string text) => WebUtility.HtmlEncode(text);

    /// <summary>A fraction as a percentage.</summary>
    internal static string Percent(double? share) => share is { } s ? (100 * s).ToString("F2", CultureInfo.InvariantCulture) + " %" : "–";

    /// <summary>An angle.</summary>
    internal static string Degrees(double? angle) => angle is { } a ? a.ToString("F1", CultureInfo.InvariantCulture) + "°" : "–";

    /// <summary>A number; a dash for none.</summary>
    internal static string Number(double? value, string format) => value?.ToString(format, CultureInfo.InvariantCulture) ?? "–";
}
