using Microsoft.Win32.SafeHandles;

namespace FeedbackKernels.Data;

/// <summary>Whole files that are read once each.</summary>
internal static class ImageFiles
{
    /// <summary>Opens a file whose length fits into an array.</summary>
    /// <exception cref="IOException">It does not exist or may not be read.</exception>
    /// <exception cref="InvalidDataException">It is longer than an array can be.</exception>
    public static SafeFileHandle Open(string path, out int length)
    {
        SafeFileHandle handle = Open(path);
        long found = RandomAccess.GetLength(handle);
        if (found <= Array.MaxLength - 1)
        {
            length = (int)found;
            return handle;
        }

        handle.Dispose();
        throw new InvalidDataException($"{path}: {found} bytes, the limit for an image is {Array.MaxLength - 1}");
    }

    /// <summary>Opens a file of any length. Others may write it: a lock for each image would cost a round trip on network file systems.</summary>
    /// <exception cref="IOException">It does not exist or may not be read.</exception>
    public static SafeFileHandle Open(string path)
    {
        try
        {
            return File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
        }
        catch (FileNotFoundException e)
        {
            throw new FileNotFoundException($"file '{path}' is not there", path, e);
        }
        catch (UnauthorizedAccessException e)
        {
            throw new IOException($"file '{path}' may not be read: {e.Message}", e);
        }
    }

    /// <summary>Fills a buffer from an offset on.</summary>
    /// <returns>The number of bytes; fewer than the buffer has only at the end of the file.</returns>
    public static int Fill(SafeFileHandle handle, long offset, Span<byte> buffer)
    {
        int filled = 0;
        while (filled < buffer.Length)
        {
            int read = RandomAccess.Read(handle, buffer[filled..], offset + filled);
            if (read == 0) break;
            filled += read;
        }

        return filled;
    }
}
