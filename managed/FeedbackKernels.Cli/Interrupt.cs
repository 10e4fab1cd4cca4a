using System.Runtime.InteropServices;

namespace FeedbackKernels.Cli;

/// <summary>
/// Handles Ctrl-C, SIGTERM and a closed terminal: the first signal asks the run to finish its step and write its files, the second
/// one ends the program. A signal outside the lifetime of an object of this class ends the program at once.
/// </summary>
internal sealed class Interrupt : IDisposable
{
    // The exit codes that a shell reports after a signal: 128 plus the number of the signal.
    private const int HangUp = 128 + 1, Interrupted = 128 + 2, Terminated = 128 + 15;

    private static int _lastExitCode = Interrupted;

    private readonly CancellationTokenSource _source = new();
    private readonly PosixSignalRegistration[] _signals;
    private int _exitCode;

    public Interrupt()
    {
        List<PosixSignal> signals = [PosixSignal.SIGINT, PosixSignal.SIGTERM];
        if (!IgnoredSignals.Contain(PosixSignal.SIGHUP)) signals.Add(PosixSignal.SIGHUP);
        _signals = [.. signals.Select(signal => PosixSignalRegistration.Create(signal, Handle))];
    }

    /// <summary>Exit code of the last signal that any object of this class received; that of Ctrl-C if there was none.</summary>
    public static int LastExitCode => _lastExitCode;

    /// <summary>Cancelled by the first signal.</summary>
    public CancellationToken Token => _source.Token;

    /// <summary>Exit code of the first signal: 130 for SIGINT, 143 for SIGTERM, 129 for SIGHUP; 0 if there was none.</summary>
    public int ExitCode => _exitCode;

    /// <inheritdoc/>
    public void Dispose()
    {
        // The source is not disposed: a signal that came just before may still be in its handler, which cancels it.
        foreach (PosixSignalRegistration signal in _signals) signal.Dispose();
    }

    private void Handle(PosixSignalContext context)
    {
        int code = context.Signal switch
        {
            PosixSignal.SIGHUP => HangUp,
            PosixSignal.SIGTERM => Terminated,
            _ => Interrupted,
        };
        context.Cancel = true;
        if (Interlocked.CompareExchange(ref _exitCode, code, 0) != 0) Environment.Exit(code);
        _lastExitCode = code;
        _source.Cancel();
    }
}
