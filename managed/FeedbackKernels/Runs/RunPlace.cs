namespace FeedbackKernels.Runs;

/// <summary>The folder for the files of a run or a comparison.</summary>
/// <param name="Path">The folder; it need not exist.</param>
/// <param name="Overwrite">Whether the folder may contain files. Files of former runs are deleted before the first new file is
/// written.</param>
/// <param name="Numbered">If the folder exists, whether to use the first of <c>Path-2</c>, <c>Path-3</c>, ... that does not exist.</param>
public sealed record RunPlace(string Path, bool Overwrite = false, bool Numbered = false)
{
    /// <summary>Checks whether the folder can be used. Writes nothing, so another process may still take the folder.</summary>
    /// <exception cref="IOException">The path is a file, or the folder has files in it and may not be overwritten.</exception>
    public void Check()
    {
        if (File.Exists(Path)) throw new IOException($"'{Path}' is a file, wanted a folder");
        if (!Overwrite && !Numbered && Directory.Exists(Path)) RequireEmpty(Path);
    }

    /// <summary>Creates the folder and claims it for this process.</summary>
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
            // Another process may do the same at this moment: it holds the lock, or its files are in the folder.
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
