using FeedbackKernels.Training;

namespace FeedbackKernels.Reports;

/// <summary>A result that a study averages over seeds.</summary>
/// <param name="Name">Name in the tables.</param>
/// <param name="Of">The result of a run; null if it has none.</param>
internal sealed record StudyMeasure(string Name, Func<StudiedRun, double?> Of)
{
    /// <summary>Top-1 accuracy after the last epoch.</summary>
    public static StudyMeasure TestTop1 { get; } = new("testTop1", run => run.Summary?.TestTop1);

    /// <summary>Best top-1 accuracy of all epochs.</summary>
    public static StudyMeasure BestTestTop1 { get; } = new("bestTestTop1", run => run.Summary?.BestTestTop1);

    /// <summary>Training loss of the last epoch.</summary>
    public static StudyMeasure TrainLoss { get; } = new("trainLoss", run => run.Summary?.FinalLoss);

    /// <summary>Test loss after the last epoch.</summary>
    public static StudyMeasure TestLoss { get; } = new("testLoss", run => run.Summary?.TestLoss);

    /// <summary>Largest angle between W and Bᵀ of all layers and measurements after the first step.</summary>
    public static StudyMeasure LargestWeightAngle { get; } = new("largestWeightAngle", run => run.LargestWeightAngle);

    /// <summary>Largest angle between W and Bᵀ of all layers at the end.</summary>
    public static StudyMeasure LastWeightAngle { get; } = new("lastWeightAngle", run => Finite(run.LastAngles?.LargestWeightAngle));

    /// <summary>Largest angle between the error and backprop's of all layers and measurements after the first step.</summary>
    public static StudyMeasure LargestDeltaAngle { get; } = new("largestDeltaAngle", run => run.LargestDeltaAngle);

    /// <summary>Largest angle between the error and backprop's of all layers at the end.</summary>
    public static StudyMeasure LastDeltaAngle { get; } = new("lastDeltaAngle", run => Finite(run.LastAngles?.LargestDeltaAngle));

    /// <summary>Mean over layers of the norm of B over the norm of W, at the end.</summary>
    public static StudyMeasure NormRatio { get; } = new("normRatio", run => Finite(run.LastAngles?.NormRatio));

    private static IReadOnlyDictionary<AttackKind, StudyMeasure> UnderAttack { get; } = Enum.GetValues<AttackKind>().ToDictionary(
        kind => kind, kind => new StudyMeasure($"{Attack.NameOf(kind)}Top1", run => run.Attacked.TryGetValue(kind, out double top1) ? top1 : null));

    /// <summary>Duration.</summary>
    public static StudyMeasure Seconds { get; } = new("seconds", run => run.Summary?.Seconds);

    /// <summary>Training speed.</summary>
    public static StudyMeasure ImagesPerSecond { get; } = new("imagesPerSecond", run => run.Summary?.ImagesPerSecond);

    /// <summary>Those that a seed determines: all but times.</summary>
    public static IReadOnlyList<StudyMeasure> Determined { get; } =
        [TestTop1, BestTestTop1, TrainLoss, TestLoss, LargestWeightAngle, LastWeightAngle, LargestDeltaAngle, LastDeltaAngle, NormRatio, .. UnderAttack.Values];

    /// <summary>All, in the order of study.csv.</summary>
    public static IReadOnlyList<StudyMeasure> All { get; } = [.. Determined, Seconds, ImagesPerSecond];

    /// <summary>Top-1 accuracy of the trained model under an attack.</summary>
    public static StudyMeasure Under(AttackKind kind) => UnderAttack[kind];

    private static double? Finite(double? value) => value is { } found && double.IsFinite(found) ? found : null;
}
