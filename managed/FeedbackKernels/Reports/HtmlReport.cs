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
        figcaption i { display: inline-block; width: 1.1em; height: .25em; margin-right: .4em; vertical-align: middle; }
        table { border-collapse: collapse; margin: 1rem 0; } th, td { padding: .3rem .8rem; text-align: right; border-bottom: 1px solid #e4e4e4; }
        th:first-child, td:first-child { text-align: left; } th { font-weight: 600; background: #f6f6f6; }
        pre { background: #f6f6f6; padding: 1rem; border-radius: 6px; overflow-x: auto; font-size: 13px; }
        """;

    /// <summary>The report of one run.</summary>
    public static string OfRun(ReportedRun run)
    {
        ArgumentNullException.ThrowIfNull(run);
        (RunSummary summary, TrainingResult result, _, _) = run;
        var charts = new List<string>
        {
            Chart.Figure("Loss", "epoch", "loss",
            [
                new Curve("train", result.Epochs.Select(e => ((double)e.Epoch, e.TrainLoss)), Chart.Color(0)),
                new Curve("test", result.Epochs.Select(e => ((double)e.Epoch, e.TestLoss)), Chart.Color(1)),
            ], lowest: 0),
            Chart.Figure("Accuracy", "epoch", "%",
            [
                new Curve("train top-1", result.Epochs.Select(e => ((double)e.Epoch, 100 * e.TrainTop1)), Chart.Color(0)),
                new Curve("test top-1", result.Epochs.Select(e => ((double)e.Epoch, 100 * e.TestTop1)), Chart.Color(1)),
                new Curve("test top-5", result.Epochs.Select(e => ((double)e.Epoch, 100 * e.TestTop5)), Chart.Color(4)),
            ], lowest: 0, highest: 100),
            LayerChart("Angle between W and Bᵀ", "degrees", result, a => a.WeightAngle, lowest: 0),
            LayerChart("Angle between the error and backprop's", "degrees", result, a => a.DeltaAngle, lowest: 0),
            LayerChart("Norm of B over norm of W", "ratio", result, a => a.NormRatio, lowest: 0),
        };
        return Page(
            $"{summary.Model}, {summary.Rule}, {summary.Data}",
            $"{summary.Epochs} epochs, seed {summary.Seed}, {summary.Backend}{(summary.Cancelled ? "; stopped before its end" : "")}",
            SummaryTable([summary]) + Charts(charts) + Configuration(run));
    }

    /// <summary>The report of several runs side by side.</summary>
    public static string OfComparison(IReadOnlyList<ReportedRun> runs)
    {
        ArgumentNullException.ThrowIfNull(runs);
        var charts = new List<string>
        {
            RunChart("Test accuracy", "epoch", "top-1, %", runs, r => r.Result.Epochs.Select(e => ((double)e.Epoch, 100 * e.TestTop1)), 0, 100),
            RunChart("Training loss", "epoch", "loss", runs, r => r.Result.Epochs.Select(e => ((double)e.Epoch, e.TrainLoss)), 0),
            RunChart("Test loss", "epoch", "loss", runs, r => r.Result.Epochs.Select(e => ((double)e.Epoch, e.TestLoss)), 0),
            RunChart("Angle between W and Bᵀ, mean over layers", "epoch", "degrees", runs, r => MeanByEpoch(r, a => a.WeightAngle), 0),
            RunChart("Angle between the error and backprop's, mean over layers", "epoch", "degrees", runs, r => MeanByEpoch(r, a => a.DeltaAngle), 0),
            RunChart("Angle between W and Bᵀ by layer, at the end", "layer", "degrees", runs, r => LastByLayer(r, a => a.WeightAngle), 0),
            RunChart("Angle between the error and backprop's by layer, at the end", "layer", "degrees", runs, r => LastByLayer(r, a => a.DeltaAngle), 0),
        };
        RunSummary first = runs[0].Summary;
        return Page(
            $"{first.Model} on {first.Data}: {runs.Count} learning rules",
            $"{runs[0].Epochs} epochs, seed {first.Seed}, same initial weights and same order of images; {first.Backend}",
            SummaryTable([.. runs.Select(r => r.Summary)]) + Charts(charts) + string.Concat(runs.Select(Configuration)));
    }

    private static string LayerChart(string title, string yTitle, TrainingResult result, Func<LayerAlignment, double> value, double lowest)
    {
        string[] layers = [.. result.Alignment.Select(a => a.Layer).Distinct()];
        var curves = layers.Select((layer, i) => new Curve(
            layers.Length <= 12 || i == 0 || i == layers.Length - 1 || i == layers.Length / 2 ? layer : "",
            result.Alignment.Where(a => a.Layer == layer).Select(a => ((double)a.Epoch, value(a))), Chart.Depth(i, layers.Length)));
        return Chart.Figure($"{title}, each layer", "epoch", yTitle, [.. curves], lowest);
    }

    private static string RunChart(
        string title, string xTitle, string yTitle, IReadOnlyList<ReportedRun> runs, Func<ReportedRun, IEnumerable<(double, double)>> points,
        double lowest, double? highest = null) =>
        Chart.Figure(title, xTitle, yTitle, [.. runs.Select((run, i) => new Curve(run.Summary.Rule, points(run), Chart.Color(i)))], lowest, highest);

    private static IEnumerable<(double, double)> MeanByEpoch(ReportedRun run, Func<LayerAlignment, double> value) =>
        run.Result.Alignment.Where(a => double.IsFinite(value(a))).GroupBy(a => a.Epoch).Select(g => ((double)g.Key, g.Average(value)));

    private static IEnumerable<(double, double)> LastByLayer(ReportedRun run, Func<LayerAlignment, double> value)
    {
        int last = run.Result.Alignment.Select(a => a.Step).DefaultIfEmpty(0).Max();
        return run.Result.Alignment.Where(a => a.Step == last).Select((a, i) => ((double)i + 1, value(a)));
    }

    private static string SummaryTable(IReadOnlyList<RunSummary> runs)
    {
        var html = new StringBuilder("<table><tr><th>rule</th><th>top-1</th><th>top-5</th><th>best top-1</th><th>train loss</th><th>test loss</th><th>W–B angle</th><th>error angle</th><th>images/s</th><th>seconds</th></tr>\n");
        foreach (RunSummary run in runs)
        {
            string diverged = run.Diverged is null ? "" : $"<br>diverged at {Text(run.Diverged)}";
            html.Append(CultureInfo.InvariantCulture, $"<tr><td>{Text(run.Rule)}{diverged}</td><td>{Percent(run.TestTop1)}</td><td>{Percent(run.TestTop5)}</td><td>{Percent(run.BestTestTop1)}</td>");
            html.Append(CultureInfo.InvariantCulture, $"<td>{Number(run.FinalLoss, "F3")}</td><td>{Number(run.TestLoss, "F3")}</td><td>{Degrees(run.WeightAngle)}</td><td>{Degrees(run.DeltaAngle)}</td>");
            html.Append(CultureInfo.InvariantCulture, $"<td>{run.ImagesPerSecond:F0}</td><td>{run.Seconds:F0}</td></tr>\n");
        }

        return html.Append("</table>\n").ToString();
    }

    private static string Charts(IEnumerable<string> charts) => $"<div class=\"charts\">{string.Concat(charts)}</div>\n";

    private static string Configuration(ReportedRun run) =>
        $"<h2>Configuration: {Text(run.Summary.Rule)}</h2>\n<pre>{Text(run.Configuration)}</pre>\n";

    private static string Page(string title, string subtitle, string body) =>
        $"""
        <!doctype html>
        <html lang="en">
        <head><meta charset="utf-8"><title>{Text(title)}</title><style>{Style}</style></head>
        <body>
        <h1>{Text(title)}</h1>
        <p class="sub">{Text(subtitle)}</p>
        {body}
        </body>
        </html>

        """;

    private static string Text(string text) => WebUtility.HtmlEncode(text);

    private static string Percent(double? share) => share is { } s ? (100 * s).ToString("F2", CultureInfo.InvariantCulture) + " %" : "–";

    private static string Degrees(double? angle) => angle is { } a ? a.ToString("F1", CultureInfo.InvariantCulture) + "°" : "–";

    private static string Number(double? value, string format) => value?.ToString(format, CultureInfo.InvariantCulture) ?? "–";
}
