using System.Globalization;
using System.Text;
using FeedbackKernels.Reports;

namespace FeedbackKernels.Runs;

/// <summary>The tables of a study, as CSV in the invariant culture (RFC 4180). Accuracies are fractions of 1.</summary>
internal static class StudyTables
{
    /// <summary>study.csv: a line for each run that has ended.</summary>
    public static string Runs(StudyResults results)
    {
        var text = new StringBuilder();
        AddLine(text, ["label", "rule", "settings", "option", "value", "seed", "epochs", .. StudyMeasure.All.Select(m => m.Name), "status", "failure", "folder"]);
        foreach (StudiedRun run in results.Runs)
        {
            AddLine(
                text,
                [
                    run.Label, run.Rule, run.Settings, run.Value is null ? "" : results.Outline.Option!, run.Value ?? "", run.Seed.ToString(CultureInfo.InvariantCulture),
                    run.Epochs.Count.ToString(CultureInfo.InvariantCulture), .. StudyMeasure.All.Select(m => Number(m.Of(run))),
                    run.Status.ToString().ToLowerInvariant(), run.Failure ?? "", run.Folder,
                ]);
        }

        return text.ToString();
    }

    /// <summary>summary.csv: a line for each rule, value and measure, with the mean over seeds and the mean of the differences from the
    /// baseline, each with its standard error and the ends of its 95 % interval.</summary>
    public static string Summary(StudyResults results)
    {
        var text = new StringBuilder();
        AddLine(
            text,
            [
                "label", "option", "value", "measure", "n", "mean", "standardError", "low95", "high95",
                "pairs", "difference", "differenceStandardError", "differenceLow95", "differenceHigh95",
            ]);
        foreach (StudyGroup group in results.Groups)
        {
            foreach (StudyMeasure measure in StudyMeasure.Determined)
            {
                if (group.Of(measure) is { Count: > 0 } mean)
                    AddLine(text, [group.Label, group.Value is null ? "" : results.Outline.Option!, group.Value ?? "", measure.Name, .. Cells(mean), .. Cells(group.DifferenceOf(measure))]);
            }
        }

        return text.ToString();
    }

    private static string[] Cells(Interval interval) => interval.Count == 0
        ? ["", "", "", "", ""]
        : [interval.Count.ToString(CultureInfo.InvariantCulture), Number(interval.Mean), Number(interval.StandardError), Number(interval.Low), Number(interval.High)];

    // Nine digits: more than a run of whatever length can say, and short.
    private static string Number(double? value) => value is { } number && double.IsFinite(number) ? number.ToString("G9", CultureInfo.InvariantCulture) : "";

    private static void AddLine(StringBuilder text, string[] cells) => text.AppendJoin(',', cells.Select(Quote)).Append('\n');

    private static string Quote(string cell)
    {
        cell = cell.ReplaceLineEndings(" ");
        return cell.AsSpan().IndexOfAny(',', '"') < 0 ? cell : $"\"{cell.Replace("\"", "\"\"", StringComparison.Ordinal)}\"";
    }
}
