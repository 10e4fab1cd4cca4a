namespace FeedbackKernels.Data;

/// <summary>All that the content of a packed file depends on. It is kept beside a file while that is written, so that packing only goes on
/// with the same settings and the same source.</summary>
internal sealed record PackPlan
{
    /// <summary>Version of the format, and of the code that encodes images; a change starts a file anew.</summary>
    public int Version { get; init; } = PackedFormat.Version;

    /// <summary>The source.</summary>
    public required DataFingerprint Source { get; init; }

    /// <summary>Its classes.</summary>
    public required IReadOnlyList<string> ClassNames { get; init; }

    /// <summary>Training images that are packed.</summary>
    public required int TrainCount { get; init; }

    /// <summary>Test images that are packed.</summary>
    public required int TestCount { get; init; }

    /// <summary>How images are resized and encoded.</summary>
    public required ImagePreparation Preparation { get; init; }

    /// <summary>Seed of the order.</summary>
    public required ulong Seed { get; init; }

    /// <summary>How this plan differs from an earlier one, a clause each; empty if both are the same.</summary>
    public IReadOnlyList<string> DifferencesFrom(PackPlan former)
    {
        var differences = new List<string>();
        if (Version != former.Version) differences.Add($"format version {Version}, before {former.Version}");
        if (Preparation != former.Preparation) differences.Add($"{Preparation}, before {former.Preparation}");
        if (Seed != former.Seed) differences.Add($"seed {Seed}, before {former.Seed}");
        if ((TrainCount, TestCount) != (former.TrainCount, former.TestCount))
            differences.Add($"{TrainCount} training and {TestCount} test images, before {former.TrainCount} and {former.TestCount}");
        if (!ClassNames.SequenceEqual(former.ClassNames)) differences.Add("other classes");
        if (Source != former.Source) differences.Add($"another source ({string.Join("; ", Source.DifferencesFrom(former.Source).DefaultIfEmpty("its files differ"))})");
        return differences;
    }
}
