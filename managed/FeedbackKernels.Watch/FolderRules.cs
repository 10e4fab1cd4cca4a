namespace FeedbackKernels.Watch;

/// <summary>What below the watched folder is looked at: folders and files, but nothing behind a link, which may lead anywhere.</summary>
internal static class FolderRules
{
    /// <summary>Options for listing folders.</summary>
    public static EnumerationOptions Listing { get; } = new() { IgnoreInaccessible = true, AttributesToSkip = FileAttributes.ReparsePoint };

    /// <summary>Whether a path is a file that exists and is no link.</summary>
    public static bool IsOwnFile(string path) => new FileInfo(path) is { Exists: true } file && (file.Attributes & FileAttributes.ReparsePoint) == 0;
}
