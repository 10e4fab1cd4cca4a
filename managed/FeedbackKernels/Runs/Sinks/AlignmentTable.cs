using System.Globalization;
using FeedbackKernels.Training;

namespace FeedbackKernels.Runs;

/// <summary>Writes alignment.csv: a line for each layer and measurement.</summary>
internal sealed class AlignmentTable(string path) : IRunSink
{
    private readonly CsvTable _table = new(path, "epoch,step,layer,rule,weightAngle,normRatio,deltaAngle");

    /// <inheritdoc/>
    public void OnStart(TrainingResult measured, int step) => _table.Start(measured.Alignment.Select(Line));

    /// <inheritdoc/>
    public void OnAlignment(IReadOnlyList<LayerAlignment> layers) => _table.Add(layers.Select(Line));

    /// <inheritdoc/>
    public void Dispose() => _table.Dispose();

    private static FormattableString Line(LayerAlignment a) =>
        $"{a.Epoch.ToString("G6", CultureInfo.InvariantCulture)},{a.Step},{a.Layer},{a.Rule},{Number(a.WeightAngle)},{Number(a.NormRatio)},{Number(a.DeltaAngle)}";

    /// <summary>An empty cell where there is nothing to compare.</summary>
    private static string Number(double value) =>
        double.IsFinite(value) ? value.ToString("G6", CultureInfo.InvariantCulture) : "";
}
