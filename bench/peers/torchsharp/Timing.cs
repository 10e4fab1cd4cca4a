namespace TorchPeer;

/// <summary>Seconds of one call, median and best of many, for calls that time themselves: what they prepare does not
/// count.</summary>
internal readonly record struct Timing(double Median, double Best)
{
    private const int WarmUpCalls = 2, FewestCalls = 7, MostCalls = 200;
    private const double WarmUpSeconds = 0.3;

    /// <summary>Calls until the time is used up, after calls that warm up: two at least, and for 0.3 s or half of the
    /// budget, whichever is less. The same rule as that of our own benchmarks.</summary>
    public static Timing Of(Func<double> call, double budgetSeconds)
    {
        double wanted = Math.Min(WarmUpSeconds, budgetSeconds / 2);
        double warm = 0;
        for (int i = 0; i < WarmUpCalls || warm < wanted; i++) warm += call();
        return Collect(call, (calls, total) => (total < budgetSeconds || calls < FewestCalls) && calls < MostCalls);
    }

    /// <summary>Calls so many times, after two that warm up.</summary>
    public static Timing Of(Func<double> call, int rounds)
    {
        for (int i = 0; i < WarmUpCalls; i++) call();
        return Collect(call, (calls, _) => calls < rounds);
    }

    private static Timing Collect(Func<double> call, Func<int, double, bool> goesOn)
    {
        var seconds = new List<double>();
        for (double total = 0; goesOn(seconds.Count, total); total += seconds[^1]) seconds.Add(call());
        seconds.Sort();
        return new Timing(seconds[seconds.Count / 2], seconds[0]);
    }
}
