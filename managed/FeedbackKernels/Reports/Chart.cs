using System.Net;
using OxyPlot;
using OxyPlot.Axes;
using OxyPlot.Series;

namespace FeedbackKernels.Reports;

/// <summary>A curve of a chart.</summary>
/// <param name="Name">Name in the legend; empty for none.</param>
/// <param name="Points">Its points; those that are not finite are left out.</param>
/// <param name="Color">Its colour.</param>
internal sealed record Curve(string Name, IEnumerable<(double X, double Y)> Points, OxyColor Color);

/// <summary>Line charts as SVG inside HTML.</summary>
internal static class Chart
{
    private const int Width = 560, Height = 320;

    // Okabe and Ito's colours, which people with any kind of colour vision tell apart.
    private static readonly OxyColor[] Colors =
    [
        OxyColor.FromRgb(0, 114, 178), OxyColor.FromRgb(213, 94, 0), OxyColor.FromRgb(0, 158, 115), OxyColor.FromRgb(204, 121, 167),
        OxyColor.FromRgb(86, 180, 233), OxyColor.FromRgb(230, 159, 0), OxyColor.FromRgb(0, 0, 0),
    ];

    /// <summary>Colour number i of the palette.</summary>
    public static OxyColor Color(int i) => Colors[i % Colors.Length];

    /// <summary>A colour for layer i of n: from dark (near the image) to light (near the loss).</summary>
    public static OxyColor Depth(int i, int n) => OxyPalettes.Viridis(Math.Max(2, n)).Colors[i];

    /// <summary>Draws curves; an axis bound that is null follows the data.</summary>
    public static string Figure(string title, string xTitle, string yTitle, IReadOnlyList<Curve> curves, double? lowest = null, double? highest = null)
    {
        var model = new PlotModel
        {
            Title = title,
            TitleFontSize = 14,
            TitleFontWeight = FontWeights.Normal,
            PlotAreaBorderColor = OxyColors.LightGray,
            DefaultFont = "system-ui, sans-serif",
        };
        LinearAxis bottom = Axis(AxisPosition.Bottom, xTitle, null, null);
        (bottom.MinimumMajorStep, bottom.MinimumMinorStep) = (1, 1);
        model.Axes.Add(bottom);
        model.Axes.Add(Axis(AxisPosition.Left, yTitle, lowest, highest));
        foreach (Curve curve in curves)
        {
            var series = new LineSeries { Color = curve.Color, StrokeThickness = 1.8 };
            series.Points.AddRange(curve.Points.Where(p => double.IsFinite(p.Y)).Select(p => new DataPoint(p.X, p.Y)));
            if (series.Points.Count < 40) (series.MarkerType, series.MarkerSize, series.MarkerFill) = (MarkerType.Circle, 2.5, curve.Color);
            model.Series.Add(series);
        }

        string svg = new SvgExporter { Width = Width, Height = Height, IsDocument = false }.ExportToString(model);
        return $"<figure>{svg}<figcaption>{string.Concat(curves.Where(c => c.Name.Length > 0).Select(LegendEntry))}</figcaption></figure>";
    }

    // The legend is the page's: the SVG exporter guesses how wide a browser's font runs, and would cut names off.
    private static string LegendEntry(Curve curve) =>
        $"<span><i style=\"background:#{curve.Color.R:x2}{curve.Color.G:x2}{curve.Color.B:x2}\"></i>{WebUtility.HtmlEncode(curve.Name)}</span> ";

    private static LinearAxis Axis(AxisPosition position, string title, double? lowest, double? highest) => new()
    {
        Position = position,
        Title = title,
        Minimum = lowest ?? double.NaN,
        Maximum = highest ?? double.NaN,
        MajorGridlineStyle = LineStyle.Solid,
        MajorGridlineColor = OxyColor.FromRgb(235, 235, 235),
        TicklineColor = OxyColors.LightGray,
        FontSize = 11,
        TitleFontSize = 12,
        AxisTitleDistance = 14,
    };
}
