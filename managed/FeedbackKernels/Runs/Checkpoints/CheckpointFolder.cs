using System.Globalization;
using System.Text.RegularExpressions;
using FeedbackKernels.Storage;

namespace FeedbackKernels.Runs;

/// <summary>A checkpoint of a run.</summary>
/// <param name="Step">Steps done in the run.</param>
/// <param name="Path">The file.</param>
public sealed record StoredCheckpoint(long Step, string Path)
{
    /// <summary>Name of the file.</summary>
    public string Name => System.IO.Path.GetFileName(Path);
}

/// <summary>The checkpoints of a run: files in a folder of the run's folder, named after their steps.</summary>
internal sealed partial class CheckpointFolder(string run)
{
    /// <summary>Name of the folder.</summary>
    public const string Name = "checkpoints";

    // A file that is damaged gets this ending, so that it is not taken for a checkpoint again.
    private const string DamagedSuffix = ".damaged";

    /// <summary>The folder, as an absolute path.</summary>
    public string Path { get; } = System.IO.Path.Combine(run, Name);

    /// <summary>The checkpoints from the oldest to the newest.</summary>
    public IReadOnlyList<StoredCheckpoint> All => !Directory.Exists(Path) ? [] :
    [
        .. Directory.EnumerateFiles(Path).Select(file => (File: file, Match: FileName().Match(System.IO.Path.GetFileName(file)))).Where(f => f.Match.Success)
            .Select(f => new StoredCheckpoint(long.Parse(f.Match.Groups[1].ValueSpan, CultureInfo.InvariantCulture), f.File)).OrderBy(c => c.Step),
    ];

    /// <summary>The file of a step.</summary>
    public string FileOf(long step) => System.IO.Path.Combine(Path, string.Create(CultureInfo.InvariantCulture, $"step-{step:D7}.safetensors"));

    /// <summary>Creates the folder if it does not exist.</summary>
    public void Create() => Directory.CreateDirectory(Path);

    /// <summary>The newest checkpoint that is whole; null if there are no checkpoints.</summary>
    /// <param name="damaged">Gets what is wrong with each newer one.</param>
    /// <exception cref="InvalidDataException">There are checkpoints, and all are damaged.</exception>
    public StoredCheckpoint? FindNewest(List<string> damaged)
    {
        IReadOnlyList<StoredCheckpoint> all = All;
        foreach (StoredCheckpoint checkpoint in all.Reverse())
        {
            try
            {
                Checkpoint.Verify(checkpoint.Path);
                return checkpoint;
            }
            catch (Exception e) when (e is InvalidDataException or IOException)
            {
                damaged.Add(e.Message);
            }
        }

        return all.Count == 0 ? null : throw new InvalidDataException($"none of the {all.Count} checkpoints in {Path} is whole: {string.Join("; ", damaged)}");
    }

    /// <summary>Removes what is no checkpoint that a run goes on from: partial files of a killed process, and checkpoints behind a step, which
    /// are damaged.</summary>
    public void CleanBehind(long step)
    {
        if (!Directory.Exists(Path)) return;
        AtomicFile.DeletePartials(Path);
        foreach (StoredCheckpoint damaged in All.Where(c => c.Step > step)) File.Move(damaged.Path, damaged.Path + DamagedSuffix, overwrite: true);
    }

    /// <summary>Deletes all checkpoints but the newest ones.</summary>
    /// <param name="keep">How many of the newest ones stay.</param>
    /// <param name="best">Step of another one that stays; null if there is none.</param>
    public void Prune(int keep, long? best)
    {
        foreach (StoredCheckpoint old in All.SkipLast(keep).Where(c => c.Step != best)) File.Delete(old.Path);
    }

    /// <summary>Deletes all files that a run has written here, and the folder if nothing else is in it.</summary>
    public void Delete()
    {
        if (!Directory.Exists(Path)) return;
        AtomicFile.DeletePartials(Path);
        foreach (string file in Directory.EnumerateFiles(Path, $"*{DamagedSuffix}").ToList()) File.Delete(file);
        foreach (StoredCheckpoint checkpoint in All) File.Delete(checkpoint.Path);
        if (!Directory.EnumerateFileSystemEntries(Path).Any()) Directory.Delete(Path);
    }

    [GeneratedRegex(@"^step-(\d{7,})\.safetensors$")]
    private static partial Regex FileName();
}
