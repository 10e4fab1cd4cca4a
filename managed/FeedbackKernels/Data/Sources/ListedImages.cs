namespace FeedbackKernels.Data;

/// <summary>Encoded images in files and folders that a user lists, without classes.</summary>
public static class ListedImages
{
    /// <summary>Opens the images: those of the first path, then those of the second, and so on. The images below a folder and its subfolders come in the
    /// order of their names. A label is the number of a path.</summary>
    /// <param name="paths">Files of any name, and folders.</param>
    /// <param name="notes">What was left out of the folders, a sentence each.</param>
    /// <exception cref="IOException">A file or folder is not there or may not be read.</exception>
    /// <exception cref="InvalidDataException">A folder has no images.</exception>
    public static IImageSource Open(IReadOnlyList<string> paths, out IReadOnlyList<string> notes)
    {
        ArgumentNullException.ThrowIfNull(paths);
        if (paths.Count == 0) throw new ArgumentException("no images are listed", nameof(paths));
        var leftOut = new List<string>();
        (string Folder, CompactNames Names)[] groups = [.. paths.Select(path => Directory.Exists(path) ? Below(path, leftOut) : File(path))];
        notes = leftOut;
        return new FolderImages(paths, groups);
    }

    private static (string, CompactNames) Below(string folder, List<string> notes)
    {
        FolderListing listing = FolderListing.Of(folder);
        if (listing.Names.Count == 0) throw new InvalidDataException($"{folder}: found no images in the folder, expected {ImageNames.Wanted}");
        if (listing.LeftOut.Describe(folder) is { } note) notes.Add(note);
        return (folder, listing.Names);
    }

    private static (string, CompactNames) File(string path)
    {
        // Opened so that a file that may not be read is found before the first image is classified.
        ImageFiles.Open(path).Dispose();
        var names = new CompactNames();
        names.Add(Path.GetFileName(path));
        return (Path.GetDirectoryName(path) ?? "", names);
    }
}
