using System.Globalization;

namespace FeedbackKernels.Cli;

/// <summary>The numbers that an option takes. Values that are not finite are none of them.</summary>
/// <param name="Least">Lower end.</param>
/// <param name="Most">Upper end; infinity for none.</param>
/// <param name="WithLeast">Whether the lower end belongs to it.</param>
/// <param name="WithMost">Whether the upper end does.</param>
internal readonly record struct Bounds(double Least, double Most, bool WithLeast = true, bool WithMost = true)
{
    /// <summary>Any number from <paramref name="least"/> on.</summary>
    public static Bounds AtLeast(double least) => new(least, double.PositiveInfinity);

    /// <summary>Any number above 0.</summary>
    public static Bounds Positive { get; } = new(0, double.PositiveInfinity, WithLeast: false);

    /// <summary>0 to below 1.</summary>
    public static Bounds Share { get; } = new(0, 1, WithMost: false);

    /// <summary>Above 0 to 1.</summary>
    public static Bounds PositiveShare { get; } = new(0, 1, WithLeast: false);

    /// <summary>Whether a number is one of them.</summary>
    public bool Contain(double value) =>
        double.IsFinite(value) && (WithLeast ? value >= Least : value > Least) && (WithMost ? value <= Most : value < Most);

    /// <inheritdoc/>
    public override string ToString()
    {
        if (double.IsPositiveInfinity(Most)) return WithLeast ? $"{Text(Least)} or more" : $"a number above {Text(Least)}";
        return $"{(WithLeast ? "" : "above ")}{Text(Least)} to {(WithMost ? "" : "below ")}{Text(Most)}";
    }

    private static string Text(double value) => value.ToString("R", CultureInfo.InvariantCulture);
}
