using System.Runtime.InteropServices;

namespace FeedbackKernels.Cli;

/// <summary>Ctrl-C and a polite kill: the first asks the run to finish its step and write what there is, the second ends
/// the program.</summary>
internal sealed class Interrupt : IDisposable
{
    /// <summary>128 + SIGINT, what shells expect.</summary>
    public const int LastExitCode = 130;

    private readonly CancellationTokenSource _source = new();
    private readonly PosixSignalRegistration[] _signals;

    public Interrupt() => _signals =
    [
        PosixSignalRegistration.Create(PosixSignal.SIGINT, Handle), PosixSignalRegistration.Create(PosixSignal.SIGTERM, Handle),
    ];

    public int ExitCode { get; } = LastExitCode;

    public CancellationToken Token => _source.Token;

    public void Dispose()
    {
        foreach (PosixSignalRegistration signal in _signals) signal.Dispose();
        _source.Dispose();
    }

    private void Handle(PosixSignalContext context)
    {
        if (_source.IsCancellationRequested) return;
        context.Cancel = true;
        _source.Cancel();
    }
}
