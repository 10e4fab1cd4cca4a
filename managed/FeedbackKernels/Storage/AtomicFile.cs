using System.Text;

namespace FeedbackKernels.Storage;

/// <summary>Writes files that appear whole or not at all, whatever ends the process in between.</summary>
public static class AtomicFile
{
    private const string Suffix = ".partial";

    /// <summary>
    /// Writes a file beside its place (its name with <c>.partial</c> added), flushes it to the disk, and renames it. A former
    /// file of that name is replaced. If <paramref name="write"/> throws, the former file stays and the partial one is deleted.
    /// </summary>
    /// <param name="path">The file.</param>
    /// <param name="write">Writes the content to the stream it is given, and leaves the stream open.</param>
    /// <exception cref="IOException">The file cannot be written.</exception>
    public static void Write(string path, Action<Stream> write)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        ArgumentNullException.ThrowIfNull(write);
        string partial = PartialOf(path);
        try
        {
            using (FileStream file = File.Create(partial))
            {
                write(file);
                // The rename must not reach the disk before the content does.
                file.Flush(flushToDisk: true);
            }

            File.Move(partial, path, overwrite: true);
        }
        catch
        {
            File.Delete(partial);
            throw;
        }
    }

    /// <summary>The name that a file has until it is whole.</summary>
    internal static string PartialOf(string path) => path + Suffix;

    /// <summary>Writes a text file in UTF-8 without a byte order mark, as <see cref="Write"/> does.</summary>
    /// <param name="path">The file.</param>
    /// <param name="text">Its content.</param>
    /// <exception cref="IOException">The file cannot be written.</exception>
    public static void WriteAllText(string path, string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        Write(path, file => file.Write(Encoding.UTF8.GetBytes(text)));
    }
}
