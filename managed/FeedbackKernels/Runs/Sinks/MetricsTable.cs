using FeedbackKernels.Training;

namespace FeedbackKernels.Runs;

/// <summary>Writes metrics.csv: a line for each epoch. The columns of waiting are fractions of the time of the epoch's steps.</summary>
internal sealed class MetricsTable(string path) : IRunSink
{
    private readonly CsvTable _table = new(
        path, "epoch,step,learningRate,trainLoss,trainTop1,testLoss,testTop1,testTop5,imagesPerSecond,seconds,waitingRead,waitingDecode,waitingResize,waitingUpload,checkpointSeconds");

    /// <inheritdoc/>
    public void OnStart(TrainingResult measured, int step) => _table.Start(measured.Epochs.Select(Line));

    /// <inheritdoc/>
    public void OnEpoch(EpochReport report) => _table.Add(Line(report));

    /// <inheritdoc/>
    public void Dispose() => _table.Dispose();

    private static FormattableString Line(EpochReport report) =>
        $"{report.Epoch},{report.Step},{report.LearningRate:G6},{report.TrainLoss:G6},{report.TrainTop1:G6},{report.TestLoss:G6},{report.TestTop1:G6},{report.TestTop5:G6},{report.ImagesPerSecond:F1},{report.Seconds:F2},{report.WaitingRead:G4},{report.WaitingDecode:G4},{report.WaitingResize:G4},{report.WaitingUpload:G4},{report.CheckpointSeconds:G6}";
}
