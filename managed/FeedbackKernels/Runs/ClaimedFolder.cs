using System.Diagnostics;
using FeedbackKernels.Storage;

namespace FeedbackKernels.Runs;

/// <summary>
/// A folder that a single run writes to. The claim is a lock of the operating system on a file in the folder. The lock ends with its
/// process, so the folder of a run that was killed can be claimed again. The file itself is not deleted: a process could otherwise
/// lock a file that another process has just deleted.
/// </summary>
internal sealed class ClaimedFolder : IDisposable
{
    private const string LockFile = ".lock";

    // EWOULDBLOCK of Linux and of macOS, ERROR_SHARING_VIOLATION of Windows.
    private static readonly int[] LockedCodes = [11, 35, unchecked((int)0x80070020)];

    // mpirun may return before the processes that it has killed are gone, and a script resumes the run at once.
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(2);

    private readonly FileStream _lock;

    private ClaimedFolder(string path, FileStream held) => (Path, _lock) = (path, held);

    /// <summary>The folder, as an absolute path.</summary>
    public string Path { get; }

    /// <summary>Whether the folder is empty but for the lock file.</summary>
    public bool IsEmpty => IsEmptyFolder(Path);

    /// <summary>Whether a folder is empty but for the lock file.</summary>
    public static bool IsEmptyFolder(string path) =>
        Directory.EnumerateFileSystemEntries(path).All(entry => System.IO.Path.GetFileName(entry) == LockFile);

    /// <summary>Claims a folder; creates it if it does not exist. Waits for a moment for a process that is being ended.</summary>
    /// <exception cref="IOException">It is claimed already.</exception>
    public static ClaimedFolder Take(string path)
    {
        for (long start = Stopwatch.GetTimestamp(); ; Thread.Sleep(20))
        {
            if (TryTake(path) is { } taken) return taken;
            if (Stopwatch.GetElapsedTime(start) > Patience) throw new IOException($"folder '{path}' is in use: another run writes to it");
        }
    }

    /// <summary>Claims a folder; null if it is claimed already.</summary>
    public static ClaimedFolder? TryTake(string path)
    {
        string full = Directory.CreateDirectory(path).FullName;
        try
        {
            return new ClaimedFolder(
                full, new FileStream(System.IO.Path.Combine(full, LockFile), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None, bufferSize: 1));
        }
        catch (IOException e) when (LockedCodes.Contains(e.HResult))
        {
            return null;
        }
    }

    /// <summary>Deletes the files of a former run, and those of the runs of a former comparison in its subfolders. Other files
    /// stay.</summary>
    /// <exception cref="IOException">One of those runs is still active; nothing has been deleted.</exception>
    public void DeleteFormerRuns()
    {
        var runs = new List<ClaimedFolder>();
        try
        {
            foreach (string folder in Directory.EnumerateDirectories(Path).Where(f => File.Exists(System.IO.Path.Combine(f, RunFiles.Config))).ToList())
                runs.Add(Take(folder));
            DeleteRunFiles();
            foreach (ClaimedFolder run in runs)
            {
                run.DeleteRunFiles();
                if (!run.IsEmpty) continue;
                File.Delete(System.IO.Path.Combine(run.Path, LockFile));
                Directory.Delete(run.Path);
            }
        }
        finally
        {
            foreach (ClaimedFolder run in runs) run.Dispose();
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _lock.Dispose();

    private void DeleteRunFiles()
    {
        foreach (string events in Directory.EnumerateFiles(Path, $"{RunFiles.EventPrefix}*").ToList()) File.Delete(events);
        foreach (string name in RunFiles.All)
        {
            // The configuration goes last: without it the checkpoints are of no run.
            if (name == RunFiles.Config) new CheckpointFolder(Path).Delete();
            File.Delete(System.IO.Path.Combine(Path, name));
            File.Delete(AtomicFile.PartialOf(System.IO.Path.Combine(Path, name)));
        }
    }
}
