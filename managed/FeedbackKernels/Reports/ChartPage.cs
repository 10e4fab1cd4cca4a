using System.Globalization;
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

/// <summary>A curve over a run.</summary>
/// <param name="Name">Name in the legend; empty for none.</param>
/// <param name="Points">Its points; those whose value is not finite are left out.</param>
/// <param name="Color">Its colour.</param>
internal sealed record RunCurve(string Name, IReadOnlyList<RunPoint> Points, OxyColor Color);

/// <summary>The line charts of one page, as SVG inside HTML.</summary>
internal sealed class ChartPage
{
    private static readonly Size Large = new(560, 320, 14, 60, 25), Small = new(220, 130, 11, 35, 2);

    // Okabe and Ito's colours, which people with any kind of colour vision tell apart.
    private static readonly OxyColor[] Colors =
    [
        OxyColor.FromRgb(0, 114, 178), OxyColor.FromRgb(213, 94, 0), OxyColor.FromRgb(0, 158, 115), OxyColor.FromRgb(204, 121, 167),
        OxyColor.FromRgb(86, 180, 233), OxyColor.FromRgb(230, 159, 0), OxyColor.FromRgb(0, 0, 0),
    ];

    private int _drawn;

    /// <summary>Colour number i of the palette.</summary>
    public static OxyColor Color(int i) => Colors[i % Colors.Length];

    /// <summary>A colour for layer i of n: from dark (near the image) to light (near the loss).</summary>
    public static OxyColor Depth(int i, int n) => OxyPalettes.Viridis(Math.Max(2, n)).Colors[i];

    /// <summary>A chart; an axis bound that is null follows the data.</summary>
    public string Figure(string title, string xTitle, string yTitle, IReadOnlyList<Curve> curves, double? lowest = null, double? highest = null)
    {
        string svg = Draw(Large, title, curves, Bottom(Large, xTitle, wholeNumbers: true), Side(Large, AxisPosition.Left, yTitle, lowest, highest));
        return $"<figure>{svg}{Legend(curves.Select(c => (c.Name, c.Color)))}</figure>\n";
    }

    /// <summary>A chart of curves over a run, once for each <see cref="RunAxis"/>.</summary>
    public string OverRun(string title, string yTitle, IReadOnlyList<RunCurve> curves, double? lowest = null, double? highest = null) =>
        $"<figure>{DrawOverRun(Large, title, yTitle, curves, lowest, highest)}{Legend(curves.Select(c => (c.Name, c.Color)))}</figure>\n";

    /// <summary>Small charts of curves over a run beside each other, with the same axes and one legend above all.</summary>
    /// <param name="yTitle">Title of the vertical axes, in the legend.</param>
    /// <param name="charts">Title and curves of each.</param>
    /// <param name="highest">End of the vertical axes, which begin at 0.</param>
    public string Multiples(string yTitle, IReadOnlyList<(string Title, IReadOnlyList<RunCurve> Curves)> charts, double highest)
    {
        string all = string.Concat(charts.Select(chart => $"<figure>{DrawOverRun(Small, chart.Title, "", chart.Curves, 0, highest)}</figure>\n"));
        return $"<p class=\"legend\">{string.Concat(charts[0].Curves.Select(c => LegendEntry(c.Name, c.Color)))}{WebUtility.HtmlEncode(yTitle)}</p>\n<div class=\"multiples\">\n{all}</div>\n";
    }

    private string DrawOverRun(Size size, string title, string yTitle, IReadOnlyList<RunCurve> curves, double? lowest, double? highest)
    {
        double seconds = curves.SelectMany(c => c.Points).Select(p => p.Seconds).Where(double.IsFinite).DefaultIfEmpty(0).Max();
        return string.Concat(RunAxis.For(seconds).Select((axis, i) =>
        {
            Curve[] drawn = [.. curves.Select(c => new Curve(c.Name, c.Points.Select(p => (axis.Of(p), p.Value)), c.Color))];
            string svg = Draw(size, title, drawn, Bottom(size, size == Small ? "" : axis.Title, wholeNumbers: i < 2), Side(size, AxisPosition.Left, yTitle, lowest, highest));
            return $"<div class=\"by-{axis.Name}\">{svg}</div>";
        }));
    }

    private string Draw(Size size, string title, IReadOnlyList<Curve> curves, LinearAxis bottom, LinearAxis left)
    {
        var model = new PlotModel
        {
            Title = title,
            TitleFontSize = size.Title,
            TitleFontWeight = FontWeights.Normal,
            PlotAreaBorderColor = OxyColors.LightGray,
            DefaultFont = "system-ui, sans-serif",
        };
        model.Axes.Add(bottom);
        model.Axes.Add(left);
        if (bottom.Title.Length == 0) (bottom.AxisTitleDistance, model.Padding) = (0, new OxyThickness(2, 4, 8, 2));
        foreach (Curve curve in curves)
        {
            var series = new LineSeries { Color = curve.Color, StrokeThickness = 1.8 };
            series.Points.AddRange(curve.Points.Where(p => double.IsFinite(p.X) && double.IsFinite(p.Y)).Select(p => new DataPoint(p.X, p.Y)));
            if (series.Points.Count < size.MostMarked) (series.MarkerType, series.MarkerSize, series.MarkerFill) = (MarkerType.Circle, 2.5, curve.Color);
            model.Series.Add(series);
        }

        string svg = new SvgExporter { Width = size.Width, Height = size.Height, IsDocument = false }.ExportToString(model);
        // The exporter numbers the clipping paths of each chart from 1, but their names count in the whole page.
        string prefix = string.Create(CultureInfo.InvariantCulture, $"chart{++_drawn}-");
        return svg.Replace("\"clipPath", $"\"{prefix}", StringComparison.Ordinal).Replace("#clipPath", $"#{prefix}", StringComparison.Ordinal);
    }

    // The legend is the page's: the SVG exporter guesses how wide a browser's font runs, and would cut names off.
    private static string Legend(IEnumerable<(string Name, OxyColor Color)> curves) =>
        $"<figcaption>{string.Concat(curves.Where(c => c.Name.Length > 0).Select(c => LegendEntry(c.Name, c.Color)))}</figcaption>";

    private static string LegendEntry(string name, OxyColor color) =>
        $"<span><i style=\"background:#{color.R:x2}{color.G:x2}{color.B:x2}\"></i>{WebUtility.HtmlEncode(name)}</span> ";

    private static LinearAxis Bottom(Size size, string title, bool wholeNumbers)
    {
        LinearAxis axis = Side(size, AxisPosition.Bottom, title, null, null);
        if (wholeNumbers) (axis.MinimumMajorStep, axis.MinimumMinorStep) = (1, 1);
        return axis;
    }

    private static LinearAxis Side(Size size, AxisPosition position, string title, double? lowest, double? highest) => new()
    {
        Position = position,
        Title = title,
        Minimum = lowest ?? double.NaN,
        Maximum = highest ?? double.NaN,
        MajorGridlineStyle = LineStyle.Solid,
        MajorGridlineColor = OxyColor.FromRgb(235, 235, 235),
        TicklineColor = OxyColors.LightGray,
        MinorTickSize = 0,
        IntervalLength = size.TickDistance,
        FontSize = size.Title - 3,
        TitleFontSize = size.Title - 2,
        AxisTitleDistance = size.Title,
    };

    /// <param name="Width">Of the chart, in pixels.</param>
    /// <param name="Height">Of the chart, in pixels.</param>
    /// <param name="Title">Size of the title's font, from which those of the others follow.</param>
    /// <param name="TickDistance">About the distance of two numbers on an axis, in pixels.</param>
    /// <param name="MostMarked">Curves with fewer points have a circle at each of them.</param>
    private sealed record Size(double Width, double Height, double Title, double TickDistance, int MostMarked);
}
