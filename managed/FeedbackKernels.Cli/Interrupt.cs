using System.Runtime.InteropServices;

namespace FeedbackKernels.Cli;

/// <summary>
/// Ctrl-C, a polite kill and a terminal that is closed: the first signal asks the run to finish its step and write what there
/// is, the second ends the program. Before and after an object of this class lives, a signal ends the program at once.
/// </summary>
internal sealed class Interrupt : IDisposable
{
    // What a shell reports of a program that a signal ended: 128 and the signal's number.
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

    /// <summary>Exit code of the signal that came last to any object of this class; Ctrl-C's where none came.</summary>
    public static int LastExitCode => _lastExitCode;

    /// <summary>Is cancelled by the first signal.</summary>
    public CancellationToken Token => _source.Token;

    /// <summary>The exit code of the signal that came: 130 for SIGINT, 143 for SIGTERM, 129 for SIGHUP; 0 where none came.</summary>
    public int ExitCode => _exitCode;

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (PosixSignalRegistration signal in _signals) signal.Dispose();
        _source.Dispose();
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
