using System.Globalization;

namespace FeedbackKernels.Interop;

/// <summary>How long a process waits for others that give no sign, before it ends with an error.</summary>
internal static class WaitingTime
{
    /// <summary>The environment variable that sets it, in seconds.</summary>
    public const string EnvironmentVariable = "FEEDBACK_WAITING_TIME";

    // As long as the default of PyTorch's NCCL: the others may wait while the first evaluates, or writes to a slow disk.
    private static readonly TimeSpan Usual = TimeSpan.FromMinutes(10);

    /// <summary>The time.</summary>
    /// <exception cref="CommunicationException">The variable is not a number of seconds.</exception>
    public static TimeSpan Read()
    {
        string? text = Environment.GetEnvironmentVariable(EnvironmentVariable);
        if (string.IsNullOrEmpty(text)) return Usual;
        return double.TryParse(text, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out double seconds) && seconds is > 0 and <= 1e6
            ? TimeSpan.FromSeconds(seconds)
            : throw new CommunicationException($"{EnvironmentVariable} is '{text}', wanted seconds above 0, at most 1000000");
    }

    /// <summary>What to say of a process that has waited too long.</summary>
    /// <param name="engine">What it waits in: NCCL or MPI.</param>
    /// <param name="rank">Number of the process.</param>
    /// <param name="waited">How long it has waited.</param>
    /// <param name="what">What for.</param>
    /// <param name="limit">How long it might have.</param>
    public static string Over(string engine, int rank, TimeSpan waited, string what, TimeSpan limit) =>
        $"{engine}: process {rank} has waited {Text(waited)} for the {what}; another process hangs, or cannot be reached ({EnvironmentVariable} sets the limit of {Text(limit)})";

    /// <summary>A time as errors say it.</summary>
    public static string Text(TimeSpan time) => string.Create(CultureInfo.InvariantCulture, $"{time.TotalSeconds:0.#} s");
}
