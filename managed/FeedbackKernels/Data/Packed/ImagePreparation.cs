using System.Globalization;

namespace FeedbackKernels.Data;

/// <summary>How images are stored in a packed file.</summary>
public enum PackEncoding
{
    /// <summary>The bytes of the source.</summary>
    Keep,

    /// <summary>Encoded again as JPEG.</summary>
    Jpeg,

    /// <summary>Pixels, three bytes each.</summary>
    Raw,
}

/// <summary>How images were resized and encoded for a packed file.</summary>
public sealed record ImagePreparation
{
    /// <summary>Quality of JPEG unless another is asked for.</summary>
    public const int UsualQuality = 90;

    /// <summary>How images are stored that are not among <see cref="RawShare"/>.</summary>
    public PackEncoding Encode { get; init; }

    /// <summary>The longer side of images that were larger, in pixels; null without such a limit. Does not apply to images whose bytes are
    /// kept.</summary>
    public int? LongestSide { get; init; }

    /// <summary>The shorter side of images that were larger, in pixels; null without such a limit. Does not apply to images whose bytes are
    /// kept.</summary>
    public int? ShortestSide { get; init; }

    /// <summary>Quality of JPEG, 1 to 100; null if nothing was encoded as JPEG.</summary>
    public int? Quality { get; init; }

    /// <summary>Share of the images that is stored as pixels, 0 to 1.</summary>
    public double RawShare { get; init; }

    /// <summary>Size of an image after resizing. Images are not enlarged; the other side is rounded down, as torchvision does.</summary>
    /// <param name="rows">Rows of the image.</param>
    /// <param name="columns">Columns of the image.</param>
    public (int Rows, int Columns) Resize(int rows, int columns)
    {
        int side = LongestSide is not null ? Math.Max(rows, columns) : Math.Min(rows, columns);
        return (LongestSide ?? ShortestSide) is { } wanted && side > wanted ? (Scale(rows), Scale(columns)) : (rows, columns);

        int Scale(int length) => Math.Max(1, (int)((long)length * wanted / side));
    }

    /// <summary>Checks the settings.</summary>
    /// <exception cref="ArgumentException">One is out of range, or both sides are given.</exception>
    public void Validate()
    {
        if (!Enum.IsDefined(Encode)) throw new ArgumentException($"encode: {(int)Encode}, wanted keep, jpeg or raw");
        if (LongestSide is { } longest && longest is < 1 or > PackedFormat.MostSide) throw SideError("longestSide", LongestSide);
        if (ShortestSide is { } shortest && shortest is < 1 or > PackedFormat.MostSide) throw SideError("shortestSide", ShortestSide);
        if (LongestSide is not null && ShortestSide is not null) throw new ArgumentException($"longestSide {LongestSide} and shortestSide {ShortestSide}, wanted at most one of both");
        if (Quality is < 1 or > 100) throw new ArgumentException($"quality: {Quality}, wanted 1 to 100");
        if (!(RawShare >= 0 && RawShare <= 1)) throw new ArgumentException($"rawShare: {RawShare}, wanted 0 to 1");
    }

    /// <summary>A clause about how the images were made.</summary>
    public override string ToString()
    {
        string resized = LongestSide is { } longest ? $", longest side at most {longest}" : ShortestSide is { } shortest ? $", shortest side at most {shortest}" : "";
        string stored = Encode switch
        {
            PackEncoding.Raw => "raw pixels",
            PackEncoding.Jpeg => $"encoded as JPEG of quality {Quality}",
            _ => "bytes of the source kept",
        };
        return RawShare > 0
            ? string.Create(CultureInfo.InvariantCulture, $"{stored}, {100 * RawShare:0.##} % raw pixels{resized}")
            : stored + resized;
    }

    private static ArgumentException SideError(string name, int? value) => new($"{name}: {value}, wanted 1 to {PackedFormat.MostSide} pixels");
}
