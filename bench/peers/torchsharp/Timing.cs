namespace TorchPeer;

/// <summary>Seconds per call: median and best of many calls. The calls time themselves, so that their preparation does not
/// count.</summary>
internal readonly record struct Timing(double Median, double Best)
{
    private const int WarmUpCalls = 2, FewestCalls = 7, MostCalls = 200;
    private const double WarmUpSeconds = 0.3;

    /// <summary>Measures calls until the budget is used up. Warm-up calls come first: at least two, and for 0.3 s or half of the
    /// budget, whichever is less. The same method as in our benchmarks.</summary>
    public static Timing Of(Func<double> call, double budgetSeconds)
    {
        double wanted = Math.Min(WarmUpSeconds, budgetSeconds / 2);
        double warm = 0;
        for (int i = 0; i < WarmUpCalls || warm < wanted; i++) warm += call();
        return Collect(call, (calls, total) => (total < budgetSeconds || calls < FewestCalls) && calls < MostCalls);
    }

    /// <summary>Measures a number of calls, after two for warm-up.</summary>
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
