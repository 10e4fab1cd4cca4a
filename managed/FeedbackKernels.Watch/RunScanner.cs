using FeedbackKernels.Runs;

namespace FeedbackKernels.Watch;

/// <summary>A run below the watched folder.</summary>
/// <param name="Name">Its folder relative to the watched one, with slashes; <c>.</c> for the watched folder itself.</param>
/// <param name="Folder">Its folder.</param>
internal sealed record FoundRun(string Name, string Folder);

/// <summary>Finds the runs of a folder: itself if it is a run, and those up to four levels below: of a study, its rule, its value and its seed.</summary>
/// <param name="folder">The watched folder.</param>
internal sealed class RunScanner(string folder)
{
    /// <summary>More runs than this are not shown; the newest are.</summary>
    public const int MostRuns = 200;

    private const int MostLevels = 4;

    /// <summary>The watched folder, as an absolute path without links.</summary>
    public string Folder { get; } = Resolve(folder);

    /// <summary>The runs that are there now, by name.</summary>
    public IReadOnlyList<FoundRun> Scan()
    {
        var runs = new List<FoundRun>();
        if (Directory.Exists(Folder)) Scan(Folder, 0, runs);
        return [.. runs.OrderByDescending(run => Directory.GetCreationTimeUtc(run.Folder)).Take(MostRuns).OrderBy(run => run.Name, StringComparer.Ordinal)];
    }

    /// <summary>The run of a name; null if there is none.</summary>
    public FoundRun? Find(string name) => Scan().FirstOrDefault(run => run.Name == name);

    private void Scan(string path, int level, List<FoundRun> runs)
    {
        if (FolderRules.IsOwnFile(Path.Combine(path, RunFiles.Config)))
            runs.Add(new FoundRun(Path.GetRelativePath(Folder, path).Replace(Path.DirectorySeparatorChar, '/'), path));
        if (level == MostLevels) return;
        try
        {
            foreach (string below in Directory.EnumerateDirectories(path, "*", FolderRules.Listing)) Scan(below, level + 1, runs);
        }
        catch (IOException)
        {
            // Deleted while it was listed.
        }
    }

    private static string Resolve(string folder)
    {
        string full = Path.GetFullPath(folder);
        return Directory.ResolveLinkTarget(full, returnFinalTarget: true)?.FullName ?? full;
    }
}
