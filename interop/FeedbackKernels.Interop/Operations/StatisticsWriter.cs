namespace FeedbackKernels.Interop;

/// <summary><see cref="BatchStatistics"/> in host memory, as pointers; null if absent.</summary>
internal unsafe struct StatisticsPointers(in BatchStatistics statistics)
{
    public float* Mean = statistics.Mean.Floats, Variance = statistics.Variance.Floats;
    public float* RunningMean = statistics.RunningMean.Floats, RunningVariance = statistics.RunningVariance.Floats;
    public float Momentum = statistics.Momentum;
}

/// <summary>Writes the batch statistics of a channel and updates its running statistics.</summary>
internal static unsafe class StatisticsWriter
{
    /// <param name="statistics">The buffers.</param>
    /// <param name="k">Channel.</param>
    /// <param name="rows">Elements of the channel.</param>
    /// <param name="mean">Their mean.</param>
    /// <param name="squares">Sum of their squared deviations from it.</param>
    public static void Store(in StatisticsPointers statistics, int k, long rows, double mean, double squares)
    {
        double variance = squares / rows, momentum = statistics.Momentum;
        statistics.Mean[k] = (float)mean;
        statistics.Variance[k] = (float)variance;
        if (statistics.RunningMean != null)
            statistics.RunningMean[k] = (float)((1 - momentum) * statistics.RunningMean[k] + momentum * mean);
        if (statistics.RunningVariance != null)
        {
            // The unbiased variance of one row is undefined; the biased one, 0, is used instead.
            double unbiased = rows > 1 ? squares / (rows - 1) : variance;
            statistics.RunningVariance[k] = (float)((1 - momentum) * statistics.RunningVariance[k] + momentum * unbiased);
        }
    }

    /// <summary>Stores the statistics of channels whose rows several processes hold.</summary>
    /// <param name="statistics">The buffers.</param>
    /// <param name="rows">Rows of each process.</param>
    /// <param name="channels">Number of channels.</param>
    /// <param name="parts">[processes][2][channels]: means, and biased variances.</param>
    public static void Merge(in BatchStatistics statistics, in SharedRows rows, int channels, float* parts)
    {
        var pointers = new StatisticsPointers(statistics);
        for (int k = 0; k < channels; k++)
        {
            double sum = 0, squares = 0;
            for (int part = 0; part < rows.Parts; part++) sum += rows.RowsOf(part) * (double)parts[2L * part * channels + k];
            double mean = sum / rows.All;
            for (int part = 0; part < rows.Parts; part++)
            {
                float* of = parts + 2L * part * channels + k;
                double deviation = of[0] - mean;
                squares += rows.RowsOf(part) * (of[channels] + deviation * deviation);
            }

            Store(pointers, k, rows.All, mean, squares);
        }
    }
}
