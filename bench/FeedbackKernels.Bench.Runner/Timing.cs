using System.Diagnostics;
using FeedbackKernels.Interop;

namespace FeedbackKernels.Bench;

/// <summary>Seconds per call: median and best of many samples.</summary>
internal readonly record struct Timing(double Median, double Best)
{
    private const int WarmUpCalls = 2, FewestSamples = 7, MostSamples = 200, MostCallsInASample = 1000;

    // The runtime recompiles a method with optimisations once it has been called 30 times and no new methods have appeared for
    // 100 ms. A process that measures one small layer has to wait for that.
    private const double WarmUpSeconds = 0.3;

    // Launching into an empty queue and waiting for the result takes some 20 microseconds, which must not dominate a sample.
    private const double SampleSecondsOfADevice = 4e-3;

    /// <summary>
    /// Measures calls until the budget is used up. Warm-up calls come first, at least two, and for 0.3 s or half of the budget,
    /// whichever is less. A sample is one call. If the backend queues its work, a sample is as many calls between two
    /// synchronisations as take 4 ms or a tenth of the budget, whichever is less.
    /// </summary>
    public static Timing Of(Backend backend, Action action, double budgetSeconds)
    {
        long warmUp = Stopwatch.GetTimestamp();
        double last = 0;
        for (int call = 0; call < WarmUpCalls || Stopwatch.GetElapsedTime(warmUp).TotalSeconds < Math.Min(WarmUpSeconds, budgetSeconds / 2); call++)
            last = Sample(backend, action, 1);
        int calls = backend.QueuesWork ? CallsFor(Math.Min(SampleSecondsOfADevice, budgetSeconds / 10), last) : 1;
        var seconds = new List<double>();
        for (double total = 0; (total < budgetSeconds || seconds.Count < FewestSamples) && seconds.Count < MostSamples; total += calls * seconds[^1])
            seconds.Add(Sample(backend, action, calls));
        return OfSamples(seconds);
    }

    /// <summary>Median and best of samples.</summary>
    public static Timing OfSamples(List<double> seconds)
    {
        seconds.Sort();
        return new Timing(seconds[seconds.Count / 2], seconds[0]);
    }

    /// <summary>Seconds per call, of a number of calls between two synchronisations.</summary>
    public static double Sample(Backend backend, Action action, int calls)
    {
        backend.Synchronize();
        long start = Stopwatch.GetTimestamp();
        for (int call = 0; call < calls; call++) action();
        backend.Synchronize();
        return Stopwatch.GetElapsedTime(start).TotalSeconds / calls;
    }

    private static int CallsFor(double seconds, double call) => (int)Math.Clamp(seconds / call, 1, MostCallsInASample);
}
