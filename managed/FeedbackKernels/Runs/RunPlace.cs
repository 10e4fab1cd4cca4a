namespace FeedbackKernels.Runs;

/// <summary>Where the files of a run, or of a comparison, go.</summary>
/// <param name="Path">The folder; it need not exist.</param>
/// <param name="Overwrite">Whether the folder may have files in it. Those of former runs are deleted before the first new one is
/// written.</param>
/// <param name="Numbered">Whether, if the folder exists, the first of <c>Path-2</c>, <c>Path-3</c>, ... that does not is taken instead.</param>
public sealed record RunPlace(string Path, bool Overwrite = false, bool Numbered = false)
{
    /// <summary>Looks whether the folder can be used, and writes nothing. Another process may still be faster.</summary>
    /// <exception cref="IOException">The path is a file, or the folder has files in it and may not be overwritten.</exception>
    public void Check()
    {
        if (File.Exists(Path)) throw new IOException($"'{Path}' is a file, wanted a folder");
        if (!Overwrite && !Numbered && Directory.Exists(Path)) RequireEmpty(Path);
    }

    /// <summary>Makes the folder and claims it for this process.</summary>
    /// <exception cref="IOException">As <see cref="Check"/>; or another process, or another run of this one, writes to the folder.</exception>
    internal ClaimedFolder Claim()
    {
        Check();
        if (Numbered) return ClaimNew();
        ClaimedFolder folder = ClaimedFolder.Take(Path);
        try
        {
            if (Overwrite) folder.DeleteFormerRuns();
            else RequireEmpty(Path);
            return folder;
        }
        catch
        {
            folder.Dispose();
            throw;
        }
    }

    private ClaimedFolder ClaimNew()
    {
        for (int number = 1; ; number++)
        {
            string path = number == 1 ? Path : $"{Path}-{number}";
            if (File.Exists(path) || Directory.Exists(path)) continue;
            // Who comes at the same moment takes the lock first, or finds it taken, or finds what the first one has left.
            if (ClaimedFolder.TryTake(path) is not { } folder) continue;
            if (folder.IsEmpty) return folder;
            folder.Dispose();
        }
    }

    private static void RequireEmpty(string path)
    {
        if (!ClaimedFolder.IsEmptyFolder(path))
            throw new IOException($"folder '{path}' is not empty; give another one with --out, or --overwrite to delete the runs in it");
    }
}
