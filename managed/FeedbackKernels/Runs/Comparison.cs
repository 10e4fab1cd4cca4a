using System.Text.Json;
using FeedbackKernels.Reports;
using FeedbackKernels.Storage;

namespace FeedbackKernels.Runs;

/// <summary>Several runs side by side: a folder for each inside one, and one report over all.</summary>
public sealed class Comparison : IDisposable
{
    private readonly ClaimedFolder _folder;
    private readonly List<FinishedRun> _runs = [];

    /// <summary>Claims the folder, and deletes the files of former runs in it where that is allowed.</summary>
    /// <exception cref="IOException">The folder is in use, or has files in it and may not be overwritten.</exception>
    public Comparison(RunPlace place)
    {
        ArgumentNullException.ThrowIfNull(place);
        _folder = place.Claim();
    }

    /// <summary>The runs so far.</summary>
    public IReadOnlyList<FinishedRun> Runs => _runs;

    /// <summary>Where a run's own files go: a folder by the name of its rule, with a number where a rule comes again.</summary>
    public RunPlace PlaceFor(RunConfig config)
    {
        ArgumentNullException.ThrowIfNull(config);
        int before = _runs.Count(r => r.Config.Rule.Name == config.Rule.Name);
        // What the folder may hold are files that no run has written.
        return new RunPlace(Path.Combine(_folder.Path, before == 0 ? config.Rule.Name : $"{config.Rule.Name}-{before + 1}"), Overwrite: true);
    }

    /// <summary>Adds a run that has ended.</summary>
    public void Add(FinishedRun run) => _runs.Add(run);

    /// <summary>Writes report.html and summary.json over all runs, and returns the report's path.</summary>
    /// <exception cref="InvalidOperationException">No run has ended.</exception>
    public string Finish()
    {
        if (_runs.Count == 0) throw new InvalidOperationException("there is no run to report on");
        string report = Path.Combine(_folder.Path, RunFiles.Report);
        AtomicFile.WriteAllText(report, HtmlReport.OfComparison(_runs));
        RunSummary[] summaries = [.. _runs.Select(r => r.Summary)];
        AtomicFile.WriteAllText(
            Path.Combine(_folder.Path, RunFiles.Summary), JsonSerializer.Serialize(summaries, RunJson.Default.IReadOnlyListRunSummary) + "\n");
        return report;
    }

    /// <inheritdoc/>
    public void Dispose() => _folder.Dispose();
}
