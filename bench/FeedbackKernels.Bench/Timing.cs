using System.Diagnostics;

namespace FeedbackKernels.Bench;

/// <summary>Seconds of one call: median and best of many.</summary>
internal readonly record struct Timing(double Median, double Best)
{
    private const int FewestCalls = 7, MostCalls = 200;

    /// <summary>Calls until the time is used up, after two calls that warm caches and compile.</summary>
    public static Timing Of(Action action, double budgetSeconds)
    {
        action();
        action();
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
