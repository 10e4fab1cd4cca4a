using System.Globalization;
using BenchmarkDotNet.Columns;
using BenchmarkDotNet.Reports;
using BenchmarkDotNet.Running;

namespace FeedbackKernels.Bench.Suites;

/// <summary>GFLOP/s of the convolutions at the median time, counted as direct convolutions.</summary>
internal sealed class GflopsColumn : IColumn
{
    private const double NanosecondsPerSecond = 1e9;

    public string Id => nameof(GflopsColumn);

    public string ColumnName => "GFLOP/s";

    public string Legend => "2*N*P*Q*K*C*R*S divided by the median time, for Winograd too";

    public bool AlwaysShow => true;

    public ColumnCategory Category => ColumnCategory.Custom;

    public int PriorityInCategory => 0;

    public bool IsNumeric => true;

    public UnitType UnitType => UnitType.Dimensionless;

    public bool IsAvailable(Summary summary) => summary.BenchmarksCases.Any(c => typeof(ConvolutionBenchmarks).IsAssignableFrom(c.Descriptor.Type));

    public bool IsDefault(Summary summary, BenchmarkCase benchmarkCase) => false;

    public string GetValue(Summary summary, BenchmarkCase benchmarkCase, SummaryStyle style) => GetValue(summary, benchmarkCase);

    public string GetValue(Summary summary, BenchmarkCase benchmarkCase)
    {
        double? nanoseconds = summary[benchmarkCase]?.ResultStatistics?.Median;
        if (nanoseconds is null || !typeof(ConvolutionBenchmarks).IsAssignableFrom(benchmarkCase.Descriptor.Type)) return "-";
        string name = (string)benchmarkCase.Parameters[nameof(LayerBenchmarks.Shape)];
        double flops = LayerBenchmarks.Shapes.First(s => s.Name == name).Shape.Flops;
        return (flops / (nanoseconds.Value / NanosecondsPerSecond) / 1e9).ToString("F1", CultureInfo.InvariantCulture);
    }
}
