namespace FeedbackKernels.Data;

/// <summary>
/// Recognises common mistakes: a saved web page instead of the file, an archive that was not unpacked, the Python version of a data
/// set.
/// </summary>
internal static class FoundInstead
{
    /// <summary>Number of bytes at the beginning of a file that are enough to recognise it.</summary>
    public const int HeadBytes = 512;

    private const int TarMagicOffset = 257, MostFilesLookedAt = 100;

    private static readonly byte[] ByteOrderMark = [0xEF, 0xBB, 0xBF];

    /// <summary>The error for a file of another format; null if the format is not recognised.</summary>
    /// <param name="path">The file.</param>
    /// <param name="head">Its beginning.</param>
    /// <param name="wanted">The expected format, with an article, as "an idx file".</param>
    public static InvalidDataException? Error(string path, ReadOnlySpan<byte> head, string wanted) =>
        Recognise(head) is { } found ? new InvalidDataException($"{path}: found {found}, expected {wanted}") : null;

    /// <summary>Names the first archive or pickle in a folder that lacks a file; empty if there is none.</summary>
    public static string InFolder(string folder)
    {
        if (!Directory.Exists(folder)) return "";
        foreach (string path in DataFiles.FilesOf(folder).Take(MostFilesLookedAt))
        {
            if (RecogniseFile(path) is { } found && (found.IsArchive || found == Pickle))
                return $"; the folder has {Path.GetFileName(path)}, {found}";
        }

        return "";
    }

    /// <summary>Describes the file at a path that should be a folder; empty if nothing is there.</summary>
    public static string InPlaceOfFolder(string path)
    {
        if (!File.Exists(path)) return "";
        return RecogniseFile(path) is { } found ? $"; it is {found}" : "; it is a file: give the folder that it is in";
    }

    /// <summary>Whether a file is a zip archive.</summary>
    public static bool IsZip(string path) => RecogniseFile(path) == Zip;

    private static readonly Finding
        Empty = new("an empty file", "download it again"),
        WebPage = new("a web page", "download the file itself, not the page about it"),
        Xml = new("an XML text, as servers send with an error", "download the file again"),
        LfsPointer = new("a pointer of Git LFS", "fetch the file with 'git lfs pull'"),
        Pickle = new("a Python pickle"),
        Gzip = new("a gzip file", "unpack it", IsArchive: true),
        Zip = new("a zip archive", "unpack it", IsArchive: true),
        Tar = new("a tar archive", "unpack it", IsArchive: true),
        Compressed = new("a compressed file (bzip2, xz, 7z or zstd)", "unpack it", IsArchive: true),
        Numpy = new("a NumPy array"),
        Hdf5 = new("an HDF5 file"),
        Picture = new("a picture");

    private static Finding? Recognise(ReadOnlySpan<byte> head)
    {
        if (head.IsEmpty) return Empty;
        return RecogniseText(head) ?? RecogniseBinary(head);
    }

    private static Finding? RecogniseText(ReadOnlySpan<byte> head)
    {
        if (head.StartsWith(ByteOrderMark)) head = head[ByteOrderMark.Length..];
        head = head.TrimStart(" \t\r\n"u8);
        if (StartsWithText(head, "<!doctype"u8) || StartsWithText(head, "<html"u8) || StartsWithText(head, "<head"u8)) return WebPage;
        if (StartsWithText(head, "<?xml"u8)) return Xml;
        return head.StartsWith("version https://git-lfs"u8) ? LfsPointer : null;
    }

    private static Finding? RecogniseBinary(ReadOnlySpan<byte> head) => head switch
    {
        // Protocols 2 to 5, and the first operations that occur in the pickles of the data sets.
        [0x80, >= 2 and <= 5, (byte)'}' or (byte)']' or (byte)'(' or (byte)'c' or 0x95, ..] => Pickle,
        [0x1F, 0x8B, 8, ..] => Gzip,
        [(byte)'P', (byte)'K', 3, 4, ..] => Zip,
        [(byte)'B', (byte)'Z', (byte)'h', ..] or [0xFD, (byte)'7', (byte)'z', (byte)'X', (byte)'Z', 0, ..]
            or [(byte)'7', (byte)'z', 0xBC, 0xAF, 0x27, 0x1C, ..] or [0x28, 0xB5, 0x2F, 0xFD, ..] => Compressed,
        [0x93, (byte)'N', (byte)'U', (byte)'M', (byte)'P', (byte)'Y', ..] => Numpy,
        [0x89, (byte)'H', (byte)'D', (byte)'F', ..] => Hdf5,
        [0x89, (byte)'P', (byte)'N', (byte)'G', ..] or [0xFF, 0xD8, 0xFF, ..] => Picture,
        _ => head.Length > TarMagicOffset && head[TarMagicOffset..].StartsWith("ustar"u8) ? Tar : null,
    };

    private static bool StartsWithText(ReadOnlySpan<byte> head, ReadOnlySpan<byte> lowerCase)
    {
        if (head.Length < lowerCase.Length) return false;
        for (int i = 0; i < lowerCase.Length; i++)
        {
            if (char.ToLowerInvariant((char)head[i]) != lowerCase[i]) return false;
        }

        return true;
    }

    private static byte[] Head(string path)
    {
        using FileStream file = DataFiles.Open(path);
        var head = new byte[HeadBytes];
        return head[..file.ReadAtLeast(head, head.Length, throwOnEndOfStream: false)];
    }

    // This runs while an error is being explained; a file that cannot be read explains nothing.
    private static Finding? RecogniseFile(string path)
    {
        try
        {
            return Recognise(Head(path));
        }
        catch (IOException)
        {
            return null;
        }
    }

    private sealed record Finding(string What, string? Advice = null, bool IsArchive = false)
    {
        public override string ToString() => Advice is null ? What : $"{What} ({Advice})";
    }
}
