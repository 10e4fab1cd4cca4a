using System.Globalization;

namespace FeedbackKernels.Settings;

/// <summary>The range of a numeric setting. NaN and infinity are outside every range.</summary>
/// <param name="Least">Lower end.</param>
/// <param name="Most">Upper end; infinity for none.</param>
/// <param name="WithLeast">Whether the range includes its lower end.</param>
/// <param name="WithMost">Whether the range includes its upper end.</param>
public readonly record struct Bounds(double Least, double Most, bool WithLeast = true, bool WithMost = true)
{
    /// <summary><paramref name="least"/> or more.</summary>
    /// <param name="least">The smallest number of the range.</param>
    public static Bounds AtLeast(double least) => new(least, double.PositiveInfinity);

    /// <summary>Above 0.</summary>
    public static Bounds Positive { get; } = new(0, double.PositiveInfinity, WithLeast: false);

    /// <summary>0 to below 1.</summary>
    public static Bounds Share { get; } = new(0, 1, WithMost: false);

    /// <summary>Above 0 to 1.</summary>
    public static Bounds PositiveShare { get; } = new(0, 1, WithLeast: false);

    /// <summary>Whether a number is in the range.</summary>
    /// <param name="value">The number.</param>
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
