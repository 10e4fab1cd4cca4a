using System.Globalization;
using System.Runtime.InteropServices;

namespace FeedbackKernels.Cli;

/// <summary>Signals that the parent process set to be ignored, as <c>nohup</c> does with SIGHUP.</summary>
internal static class IgnoredSignals
{
    private const string Status = "/proc/self/status", Line = "SigIgn:";

    // Read before a handler is registered: that would stop the signal from being ignored.
    private static readonly ulong Mask = Read();

    /// <summary>Whether a signal is ignored; false if the system does not say.</summary>
    public static bool Contain(PosixSignal signal) => signal == PosixSignal.SIGHUP && (Mask & 1) != 0;

    private static ulong Read()
    {
        if (!File.Exists(Status)) return 0;
        string? line = File.ReadLines(Status).FirstOrDefault(l => l.StartsWith(Line, StringComparison.Ordinal));
        return ulong.TryParse(line?[Line.Length..].Trim(), NumberStyles.HexNumber, CultureInfo.InvariantCulture, out ulong mask) ? mask : 0;
    }
}
