using System.Globalization;
using System.Runtime.InteropServices;

namespace FeedbackKernels.Cli;

/// <summary>Signals that this process was started to ignore: <c>nohup</c> does that with SIGHUP.</summary>
internal static class IgnoredSignals
{
    private const string Status = "/proc/self/status", Line = "SigIgn:";

    // Read before anything registers a handler, which would end the ignoring.
    private static readonly ulong Mask = Read();

    /// <summary>Whether a signal is one of them. Where the system does not tell, none is.</summary>
    public static bool Contain(PosixSignal signal) => signal == PosixSignal.SIGHUP && (Mask & 1) != 0;

    private static ulong Read()
    {
        if (!File.Exists(Status)) return 0;
        string? line = File.ReadLines(Status).FirstOrDefault(l => l.StartsWith(Line, StringComparison.Ordinal));
        return ulong.TryParse(line?[Line.Length..].Trim(), NumberStyles.HexNumber, CultureInfo.InvariantCulture, out ulong mask) ? mask : 0;
    }
}
