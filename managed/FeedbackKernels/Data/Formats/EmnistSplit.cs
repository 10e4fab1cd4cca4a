namespace FeedbackKernels.Data;

/// <summary>
/// A split of EMNIST (Cohen et al. 2017). Its images are stored transposed, its letters are numbered from 1, and its number of
/// classes is fixed.
/// </summary>
/// <param name="Classes">Names of the classes.</param>
/// <param name="FirstLabel">Label of the first class, if no label is 0.</param>
internal sealed record EmnistSplit(IReadOnlyList<string> Classes, int FirstLabel)
{
    private const string Prefix = "emnist-";
    private const string Digits = "0123456789", Capitals = "ABCDEFGHIJKLMNOPQRSTUVWXYZ", Letters = "abcdefghijklmnopqrstuvwxyz";

    // Lower-case letters that do not look like their capitals; the others share the class of the capital.
    private const string Merged = Digits + Capitals + "abdefghnqrt";

    /// <summary>Whether files with this prefix before "-train-images" belong to EMNIST.</summary>
    public static bool IsEmnist(string prefix) => prefix.StartsWith(Prefix, StringComparison.OrdinalIgnoreCase);

    /// <summary>The split that a prefix names; null for other prefixes.</summary>
    public static EmnistSplit? Named(string prefix) => prefix.ToLowerInvariant() switch
    {
        Prefix + "byclass" => new(Names(Digits + Capitals + Letters), 0),
        Prefix + "bymerge" or Prefix + "balanced" => new(Names(Merged), 0),
        Prefix + "letters" => new(Names(Letters), 1),
        Prefix + "digits" or Prefix + "mnist" => new(Names(Digits), 0),
        _ => null,
    };

    private static string[] Names(string characters) => [.. characters.Select(c => c.ToString())];
}
