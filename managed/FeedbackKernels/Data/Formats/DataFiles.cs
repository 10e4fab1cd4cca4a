using System.Security.Cryptography;

namespace FeedbackKernels.Data;

/// <summary>Access to data files; errors name the file.</summary>
internal static class DataFiles
{
    private const long MostHashedBytes = 1 << 20;

    /// <summary>Opens a file for reading.</summary>
    /// <exception cref="IOException">It does not exist or may not be read.</exception>
    /// <exception cref="InvalidDataException">It is a folder.</exception>
    public static FileStream Open(string path)
    {
        if (Directory.Exists(path)) throw new InvalidDataException($"{path}: found a folder, expected a file; if the file is in it, move it up");
        if (!File.Exists(path)) throw new FileNotFoundException($"file '{path}' is not there", path);
        try
        {
            return new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read);
        }
        catch (UnauthorizedAccessException e)
        {
            throw new IOException($"file '{path}' may not be read: {e.Message}", e);
        }
    }

    /// <summary>The path, if it is a folder.</summary>
    /// <exception cref="DirectoryNotFoundException">It does not exist or is a file.</exception>
    public static string RequireFolder(string path) => Directory.Exists(path)
        ? path
        : throw new DirectoryNotFoundException($"directory '{path}' is not there{FoundInstead.InPlaceOfFolder(path)}");

    /// <summary>The files of a folder, sorted by name.</summary>
    /// <exception cref="IOException">The folder may not be read.</exception>
    public static string[] FilesOf(string folder)
    {
        try
        {
            return [.. Directory.EnumerateFiles(folder).Order(StringComparer.Ordinal)];
        }
        catch (UnauthorizedAccessException e)
        {
            throw new IOException($"directory '{folder}' may not be read: {e.Message}", e);
        }
    }

    /// <summary>Name, length and, for small files, SHA-256 of a file.</summary>
    public static FileFingerprint Fingerprint(string folder, string path)
    {
        using FileStream file = Open(path);
        string? hash = file.Length <= MostHashedBytes ? Convert.ToHexStringLower(SHA256.HashData(file)) : null;
        return new FileFingerprint(Path.GetRelativePath(folder, path).Replace('\\', '/'), file.Length, hash);
    }
}
