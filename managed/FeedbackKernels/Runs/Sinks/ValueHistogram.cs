using FeedbackKernels.Runs.TensorBoard;

namespace FeedbackKernels.Runs;

/// <summary>Histograms with TensorFlow's buckets: limits that grow by 10 % from 1e-12 to 1e20, the same below zero, and zero
/// between.</summary>
internal static class ValueHistogram
{
    private static readonly double[] Limits = CreateLimits();

    /// <summary>Counts the values that are finite; null if there is none. Empty buckets are left out at the ends, and joined elsewhere.</summary>
    public static HistogramProto? Of(ReadOnlySpan<float> values)
    {
        var histogram = new HistogramProto { Min = double.MaxValue, Max = double.MinValue };
        var counts = new long[Limits.Length];
        foreach (float value in values)
        {
            if (!float.IsFinite(value)) continue;
            histogram.Min = Math.Min(histogram.Min, value);
            histogram.Max = Math.Max(histogram.Max, value);
            histogram.Num++;
            histogram.Sum += value;
            histogram.SumSquares += (double)value * value;
            counts[BucketOf(value)]++;
        }

        if (histogram.Num == 0) return null;
        for (int i = BucketOf(histogram.Min); i <= BucketOf(histogram.Max); i++)
        {
            // The next one begins where this one would end.
            if (counts[i] == 0 && counts[i + 1] == 0) continue;
            histogram.BucketLimit.Add(Limits[i]);
            histogram.Bucket.Add(counts[i]);
        }

        return histogram;
    }

    /// <summary>The first bucket whose limit is above the value.</summary>
    private static int BucketOf(double value)
    {
        int found = Array.BinarySearch(Limits, value);
        return found < 0 ? ~found : found + 1;
    }

    private static double[] CreateLimits()
    {
        var positive = new List<double>();
        for (double limit = 1e-12; limit < 1e20; limit *= 1.1) positive.Add(limit);
        return [.. Enumerable.Reverse(positive).Select(limit => -limit), 0, .. positive, double.MaxValue];
    }
}
