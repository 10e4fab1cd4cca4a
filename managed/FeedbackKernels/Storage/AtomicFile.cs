using System.Runtime.InteropServices;
using System.Text;
using Microsoft.Win32.SafeHandles;

namespace FeedbackKernels.Storage;

/// <summary>Writes files that appear whole or not at all, whatever ends the process or the machine in between.</summary>
public static partial class AtomicFile
{
    private const string Suffix = ".partial";

    // Results of fsync from file systems that have no flush of a folder.
    private const int BadHandle = 9, InvalidArgument = 22;

    /// <summary>
    /// Writes a file beside its place (its name with <c>.partial</c> added), flushes it to the disk, renames it, and flushes the
    /// folder. A former file of that name is replaced. If <paramref name="write"/> throws, the former file stays and the partial one is
    /// deleted.
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
        catch (ArgumentOutOfRangeException e) when (e.ParamName == "value")
        {
            // What FileStream throws where the file system, or a limit of the process, allows no file of that length.
            File.Delete(partial);
            throw new IOException($"file '{partial}' cannot become that long: {e.Message.Split(" (Parameter")[0]}", e);
        }
        catch
        {
            File.Delete(partial);
            throw;
        }

        FlushFolder(Path.GetDirectoryName(Path.GetFullPath(path))!);
    }

    /// <summary>The name that a file has until it is whole.</summary>
    internal static string PartialOf(string path) => path + Suffix;

    /// <summary>Deletes partial files that a killed process left in a folder.</summary>
    internal static void DeletePartials(string folder)
    {
        foreach (string file in Directory.EnumerateFiles(folder, "*" + Suffix).ToList()) File.Delete(file);
    }

    /// <summary>Writes a text file in UTF-8 without a byte order mark, as <see cref="Write"/> does.</summary>
    /// <param name="path">The file.</param>
    /// <param name="text">Its content.</param>
    /// <exception cref="IOException">The file cannot be written.</exception>
    public static void WriteAllText(string path, string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        Write(path, file => file.Write(Encoding.UTF8.GetBytes(text)));
    }

    /// <summary>Brings the names in a folder to the disk: without that, a machine that loses power may come back without a file that was
    /// renamed.</summary>
    private static void FlushFolder(string folder)
    {
        // NTFS keeps a journal of names, and Windows opens no folder as a file.
        if (OperatingSystem.IsWindows()) return;
        int handle = OpenFile(folder, 0);
        if (handle < 0) throw CannotFlush(folder);
        using var owner = new SafeFileHandle(handle, ownsHandle: true);
        if (Flush(handle) != 0 && Marshal.GetLastPInvokeError() is not (BadHandle or InvalidArgument)) throw CannotFlush(folder);
    }

    private static IOException CannotFlush(string folder) =>
        new($"folder '{folder}' cannot be flushed to the disk: {Marshal.GetLastPInvokeErrorMessage()}");

    [LibraryImport("libc", EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int OpenFile(string path, int flags);

    [LibraryImport("libc", EntryPoint = "fsync", SetLastError = true)]
    private static partial int Flush(int handle);
}
