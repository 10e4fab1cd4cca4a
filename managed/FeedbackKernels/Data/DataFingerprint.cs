using System.Text.Json.Serialization;

namespace FeedbackKernels.Data;

/// <summary>Identifies a data set without reading all of it.</summary>
/// <param name="Kind">Name of the kind of source, or <c>memory</c> for images that the caller made.</param>
/// <param name="Train">The training half; null if it was not opened.</param>
/// <param name="Test">The test half; null if it was not opened.</param>
public sealed record DataFingerprint([property: JsonRequired] string Kind, SetFingerprint? Train, SetFingerprint? Test)
{
    /// <summary>Compares data with those that a run had.</summary>
    /// <param name="other">The fingerprint of the run's data.</param>
    /// <returns>One clause for each difference; empty if there is none. A half that either fingerprint lacks is not compared.</returns>
    public IReadOnlyList<string> DifferencesFrom(DataFingerprint other)
    {
        ArgumentNullException.ThrowIfNull(other);
        if (Kind != other.Kind) return [$"data of the kind {Kind}, the run had {other.Kind}"];
        // A packed file is in both halves, and differs once.
        return [.. Compare("training", Train, other.Train).Concat(Compare("test", Test, other.Test)).Distinct()];
    }

    private static IReadOnlyList<string> Compare(string half, SetFingerprint? found, SetFingerprint? recorded) =>
        found is null || recorded is null ? [] : found.DifferencesFrom(recorded, half);
}

/// <summary>One half of a data set, before any limit on the number of images.</summary>
/// <param name="Images">Number of images.</param>
/// <param name="H">Rows of an image; 0 if the sizes vary.</param>
/// <param name="W">Columns of an image; 0 if the sizes vary.</param>
/// <param name="C">Channels of an image.</param>
/// <param name="Classes">Number of classes.</param>
/// <param name="Files">The files that the images were read from; empty for images that do not come from files.</param>
public sealed record SetFingerprint(
    [property: JsonRequired] int Images,
    [property: JsonRequired] int H,
    [property: JsonRequired] int W,
    [property: JsonRequired] int C,
    [property: JsonRequired] int Classes,
    IReadOnlyList<FileFingerprint> Files)
{
    /// <summary>The files that the images were read from, in the order of reading.</summary>
    /// <exception cref="ArgumentException">The list is null or holds null.</exception>
    [JsonRequired]
    public IReadOnlyList<FileFingerprint> Files { get; init => field = RequireFiles(value); } = RequireFiles(Files);

    /// <inheritdoc/>
    public bool Equals(SetFingerprint? other) =>
        other is not null && (Images, H, W, C, Classes) == (other.Images, other.H, other.W, other.C, other.Classes) && Files.SequenceEqual(other.Files);

    /// <inheritdoc/>
    public override int GetHashCode() => HashCode.Combine(Images, H, W, C, Classes, Files.Count);

    internal static SetFingerprint Of(IImageSource images, IReadOnlyList<FileFingerprint> files) =>
        new(images.Count, images.Shape?.H ?? 0, images.Shape?.W ?? 0, images.Channels, images.Classes, files);

    // A list in a file may hold null, whatever its type says.
    private static IReadOnlyList<FileFingerprint> RequireFiles(IReadOnlyList<FileFingerprint> files) =>
        files is not null && files.All(file => file is not null) ? files : throw new ArgumentException("files: null, wanted a list of files");

    internal IReadOnlyList<string> DifferencesFrom(SetFingerprint recorded, string half)
    {
        var differences = new List<string>();
        if (Images != recorded.Images) differences.Add($"{Images} {half} images, the run had {recorded.Images}");
        if ((H, W, C) != (recorded.H, recorded.W, recorded.C))
            differences.Add($"{half} images of {H}x{W}x{C}, the run had {recorded.H}x{recorded.W}x{recorded.C}");
        if (Classes != recorded.Classes) differences.Add($"{Classes} classes of {half} images, the run had {recorded.Classes}");
        foreach (FileFingerprint was in recorded.Files)
        {
            FileFingerprint? now = Files.FirstOrDefault(file => file.Name == was.Name);
            if (now is null) differences.Add($"no {was.Name}, the run had it ({was.Bytes} bytes)");
            else if (now.DifferenceFrom(was) is { } difference) differences.Add(difference);
        }

        differences.AddRange(Files.Where(now => recorded.Files.All(was => was.Name != now.Name)).Select(now => $"{now.Name}, the run did not have it"));
        return differences;
    }
}

/// <summary>A file of a data set, or, for sources of many images, the list of what was found.</summary>
/// <param name="Name">Its name, relative to the data set's folder, with <c>/</c> between folders.</param>
/// <param name="Bytes">Its length as it is stored.</param>
/// <param name="Sha256">SHA-256 of its content, or of the list, in lower-case hexadecimal; null for files above 1 MiB.</param>
public sealed record FileFingerprint([property: JsonRequired] string Name, [property: JsonRequired] long Bytes, string? Sha256)
{
    internal string? DifferenceFrom(FileFingerprint recorded)
    {
        if (Bytes != recorded.Bytes) return $"{Name}: {Bytes} bytes, the run had {recorded.Bytes}";
        return Sha256 is not null && recorded.Sha256 is not null && Sha256 != recorded.Sha256
            ? $"{Name}: SHA-256 {Sha256}, the run had {recorded.Sha256}"
            : null;
    }
}
