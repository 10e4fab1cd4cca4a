using System.Runtime.ExceptionServices;

namespace FeedbackKernels.Data;

/// <summary>Work on files that waits more than it computes.</summary>
internal static class InParallel
{
    // Network file systems answer many requests at once, so that more threads than cores help.
    private static readonly int Threads = Math.Max(8, Environment.ProcessorCount);

    /// <summary>Runs an action for each number from 0 on several threads. If some fail, the error is that of the lowest number, so that
    /// it does not depend on the threads.</summary>
    public static void Run(int count, Action<int> action)
    {
        var errors = new ExceptionDispatchInfo?[count];
        Parallel.For(0, count, new ParallelOptions { MaxDegreeOfParallelism = Threads }, (i, loop) =>
        {
            try
            {
                action(i);
            }
            catch (Exception e)
            {
                errors[i] = ExceptionDispatchInfo.Capture(e);
                // Lower numbers still run.
                loop.Break();
            }
        });
        Array.Find(errors, error => error is not null)?.Throw();
    }
}
