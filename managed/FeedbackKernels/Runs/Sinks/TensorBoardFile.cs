using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;
using FeedbackKernels.Runs.TensorBoard;
using FeedbackKernels.Training;

namespace FeedbackKernels.Runs;

/// <summary>
/// Writes an event file for TensorBoard. What is written at a step depends on that step alone, so the files of a run that was resumed
/// have the points of a run that was not. TensorBoard draws one section for each first part of a tag, and one chart for each tag.
/// </summary>
internal sealed class TensorBoardFile : IRunSink
{
    // TensorBoard keeps a sample of 1000 points of a curve, and more than that cannot be told apart on a screen.
    private const int PointsInEpoch = 100;

    private readonly RunConfig _config;
    private readonly Model _model;
    private readonly string _folder;
    private readonly TimeProvider _clock;
    private readonly bool _histograms;
    private readonly Summary _errors = new();
    private EventFile? _file;
    private float[] _values = [];

    /// <summary>Writes nothing yet.</summary>
    /// <param name="folder">The folder of the run.</param>
    /// <param name="config">The run.</param>
    /// <param name="model">The model that it trains.</param>
    /// <param name="clock">The times of the events; null for the system's.</param>
    public TensorBoardFile(string folder, RunConfig config, Model model, TimeProvider? clock = null)
    {
        (_folder, _config, _model, _clock) = (folder, config, model, clock ?? TimeProvider.System);
        _histograms = config.TensorBoard == TensorBoardContent.Histograms;
    }

    /// <inheritdoc/>
    // What was written after the checkpoint is written again, or was the future of a run that is gone. Of a new run that is everything.
    public void OnStart(TrainingResult measured, int step) => _file = new EventFile(_folder, step == 0 ? 0 : step + 1, _clock);

    /// <inheritdoc/>
    public void OnStep(in StepReport report)
    {
        int every = (report.StepsInEpoch + PointsInEpoch - 1) / PointsInEpoch;
        if (report.Step % every != 0 && report.Step != report.StepsInEpoch) return;
        int step = (report.Epoch - 1) * report.StepsInEpoch + report.Step;
        Write(
            step,
            ("train/batch_loss", report.BatchLoss),
            ("schedule/learning_rate", _config.Training.Schedule.At(step - 1, report.StepsInEpoch, _config.Training.Epochs)),
            ("speed/images_per_second", report.ImagesPerSecond));
    }

    /// <inheritdoc/>
    public void OnEpoch(EpochReport report)
    {
        Write(
            report.Step,
            ("train/loss", report.TrainLoss), ("train/top1", report.TrainTop1),
            ("test/loss", report.TestLoss), ("test/top1", report.TestTop1), ("test/top5", report.TestTop5),
            ("waiting/total", report.WaitingRead + report.WaitingDecode + report.WaitingResize + report.WaitingUpload),
            ("waiting/read", report.WaitingRead), ("waiting/decode", report.WaitingDecode), ("waiting/resize", report.WaitingResize), ("waiting/upload", report.WaitingUpload),
            ("waiting/checkpoint_seconds", report.CheckpointSeconds));
        if (_histograms) WriteWeights(report.Step);
    }

    /// <inheritdoc/>
    public void OnAlignment(IReadOnlyList<LayerAlignment> layers)
    {
        Write(
            layers[0].Step,
            [
                ("alignment/weight_angle_mean", Mean(layers, a => a.WeightAngle)),
                ("alignment/error_angle_mean", Mean(layers, a => a.DeltaAngle)),
                .. layers.Select(a => ($"weight_angle/{a.Layer}", a.WeightAngle)),
                .. layers.Select(a => ($"error_angle/{a.Layer}", a.DeltaAngle)),
                .. layers.Select(a => ($"norm_ratio/{a.Layer}", a.NormRatio)),
            ]);
        WriteSummary(layers[0].Step, _errors);
        _errors.Value.Clear();
    }

    /// <inheritdoc/>
    public void OnLayerError(ConvLayer layer, BufferView error, long length)
    {
        if (_histograms) Count(_errors, $"errors/{layer.Name}", error, length);
    }

    /// <inheritdoc/>
    public void Dispose() => _file?.Dispose();

    private void WriteWeights(int step)
    {
        var summary = new Summary();
        foreach (ConvLayer layer in _model.Layers)
        {
            Count(summary, $"weights/{layer.Name}", layer.Weight.Value, layer.Weight.Length);
            if (layer.Feedback?.OwnWeights is { } own) Count(summary, $"feedback_weights/{layer.Name}", own.Value, own.Length);
        }

        WriteSummary(step, summary);
    }

    private void Count(Summary summary, string tag, BufferView tensor, long length)
    {
        if (_values.Length < length) _values = new float[length];
        Span<float> values = _values.AsSpan(0, (int)length);
        _model.Backend.DownloadFloats(tensor, values);
        if (ValueHistogram.Of(values) is { } histogram) summary.Value.Add(new Summary.Types.Value { Tag = tag, Histo = histogram });
    }

    /// <summary>Writes values; NaN says that there is nothing to show.</summary>
    private void Write(int step, params IReadOnlyList<(string Tag, double Value)> values)
    {
        var summary = new Summary();
        foreach ((string tag, double value) in values)
        {
            if (!double.IsNaN(value)) summary.Value.Add(new Summary.Types.Value { Tag = tag, SimpleValue = (float)value });
        }

        WriteSummary(step, summary);
    }

    private void WriteSummary(int step, Summary summary)
    {
        EventFile file = _file ?? throw new InvalidOperationException("the event file has not been started");
        if (summary.Value.Count > 0) file.Write(new Event { Step = step, Summary = summary });
    }

    private static double Mean(IReadOnlyList<LayerAlignment> layers, Func<LayerAlignment, double> value) =>
        layers.Select(value).Where(double.IsFinite).DefaultIfEmpty(double.NaN).Average();
}
