using System.Globalization;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace FeedbackKernels.Data;

/// <summary>The image data of a packed file in memory.</summary>
internal sealed class PackedMemory : SafeBuffer
{
    private const int PartBytes = 64 << 20;

    private PackedMemory(nint memory, long length) : base(ownsHandle: true)
    {
        SetHandle(memory);
        Initialize((ulong)length);
    }

    /// <summary>Reads a part of a file into memory.</summary>
    /// <exception cref="OutOfMemoryException">There is not enough memory.</exception>
    /// <exception cref="IOException">The file cannot be read.</exception>
    public static unsafe PackedMemory Read(SafeFileHandle file, string path, long offset, long length)
    {
        RequireMemory(path, length, AvailableBytes());
        var memory = new PackedMemory((nint)NativeMemory.Alloc((nuint)Math.Max(length, 1)), length);
        try
        {
            for (long done = 0; done < length; done += PartBytes)
            {
                var part = new Span<byte>((byte*)memory.handle + done, (int)Math.Min(PartBytes, length - done));
                PackedRead.Exactly(file, part, offset + done, () => $"{path}, image data");
            }

            return memory;
        }
        catch
        {
            memory.Dispose();
            throw;
        }
    }

    /// <summary>Copies bytes out.</summary>
    public void CopyTo(long offset, Span<byte> destination) => ReadSpan((ulong)offset, destination);

    /// <exception cref="OutOfMemoryException">The images need more than is available.</exception>
    internal static void RequireMemory(string path, long wanted, long available)
    {
        if (wanted > available)
        {
            throw new InsufficientMemoryException(string.Create(
                CultureInfo.InvariantCulture, $"{path}: the images need {Gibibytes(wanted)} GiB of memory, {Gibibytes(available)} GiB are available"));
        }

        static string Gibibytes(long bytes) => (bytes / (double)(1 << 30)).ToString("0.##", CultureInfo.InvariantCulture);
    }

    /// <summary>Memory that this process can still take: on Linux what the kernel calls available, everywhere at most the limit of its
    /// container.</summary>
    internal static long AvailableBytes()
    {
        long limit = GC.GetGCMemoryInfo().TotalAvailableMemoryBytes - Environment.WorkingSet;
        return Math.Max(0, OperatingSystem.IsLinux() && ReadMemAvailable() is { } available ? Math.Min(limit, available) : limit);
    }

    /// <inheritdoc/>
    protected override unsafe bool ReleaseHandle()
    {
        NativeMemory.Free((void*)handle);
        return true;
    }

    private static long? ReadMemAvailable()
    {
        const string Info = "/proc/meminfo", Line = "MemAvailable:";
        if (!File.Exists(Info)) return null;
        string? line = File.ReadLines(Info).FirstOrDefault(l => l.StartsWith(Line, StringComparison.Ordinal));
        return long.TryParse(line?[Line.Length..].Replace("kB", "", StringComparison.Ordinal).Trim(), CultureInfo.InvariantCulture, out long kibibytes) ? kibibytes << 10 : null;
    }
}
