using FeedbackKernels.Training;

namespace FeedbackKernels.Reports;

/// <summary>How a run of a study ended.</summary>
internal enum RunStatus
{
    /// <summary>All its epochs.</summary>
    Finished,

    /// <summary>The loss or a weight became NaN or infinite.</summary>
    Diverged,

    /// <summary>An error ended it.</summary>
    Failed,

    /// <summary>A signal stopped it; it can go on.</summary>
    Stopped,
}

/// <summary>An epoch of a run, as its metrics.csv has it.</summary>
/// <param name="Epoch">From 1.</param>
/// <param name="TrainLoss">Training loss.</param>
/// <param name="TestTop1">Top-1 accuracy of the test images, 0 to 1.</param>
internal readonly record struct StudiedEpoch(double Epoch, double TrainLoss, double TestTop1);

/// <summary>A measurement of the alignment of all layers, from a run's alignment.csv. Angles are in degrees; NaN where no layer has one.</summary>
/// <param name="Epoch">Epochs done; a fraction within an epoch.</param>
/// <param name="Step">Steps done.</param>
/// <param name="LargestWeightAngle">Largest angle of all layers between W and Bᵀ.</param>
/// <param name="LargestDeltaAngle">Largest angle of all layers between the error and backprop's.</param>
/// <param name="NormRatio">Mean over layers of the norm of B over the norm of W.</param>
internal readonly record struct StudiedAngles(double Epoch, double Step, double LargestWeightAngle, double LargestDeltaAngle, double NormRatio);

/// <summary>A run of a study, as the files in its folder tell it.</summary>
/// <param name="Label">Label of its rule with its settings.</param>
/// <param name="Rule">Name of the rule.</param>
/// <param name="Settings">Options that this rule alone has, as on a command line; empty for none.</param>
/// <param name="Value">Its value of the swept option; null if nothing is swept, or if the option has no effect on the rule.</param>
/// <param name="Seed">Its seed.</param>
/// <param name="Folder">Its folder, relative to the study's.</param>
/// <param name="Status">How it ended.</param>
/// <param name="Failure">What ended it, if it diverged or failed.</param>
/// <param name="Summary">Its results; null if it has none.</param>
/// <param name="Epochs">Its epochs.</param>
/// <param name="Angles">Its measurements of the alignment, the first one before training.</param>
internal sealed record StudiedRun(
    string Label, string Rule, string Settings, string? Value, ulong Seed, string Folder, RunStatus Status, string? Failure,
    RunSummary? Summary, IReadOnlyList<StudiedEpoch> Epochs, IReadOnlyList<StudiedAngles> Angles)
{
    /// <summary>Top-1 accuracy under each attack of the study that has been made on the trained model, 0 to 1.</summary>
    public IReadOnlyDictionary<AttackKind, double> Attacked { get; init; } = new Dictionary<AttackKind, double>();

    /// <summary>Largest angle between W and Bᵀ of all layers and measurements after the first step; null if there is none.</summary>
    public double? LargestWeightAngle => Largest(InTraining.Select(a => a.LargestWeightAngle));

    /// <summary>Largest angle between the error and backprop's of all layers and measurements after the first step; null if there is
    /// none.</summary>
    public double? LargestDeltaAngle => Largest(InTraining.Select(a => a.LargestDeltaAngle));

    /// <summary>The last measurement of the alignment; null if there is none.</summary>
    public StudiedAngles? LastAngles => Angles is [.., var last] ? last : null;

    private IEnumerable<StudiedAngles> InTraining => Angles.Where(a => a.Step > 0);

    private static double? Largest(IEnumerable<double> values) =>
        values.Where(double.IsFinite).Select(value => (double?)value).DefaultIfEmpty(null).Max();
}
