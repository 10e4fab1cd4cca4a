using System.Text.Json;
using FeedbackKernels.Reports;

namespace FeedbackKernels.Runs;

/// <summary>Several runs side by side: a folder for each inside one, and one report over all.</summary>
public sealed class Comparison(string folder)
{
    private readonly List<FinishedRun> _runs = [];

    /// <summary>The runs so far.</summary>
    public IReadOnlyList<FinishedRun> Runs => _runs;

    /// <summary>Where a run's own files go: a folder by the name of its rule, numbered where a rule comes again.</summary>
    public string FolderFor(RunConfig config)
    {
        ArgumentNullException.ThrowIfNull(config);
        int before = _runs.Count(r => r.Config.Rule.Name == config.Rule.Name);
        return Path.Combine(folder, before == 0 ? config.Rule.Name : $"{config.Rule.Name}-{before + 1}");
    }

    /// <summary>Adds a run that has ended.</summary>
    public void Add(FinishedRun run) => _runs.Add(run);

    /// <summary>Writes report.html and summary.json over all runs, and returns the report's path.</summary>
    public string Finish()
    {
        string report = Path.Combine(Path.GetFullPath(folder), "report.html");
        File.WriteAllText(report, HtmlReport.OfComparison(_runs));
        RunSummary[] summaries = [.. _runs.Select(r => r.Summary)];
        File.WriteAllText(Path.Combine(folder, "summary.json"), JsonSerializer.Serialize(summaries, RunJson.Default.IReadOnlyListRunSummary) + "\n");
        return report;
    }
}
