using Microsoft.Win32.SafeHandles;

namespace FeedbackKernels.Data;

/// <summary>Reads of parts of packed files, whose errors say where they happened.</summary>
internal static class PackedRead
{
    /// <summary>Fills a buffer from a file.</summary>
    /// <param name="file">The file.</param>
    /// <param name="destination">The buffer.</param>
    /// <param name="offset">Where to begin in the file.</param>
    /// <param name="what">File, and what is read of it, for messages.</param>
    /// <exception cref="IOException">The file cannot be read, or has become shorter.</exception>
    public static void Exactly(SafeFileHandle file, Span<byte> destination, long offset, Func<string> what)
    {
        while (destination.Length > 0)
        {
            int read = Part(file, destination, offset, what);
            if (read == 0) throw new EndOfStreamException($"{what()}, offset {offset}: the file ends here, expected {destination.Length} more bytes: it became shorter while it was open");
            destination = destination[read..];
            offset += read;
        }
    }

    private static int Part(SafeFileHandle file, Span<byte> destination, long offset, Func<string> what)
    {
        try
        {
            return RandomAccess.Read(file, destination, offset);
        }
        catch (IOException e)
        {
            throw new IOException($"{what()}, offset {offset}: {e.Message}", e);
        }
    }
}
