using FeedbackKernels.Reports;

namespace FeedbackKernels.Cli;

/// <summary>The exit code of training commands.</summary>
internal static class Outcome
{
    /// <summary>Exit code if a run diverged.</summary>
    public const int Diverged = 3;

    /// <summary>Writes to the error stream which runs diverged, and returns the exit code: that of the signal that stopped the program,
    /// <see cref="Diverged"/>, or 0.</summary>
    public static int ExitCodeOf(IEnumerable<RunSummary> runs, Interrupt interrupt)
    {
        string[] diverged = [.. runs.Where(run => run.Diverged is not null).Select(run => run.Rule)];
        if (diverged.Length > 0 && Processes.Group.IsFirst) Console.Error.WriteLine($"feedback: {string.Join(", ", diverged)} diverged. A lower learning rate usually helps");
        return interrupt.Token.IsCancellationRequested ? interrupt.ExitCode : diverged.Length > 0 ? Diverged : 0;
    }
}
