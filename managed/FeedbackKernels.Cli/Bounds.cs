using System.Globalization;

namespace FeedbackKernels.Cli;

/// <summary>The range of numbers that an option accepts. NaN and infinities are outside of every range.</summary>
/// <param name="Least">Lower end.</param>
/// <param name="Most">Upper end; infinity if there is none.</param>
/// <param name="WithLeast">Whether the lower end is in the range.</param>
/// <param name="WithMost">Whether the upper end is in the range.</param>
internal readonly record struct Bounds(double Least, double Most, bool WithLeast = true, bool WithMost = true)
{
    /// <summary>Any number that is at least <paramref name="least"/>.</summary>
    public static Bounds AtLeast(double least) => new(least, double.PositiveInfinity);

    /// <summary>Any number above 0.</summary>
    public static Bounds Positive { get; } = new(0, double.PositiveInfinity, WithLeast: false);

    /// <summary>At least 0 and below 1.</summary>
    public static Bounds Share { get; } = new(0, 1, WithMost: false);

    /// <summary>Above 0 and at most 1.</summary>
    public static Bounds PositiveShare { get; } = new(0, 1, WithLeast: false);

    /// <summary>Whether a number is in the range.</summary>
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
