using System.Runtime.InteropServices;

namespace FeedbackKernels.Tests.Collectives;

/// <summary>The emulated NCCL, which sums between processes or threads of this machine, on buffers of the emulated driver.</summary>
internal static partial class EmulatedNccl
{
    private const string Library = "libfeedback-emulated-nccl.so";

    public static string Path { get; } = System.IO.Path.Combine(AppContext.BaseDirectory, Library);

    /// <summary>Whether sums of this thread run as soon as they are queued, also where the driver defers work: then those that do not wait for
    /// the backend come too soon.</summary>
    public static void RunEarly(bool early) => SetEarly(early ? 1 : 0);

    /// <summary>Whether a communicator has been neither aborted nor destroyed.</summary>
    public static bool Knows(nint communicator) => KnowsCommunicator(communicator) != 0;

    [LibraryImport(Library, EntryPoint = "emulatedNcclKnows")]
    private static partial int KnowsCommunicator(nint communicator);

    [LibraryImport(Library, EntryPoint = "emulatedNcclEarly")]
    private static partial void SetEarly(int value);
}
