using System.Diagnostics;

namespace FeedbackKernels.Bench;

/// <summary>Seconds of one call: median and best of many.</summary>
internal readonly record struct Timing(double Median, double Best)
{
    private const int WarmUpCalls = 2, FewestCalls = 7, MostCalls = 200;

    // The runtime compiles a method again, optimised, when it has been called 30 times and 100 ms have passed without new
    // methods: in a process that measures one small layer that has to be waited for.
    private const double WarmUpSeconds = 0.3;

    /// <summary>Calls until the time is used up, after calls that warm caches and let the runtime compile: two at least,
    /// and for 0.3 s or half of the budget, whichever is less.</summary>
    public static Timing Of(Action action, double budgetSeconds)
    {
        long warmUp = Stopwatch.GetTimestamp();
        for (int call = 0; call < WarmUpCalls || Stopwatch.GetElapsedTime(warmUp).TotalSeconds < Math.Min(WarmUpSeconds, budgetSeconds / 2); call++) action();
        var seconds = new List<double>();
        for (double total = 0; (total < budgetSeconds || seconds.Count < FewestCalls) && seconds.Count < MostCalls; total += seconds[^1])
        {
            long start = Stopwatch.GetTimestamp();
            action();
            seconds.Add(Stopwatch.GetElapsedTime(start).TotalSeconds);
        }

        seconds.Sort();
        return new Timing(seconds[seconds.Count / 2], seconds[0]);
    }
}
