using System.Text;

namespace FeedbackKernels.Watch;

/// <summary>New lines of a file.</summary>
/// <param name="Anew">Whether these are lines from the start of the file: it is read for the first time, or has been replaced.</param>
/// <param name="Lines">Whole lines, without their ends.</param>
internal readonly record struct NewLines(bool Anew, IReadOnlyList<string> Lines);

/// <summary>
/// Reads a text file while another process writes it. A line counts once its end is written. A file that was replaced or cut off, as by a
/// run that was resumed, is read from the start again.
/// </summary>
/// <param name="path">The file; it need not exist yet.</param>
internal sealed class FileTail(string path)
{
    private const int MostBytes = 4 * 1024 * 1024;

    private long _position;
    private byte[] _lastLine = [];

    /// <summary>Reads the lines that have been completed since the last call, at most 4 MiB of them; null if nothing has changed.</summary>
    public NewLines? Read()
    {
        try
        {
            return FolderRules.IsOwnFile(path) ? ReadFile() : Forget();
        }
        catch (IOException)
        {
            // Deleted at this moment, or on a disk that fails for a while: there is another try soon.
            return null;
        }
        catch (UnauthorizedAccessException)
        {
            return null;
        }
    }

    private NewLines? ReadFile()
    {
        using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
        bool anew = _position == 0;
        if (!anew && !HasLastLine(file)) (anew, _position, _lastLine) = (true, 0, []);
        file.Position = _position;
        var bytes = new byte[Math.Min(MostBytes, file.Length - _position)];
        int length = file.ReadAtLeast(bytes, bytes.Length, throwOnEndOfStream: false);
        int end = bytes.AsSpan(0, length).LastIndexOf((byte)'\n') + 1;
        // This is no text; what follows may be.
        if (end == 0 && length == MostBytes) end = length;
        if (end == 0) return anew && _position > 0 ? new NewLines(true, []) : null;
        int start = bytes.AsSpan(0, end - 1).LastIndexOf((byte)'\n') + 1;
        _lastLine = bytes[start..end];
        _position += end;
        return new NewLines(anew, Encoding.UTF8.GetString(bytes, 0, end - 1).Split('\n'));
    }

    /// <summary>Whether the last line that was read is where it was.</summary>
    private bool HasLastLine(FileStream file)
    {
        if (file.Length < _position) return false;
        var found = new byte[_lastLine.Length];
        file.Position = _position - found.Length;
        return file.ReadAtLeast(found, found.Length, throwOnEndOfStream: false) == found.Length && found.AsSpan().SequenceEqual(_lastLine);
    }

    private NewLines? Forget()
    {
        if (_position == 0) return null;
        (_position, _lastLine) = (0, []);
        return new NewLines(true, []);
    }
}
