using System.Text.Json;
using FeedbackKernels.Reports;
using FeedbackKernels.Storage;

namespace FeedbackKernels.Runs;

/// <summary>Several runs side by side: one folder with a subfolder for each run, and one report on all of them.</summary>
public sealed class Comparison : IDisposable
{
    private readonly ClaimedFolder _folder;
    private readonly List<FinishedRun> _runs = [];

    /// <summary>Claims the folder, and deletes the files of former runs in it if that is allowed.</summary>
    /// <param name="place">The folder, and whether former runs in it may be deleted.</param>
    /// <exception cref="IOException">The folder is in use, or has files in it and may not be overwritten.</exception>
    public Comparison(RunPlace place)
    {
        ArgumentNullException.ThrowIfNull(place);
        _folder = place.Claim();
    }

    /// <summary>The runs so far.</summary>
    public IReadOnlyList<FinishedRun> Runs => _runs;

    /// <summary>The folder of a run: named after its rule, with a number if the rule has occurred before.</summary>
    /// <param name="config">Settings of the run.</param>
    public RunPlace PlaceFor(RunConfig config)
    {
        ArgumentNullException.ThrowIfNull(config);
        int before = _runs.Count(r => r.Config.Rule.Name == config.Rule.Name);
        // Any files in the folder were not written by a run.
        return new RunPlace(Path.Combine(_folder.Path, before == 0 ? config.Rule.Name : $"{config.Rule.Name}-{before + 1}"), Overwrite: true);
    }

    /// <summary>Adds a finished run.</summary>
    /// <param name="run">The run.</param>
    public void Add(FinishedRun run) => _runs.Add(run);

    /// <summary>Writes report.html and summary.json for all runs, and returns the path of the report.</summary>
    /// <exception cref="InvalidOperationException">No run has ended.</exception>
    public string Finish()
    {
        if (_runs.Count == 0) throw new InvalidOperationException("there is no run to report on");
        string report = Path.Combine(_folder.Path, RunFiles.Report);
        AtomicFile.WriteAllText(report, HtmlReport.OfComparison([.. _runs.Select(run => run.Reported)]));
        RunSummary[] summaries = [.. _runs.Select(r => r.Summary)];
        AtomicFile.WriteAllText(
            Path.Combine(_folder.Path, RunFiles.Summary), JsonSerializer.Serialize(summaries, RunJson.Default.IReadOnlyListRunSummary) + "\n");
        return report;
    }

    /// <inheritdoc/>
    public void Dispose() => _folder.Dispose();
}
