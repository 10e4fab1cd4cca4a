using System.Globalization;
using System.Runtime.InteropServices;

namespace FeedbackKernels.Cli;

/// <summary>Signals that the parent process made this process ignore, as <c>nohup</c> does with SIGHUP.</summary>
internal static class IgnoredSignals
{
    private const string Status = "/proc/self/status", Line = "SigIgn:";

    // Read before a handler is registered, because a handler would replace the setting.
    private static readonly ulong Mask = Read();

    /// <summary>Whether a signal is ignored. If the system does not tell, none is.</summary>
    public static bool Contain(PosixSignal signal) => signal == PosixSignal.SIGHUP && (Mask & 1) != 0;

    private static ulong Read()
    {
        if (!File.Exists(Status)) return 0;
        string? line = File.ReadLines(Status).FirstOrDefault(l => l.StartsWith(Line, StringComparison.Ordinal));
        return ulong.TryParse(line?[Line.Length..].Trim(), NumberStyles.HexNumber, CultureInfo.InvariantCulture, out ulong mask) ? mask : 0;
    }
}
