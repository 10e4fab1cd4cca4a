using System.Globalization;
using System.Text.Json;
using FeedbackKernels.Models;
using FeedbackKernels.Reports;
using FeedbackKernels.Storage;
using FeedbackKernels.Training;

namespace FeedbackKernels.Runs;

/// <summary>The folder that a run writes: config.json at its start, the tables as it goes, the rest at its end.</summary>
public sealed class RunFolder : ITrainingObserver, IDisposable
{
    private readonly ITrainingObserver? _next;
    private readonly RunConfig _config;
    private readonly StreamWriter _metrics, _alignment;

    /// <summary>Makes the folder and writes the configuration.</summary>
    /// <param name="path">The folder; new, or empty, or one that may be overwritten.</param>
    /// <param name="config">The run.</param>
    /// <param name="next">Is told what this one is told.</param>
    public RunFolder(string path, RunConfig config, ITrainingObserver? next = null)
    {
        ArgumentNullException.ThrowIfNull(config);
        Path = Directory.CreateDirectory(path).FullName;
        _config = config;
        _next = next;
        config.Write(File("config.json"));
        _metrics = Table("metrics.csv", "epoch,step,learningRate,trainLoss,trainTop1,testLoss,testTop1,testTop5,imagesPerSecond,seconds");
        _alignment = Table("alignment.csv", "epoch,step,layer,rule,weightAngle,normRatio,deltaAngle");
    }

    /// <summary>The folder.</summary>
    public string Path { get; }

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

    /// <summary>Writes the model, the summary and the report.</summary>
    public RunSummary Finish(Model model, TrainingResult result)
    {
        RunSummary summary = RunSummary.Of(_config, model, result);
        Checkpoint.Save(model, File("model.safetensors"));
        System.IO.File.WriteAllText(File("summary.json"), JsonSerializer.Serialize(summary, RunJson.Default.RunSummary) + "\n");
        System.IO.File.WriteAllText(File("report.html"), HtmlReport.OfRun(_config, summary, result));
        return summary;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _metrics.Dispose();
        _alignment.Dispose();
    }

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
