using System.IO.Enumeration;

namespace FeedbackKernels.Data;

/// <summary>
/// The images below a folder and its subfolders, without a system call for each file. Links to folders are followed; each folder is
/// listed once, so that loops of links end.
/// </summary>
internal sealed class FolderListing
{
    private static readonly EnumerationOptions Everything = new() { AttributesToSkip = 0, IgnoreInaccessible = false, ReturnSpecialDirectories = false };

    private readonly HashSet<string> _listed = new(StringComparer.Ordinal);
    private readonly string _real;

    private FolderListing(string folder)
    {
        _real = RealPath(folder);
        Visit(folder, "", _real);
        Names = Names.Reordered(Names.SortedOrder());
    }

    /// <summary>Names of the images, relative to the folder, with <c>/</c> between folders, sorted.</summary>
    public CompactNames Names { get; private set; } = new();

    /// <summary>What was left out.</summary>
    public LeftOut LeftOut { get; } = new();

    /// <summary>Lists a folder.</summary>
    /// <exception cref="IOException">It cannot be read.</exception>
    /// <exception cref="InvalidDataException">The name of an image is not UTF-8.</exception>
    public static FolderListing Of(string folder) => new(folder);

    /// <summary>Names of the folders in a folder, hidden ones left out, sorted; links to folders count.</summary>
    /// <exception cref="IOException">The folder cannot be read.</exception>
    public static string[] FoldersIn(string folder, LeftOut leftOut)
    {
        var folders = new List<string>();
        foreach (Entry entry in Entries(folder))
        {
            if (entry.Name[0] == '.') leftOut.AddHidden(entry.Name);
            else if (entry.IsFolder) folders.Add(entry.Name);
            else leftOut.AddOther(entry.Name);
        }

        return [.. folders.Order(StringComparer.Ordinal)];
    }

    private void Visit(string folder, string prefix, string real)
    {
        _listed.Add(real);
        var folders = new List<Entry>();
        foreach (Entry entry in Entries(folder))
        {
            if (entry.Name[0] == '.') LeftOut.AddHidden(prefix + entry.Name);
            else if (entry.IsFolder) folders.Add(entry);
            else if (!ImageNames.IsImage(entry.Name)) LeftOut.AddOther(prefix + entry.Name);
            else Names.Add(prefix, Readable(folder, entry.Name));
        }

        foreach (Entry entry in folders.OrderBy(entry => entry.Name, StringComparer.Ordinal))
        {
            string path = Path.Combine(folder, entry.Name), next = entry.IsLink ? RealPath(path) : Path.Combine(real, entry.Name);
            if (_listed.Contains(next) || IsAbove(next, _real)) LeftOut.AddRepeated(prefix + entry.Name);
            else Visit(path, $"{prefix}{entry.Name}/", next);
        }
    }

    private static bool IsAbove(string folder, string real) => real.StartsWith(Path.TrimEndingDirectorySeparator(folder) + Path.DirectorySeparatorChar, StringComparison.Ordinal);

    // Bytes that are not UTF-8 become this character, and the file could not be opened by that name.
    private static string Readable(string folder, string name) => name.Contains('\uFFFD', StringComparison.Ordinal)
        ? throw new InvalidDataException($"{Path.Combine(folder, name)}: the name is not UTF-8; rename the file")
        : name;

    private static IEnumerable<Entry> Entries(string folder)
    {
        IEnumerator<Entry> entries;
        try
        {
            entries = new FileSystemEnumerable<Entry>(
                folder, (ref FileSystemEntry entry) => new Entry(
                    entry.FileName.ToString(), entry.IsDirectory, entry.IsDirectory && entry.Attributes.HasFlag(FileAttributes.ReparsePoint)), Everything).GetEnumerator();
        }
        catch (UnauthorizedAccessException e)
        {
            throw new IOException($"directory '{folder}' may not be read: {e.Message}", e);
        }

        using (entries)
        {
            while (entries.MoveNext()) yield return entries.Current;
        }
    }

    /// <summary>The path without links in any of its parts.</summary>
    private static string RealPath(string path)
    {
        path = Path.GetFullPath(path);
        string root = Path.GetPathRoot(path)!, real = root;
        foreach (string part in path[root.Length..].Split(Path.DirectorySeparatorChar, StringSplitOptions.RemoveEmptyEntries))
        {
            string next = Path.Combine(real, part);
            real = Directory.ResolveLinkTarget(next, returnFinalTarget: true) is { } target ? RealPath(target.FullName) : next;
        }

        return real;
    }

    private readonly record struct Entry(string Name, bool IsFolder, bool IsLink);
}

/// <summary>Files and folders that a listing left out, with the first of each kind.</summary>
internal sealed class LeftOut
{
    private (int Count, string? First) _hidden, _others, _repeated;

    /// <summary>Counts a hidden file or folder.</summary>
    public void AddHidden(string name) => Add(ref _hidden, name);

    /// <summary>Counts a file that is not an image, or that has no class.</summary>
    public void AddOther(string name) => Add(ref _others, name);

    /// <summary>Counts a link to a folder that is listed elsewhere.</summary>
    public void AddRepeated(string name) => Add(ref _repeated, name);

    /// <summary>Adds what was left out of a folder in this one.</summary>
    public void Add(LeftOut inner, string folder)
    {
        Add(ref _hidden, inner._hidden, folder);
        Add(ref _others, inner._others, folder);
        Add(ref _repeated, inner._repeated, folder);
    }

    /// <summary>A sentence for the user; null if nothing was left out.</summary>
    public string? Describe(string folder)
    {
        string[] parts =
        [
            .. Part(_others, "file that is not an image of a class", "files that are not images of a class"),
            .. Part(_hidden, "hidden entry", "hidden entries"),
            .. Part(_repeated, "link to a folder that is listed elsewhere", "links to folders that are listed elsewhere"),
        ];
        return parts.Length == 0 ? null : $"{folder}: left out {string.Join(", ", parts)}";
    }

    private static void Add(ref (int Count, string? First) kind, string name) => kind = (kind.Count + 1, kind.First ?? name);

    private static void Add(ref (int Count, string? First) kind, (int Count, string? First) inner, string folder)
    {
        if (inner.Count > 0) kind = (kind.Count + inner.Count, kind.First ?? $"{folder}/{inner.First}");
    }

    private static IEnumerable<string> Part((int Count, string? First) kind, string one, string several) => kind.Count switch
    {
        0 => [],
        1 => [$"1 {one} ({kind.First})"],
        _ => [$"{kind.Count} {several} (as {kind.First})"],
    };
}
