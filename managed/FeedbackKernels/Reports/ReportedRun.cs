using FeedbackKernels.Training;

namespace FeedbackKernels.Reports;

/// <summary>A run as a report shows it; it may still go on.</summary>
/// <param name="Summary">Its results.</param>
/// <param name="Result">All its measurements.</param>
/// <param name="Epochs">Epochs that it was to have.</param>
/// <param name="Configuration">Its configuration, as text.</param>
public sealed record ReportedRun(RunSummary Summary, TrainingResult Result, int Epochs, string Configuration);
