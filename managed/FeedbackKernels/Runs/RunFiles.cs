using FeedbackKernels.Reports;

namespace FeedbackKernels.Runs;

/// <summary>Names of the files in a run's folder.</summary>
public static class RunFiles
{
    /// <summary>The <see cref="RunConfig"/>.</summary>
    public const string Config = "config.json";

    /// <summary>The trained model.</summary>
    public const string Model = "model.safetensors";

    /// <summary>Table with a line for each epoch.</summary>
    public const string Metrics = "metrics.csv";

    /// <summary>Table with a line for each layer and measurement of the alignment.</summary>
    public const string Alignment = "alignment.csv";

    /// <summary>What happened when.</summary>
    public const string Log = "log.txt";

    /// <summary>The <see cref="RunSummary"/>.</summary>
    public const string Summary = "summary.json";

    /// <summary>Accuracies under attacks, which <c>feedback study</c> computes.</summary>
    internal const string Attacks = "attacks.json";

    /// <summary>The report.</summary>
    public const string Report = "report.html";

    /// <summary>Start of the names of the files for TensorBoard; a run that was resumed has several.</summary>
    public const string EventPrefix = "events.out.tfevents.";

    /// <summary>All files but those for TensorBoard, in the order of deletion: if a deletion is interrupted, what is left is either a run that can be read or
    /// no run.</summary>
    internal static IReadOnlyList<string> All { get; } = [Report, Attacks, Summary, Model, Metrics, Alignment, Log, Config];
}
