using MathNet.Numerics.Distributions;

namespace FeedbackKernels.Reports;

/// <summary>The mean of some measurements with its 95 % confidence interval, from Student's t distribution with n - 1 degrees of
/// freedom.</summary>
/// <param name="Count">Number of measurements, n.</param>
/// <param name="Mean">Their mean; NaN if there is none.</param>
/// <param name="StandardError">Standard error of the mean: the standard deviation (with n - 1) over the root of n; NaN below two
/// measurements.</param>
/// <param name="Half">Half the width of the interval; NaN below two measurements.</param>
internal readonly record struct Interval(int Count, double Mean, double StandardError, double Half)
{
    private const double Confidence = 0.95;

    /// <summary>Lower end.</summary>
    public double Low => Mean - Half;

    /// <summary>Upper end.</summary>
    public double High => Mean + Half;

    /// <summary>Whether there are enough measurements for an interval.</summary>
    public bool HasWidth => Count > 1;

    /// <summary>The interval of some measurements.</summary>
    public static Interval Of(params IReadOnlyCollection<double> values)
    {
        int n = values.Count;
        if (n == 0) return new Interval(0, double.NaN, double.NaN, double.NaN);
        double mean = values.Average();
        if (n == 1) return new Interval(1, mean, double.NaN, double.NaN);
        double error = Math.Sqrt(values.Sum(v => (v - mean) * (v - mean)) / (n - 1) / n);
        return new Interval(n, mean, error, Quantile(n - 1) * error);
    }

    /// <summary>The factor on the standard error: the 97.5 % quantile of Student's t distribution.</summary>
    /// <param name="freedom">Degrees of freedom, 1 or more.</param>
    public static double Quantile(int freedom) => StudentT.InvCDF(0, 1, freedom, (1 + Confidence) / 2);
}
