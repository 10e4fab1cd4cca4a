using System.Globalization;
using System.Text.Json;
using FeedbackKernels.Data;
using FeedbackKernels.Models;
using FeedbackKernels.Reports;
using FeedbackKernels.Storage;
using FeedbackKernels.Training;

namespace FeedbackKernels.Runs;

/// <summary>
/// The folder that a run writes: config.json at its start, the tables and the model after each epoch, the rest at its end. No
/// other run can write to it meanwhile.
/// </summary>
public sealed class RunFolder : ITrainingObserver, IDisposable
{
    private readonly ClaimedFolder _folder;
    private readonly ITrainingObserver? _next;
    private readonly RunConfig _config;
    private readonly Model _model;
    private readonly Preprocessing _preprocessing;
    private readonly string _configuration;
    private readonly StreamWriter _metrics, _alignment;

    /// <summary>Claims the folder, deletes the files of a former run where that is allowed, and writes the configuration.</summary>
    /// <param name="place">The folder.</param>
    /// <param name="config">The run.</param>
    /// <param name="model">The model that the run trains.</param>
    /// <param name="preprocessing">What its images go through.</param>
    /// <param name="next">Is told what this one is told.</param>
    /// <exception cref="IOException">The folder is in use, or has files in it and may not be overwritten; or a file cannot be
    /// written.</exception>
    public RunFolder(RunPlace place, RunConfig config, Model model, Preprocessing preprocessing, ITrainingObserver? next = null)
    {
        ArgumentNullException.ThrowIfNull(place);
        ArgumentNullException.ThrowIfNull(config);
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(preprocessing);
        (_config, _model, _preprocessing, _next) = (config, model, preprocessing, next);
        _configuration = config.Hash();
        _folder = place.Claim();
        try
        {
            config.Write(File(RunFiles.Config));
            _metrics = Table(RunFiles.Metrics, "epoch,step,learningRate,trainLoss,trainTop1,testLoss,testTop1,testTop5,imagesPerSecond,seconds");
            _alignment = Table(RunFiles.Alignment, "epoch,step,layer,rule,weightAngle,normRatio,deltaAngle");
        }
        catch
        {
            _metrics?.Dispose();
            _folder.Dispose();
            throw;
        }
    }

    /// <summary>The folder, as an absolute path.</summary>
    public string Path => _folder.Path;

    /// <inheritdoc/>
    public void OnStep(in StepReport report) => _next?.OnStep(report);

    /// <inheritdoc/>
    public void OnEpoch(EpochReport report)
    {
        ArgumentNullException.ThrowIfNull(report);
        _metrics.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"{report.Epoch},{report.Step},{report.LearningRate:G6},{report.TrainLoss:G6},{report.TrainTop1:G6},{report.TestLoss:G6},{report.TestTop1:G6},{report.TestTop5:G6},{report.ImagesPerSecond:F1},{report.Seconds:F2}"));
        _metrics.Flush();
        // The trainer reports an epoch while all weights are finite: what comes later cannot take this one away.
        SaveModel();
        _next?.OnEpoch(report);
    }

    /// <inheritdoc/>
    public void OnAlignment(IReadOnlyList<LayerAlignment> layers)
    {
        ArgumentNullException.ThrowIfNull(layers);
        foreach (LayerAlignment a in layers)
        {
            _alignment.WriteLine(
                $"{a.Epoch},{a.Step},{a.Layer},{a.Rule},{Number(a.WeightAngle)},{Number(a.NormRatio)},{Number(a.DeltaAngle)}");
        }

        _alignment.Flush();
        _next?.OnAlignment(layers);
    }

    /// <summary>Writes the summary and the report, and the model of a run that was stopped in an epoch.</summary>
    /// <param name="result">What the run came to.</param>
    /// <param name="divergence">What ended it, where a loss or a weight was not finite: the model is then that of the last epoch
    /// before.</param>
    public RunSummary Finish(TrainingResult result, NonFiniteLossException? divergence = null)
    {
        ArgumentNullException.ThrowIfNull(result);
        RunSummary summary = RunSummary.Of(_config, _model, result, divergence);
        if (result.Cancelled && _model.FirstTensorNotFinite() is null) SaveModel();
        AtomicFile.WriteAllText(File(RunFiles.Summary), JsonSerializer.Serialize(summary, RunJson.Default.RunSummary) + "\n");
        AtomicFile.WriteAllText(File(RunFiles.Report), HtmlReport.OfRun(_config, summary, result));
        return summary;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _metrics.Dispose();
        _alignment.Dispose();
        _folder.Dispose();
    }

    private void SaveModel() => StoredModel.Save(_model, File(RunFiles.Model), _preprocessing, _configuration);

    private string File(string name) => System.IO.Path.Combine(Path, name);

    private StreamWriter Table(string name, string header)
    {
        var table = new StreamWriter(File(name)) { NewLine = "\n" };
        table.WriteLine(header);
        table.Flush();
        return table;
    }

    /// <summary>An empty cell where there is nothing to compare.</summary>
    private static string Number(double value) =>
        double.IsFinite(value) ? value.ToString("G6", CultureInfo.InvariantCulture) : "";
}
