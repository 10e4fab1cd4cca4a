namespace FeedbackKernels.Interop;

/// <summary>Writes one channel's batch statistics and moves its running ones.</summary>
internal static unsafe class StatisticsWriter
{
    /// <param name="statistics">Where they go.</param>
    /// <param name="k">Channel.</param>
    /// <param name="rows">Elements of the channel.</param>
    /// <param name="mean">Their mean.</param>
    /// <param name="squares">Sum of their squared deviations from it.</param>
    public static void Store(in BatchStatistics statistics, int k, long rows, double mean, double squares)
    {
        double variance = squares / rows, momentum = statistics.Momentum;
        statistics.Mean.Floats[k] = (float)mean;
        statistics.Variance.Floats[k] = (float)variance;
        if (!statistics.RunningMean.IsAbsent)
            statistics.RunningMean.Floats[k] = (float)((1 - momentum) * statistics.RunningMean.Floats[k] + momentum * mean);
        if (!statistics.RunningVariance.IsAbsent)
        {
            // One row has no unbiased variance; its biased one, 0, is the best there is.
            double unbiased = rows > 1 ? squares / (rows - 1) : variance;
            statistics.RunningVariance.Floats[k] = (float)((1 - momentum) * statistics.RunningVariance.Floats[k] + momentum * unbiased);
        }
    }
}
