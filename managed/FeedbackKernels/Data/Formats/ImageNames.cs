namespace FeedbackKernels.Data;

/// <summary>Which files are taken for images: those that end as the formats of <see cref="ImageFormat"/> do, in either case.</summary>
internal static class ImageNames
{
    private static readonly string[] Extensions = ["jpg", "jpeg", "png", "webp", "ppm", "pgm"];

    /// <summary>The extensions, for messages.</summary>
    public static string Wanted { get; } = "." + string.Join(" .", Extensions);

    /// <summary>Whether an extension without its dot is one of an image.</summary>
    public static bool IsExtension(ReadOnlySpan<char> extension)
    {
        foreach (string known in Extensions)
        {
            if (extension.Equals(known, StringComparison.OrdinalIgnoreCase)) return true;
        }

        return false;
    }

    /// <summary>Whether a file's name is one of an image.</summary>
    public static bool IsImage(ReadOnlySpan<char> name) => Path.GetExtension(name) is { Length: > 1 } extension && IsExtension(extension[1..]);
}
