using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace FeedbackKernels.Data;

/// <summary>Tells the operating system how a file will be read. On systems other than Linux nothing happens.</summary>
internal static partial class FileAdvice
{
    // From fcntl.h of Linux.
    private const int NeededSoon = 3, NotNeeded = 4;

    /// <summary>A part will be read soon.</summary>
    public static void WillNeed(SafeFileHandle file, long offset, long length) => Advise(file, offset, length, NeededSoon);

    /// <summary>A part need not stay in memory; what is read of it next comes from the disk. The part must have been flushed.</summary>
    public static void DontNeed(SafeFileHandle file, long offset, long length) => Advise(file, offset, length, NotNeeded);

    // Advice that a file system does not support changes nothing, so the result is of no interest.
    private static void Advise(SafeFileHandle file, long offset, long length, int advice)
    {
        if (OperatingSystem.IsLinux()) _ = PosixAdvise(file, offset, length, advice);
    }

    [LibraryImport("libc", EntryPoint = "posix_fadvise")]
    private static partial int PosixAdvise(SafeFileHandle file, long offset, long length, int advice);
}
