using System.Globalization;

namespace FeedbackKernels.Data;

/// <summary>Names of classes.</summary>
internal static class ClassNames
{
    /// <summary>The numbers from 0, for classes without names.</summary>
    public static IReadOnlyList<string> Numbers(int classes) =>
        [.. Enumerable.Range(0, classes).Select(k => k.ToString(CultureInfo.InvariantCulture))];

    /// <summary>The names, after a check of their number.</summary>
    /// <exception cref="ArgumentException">There is not one name for each class.</exception>
    public static IReadOnlyList<string> Checked(IReadOnlyList<string> names, int classes)
    {
        ArgumentNullException.ThrowIfNull(names);
        return names.Count == classes
            ? names
            : throw new ArgumentException($"{names.Count} class names, wanted {classes}, one for each class", nameof(names));
    }
}
