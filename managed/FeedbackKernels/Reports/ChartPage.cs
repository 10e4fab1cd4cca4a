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
internal sealed record Curve(string Name, IEnumerable<(double X, double Y)> Points, OxyColor Color)
{
    /// <summary>An interval at each of some points; those that are not finite are left out.</summary>
    public IReadOnlyList<(double X, double Low, double High)> Intervals { get; init; } = [];

    /// <summary>Whether the intervals are drawn as bars; otherwise as a band.</summary>
    public bool HasBars { get; init; }

    /// <summary>Whether the curve is dashed.</summary>
    public bool IsDashed { get; init; }
}

/// <summary>A horizontal axis.</summary>
/// <param name="Title">Its title.</param>
internal sealed record ChartAxis(string Title)
{
    /// <summary>Whether numbers on it are whole.</summary>
    public bool IsWhole { get; init; }

    /// <summary>Whether it is logarithmic.</summary>
    public bool IsLogarithmic { get; init; }

    /// <summary>Names of the points 0, 1, 2, ... if they are no numbers.</summary>
    public IReadOnlyList<string> Names { get; init; } = [];
}

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

    /// <summary>Whether colour number i of the palette has been used before, so that a curve is dashed to be told apart.</summary>
    public static bool IsRepeated(int i) => i / Colors.Length % 2 == 1;

    /// <summary>A chart; an axis bound that is null follows the data.</summary>
    public string Figure(string title, string xTitle, string yTitle, IReadOnlyList<Curve> curves, double? lowest = null, double? highest = null) =>
        Figure(title, new ChartAxis(xTitle) { IsWhole = true }, yTitle, curves, lowest, highest);

    /// <inheritdoc cref="Figure(string, string, string, IReadOnlyList{Curve}, double?, double?)"/>
    public string Figure(string title, ChartAxis x, string yTitle, IReadOnlyList<Curve> curves, double? lowest = null, double? highest = null)
    {
        string svg = Draw(Large, title, curves, Bottom(Large, x), Side(Large, AxisPosition.Left, yTitle, lowest, highest));
        return $"<figure>{svg}<figcaption>{string.Concat(curves.Where(c => c.Name.Length > 0).Select(c => LegendEntry(c.Name, c.Color, c.IsDashed)))}</figcaption></figure>\n";
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
            string svg = Draw(size, title, drawn, Bottom(size, new ChartAxis(size == Small ? "" : axis.Title) { IsWhole = i < 2 }), Side(size, AxisPosition.Left, yTitle, lowest, highest));
            return $"<div class=\"by-{axis.Name}\">{svg}</div>";
        }));
    }

    private string Draw(Size size, string title, IReadOnlyList<Curve> curves, Axis bottom, Axis left)
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
        // Bands lie below all curves.
        foreach (Curve curve in curves.Where(c => !c.HasBars)) AddBand(model, curve);
        foreach (Curve curve in curves)
        {
            if (curve.HasBars) AddBars(model, curve);
            var series = new LineSeries { Color = curve.Color, StrokeThickness = 1.8, LineStyle = curve.IsDashed ? LineStyle.Dash : LineStyle.Solid };
            series.Points.AddRange(curve.Points.Where(p => double.IsFinite(p.X) && double.IsFinite(p.Y)).Select(p => new DataPoint(p.X, p.Y)));
            if (series.Points.Count < size.MostMarked) (series.MarkerType, series.MarkerSize, series.MarkerFill) = (MarkerType.Circle, 2.5, curve.Color);
            model.Series.Add(series);
        }

        string svg = new SvgExporter { Width = size.Width, Height = size.Height, IsDocument = false }.ExportToString(model);
        // The exporter numbers the clipping paths of each chart from 1, but their names count in the whole page.
        string prefix = string.Create(CultureInfo.InvariantCulture, $"chart{++_drawn}-");
        return svg.Replace("\"clipPath", $"\"{prefix}", StringComparison.Ordinal).Replace("#clipPath", $"#{prefix}", StringComparison.Ordinal);
    }

    private static void AddBand(PlotModel model, Curve curve)
    {
        var band = new AreaSeries { Color = OxyColors.Transparent, Color2 = OxyColors.Transparent, StrokeThickness = 0, Fill = OxyColor.FromAColor(40, curve.Color) };
        foreach ((double x, double low, double high) in FiniteIntervals(curve))
        {
            band.Points.Add(new DataPoint(x, low));
            band.Points2.Add(new DataPoint(x, high));
        }

        if (band.Points.Count > 1) model.Series.Add(band);
        // A band of one point would not be seen.
        else AddBars(model, curve);
    }

    private static void AddBars(PlotModel model, Curve curve)
    {
        foreach ((double x, double low, double high) in FiniteIntervals(curve))
        {
            var bar = new LineSeries { Color = curve.Color, StrokeThickness = 1.2 };
            bar.Points.AddRange([new DataPoint(x, low), new DataPoint(x, high)]);
            model.Series.Add(bar);
        }
    }

    private static IEnumerable<(double X, double Low, double High)> FiniteIntervals(Curve curve) =>
        curve.Intervals.Where(i => double.IsFinite(i.X) && double.IsFinite(i.Low) && double.IsFinite(i.High));

    // The legend is the page's: the SVG exporter guesses how wide a browser's font runs, and would cut names off.
    private static string Legend(IEnumerable<(string Name, OxyColor Color)> curves) =>
        $"<figcaption>{string.Concat(curves.Where(c => c.Name.Length > 0).Select(c => LegendEntry(c.Name, c.Color)))}</figcaption>";

    private static string LegendEntry(string name, OxyColor color, bool dashed = false)
    {
        string rgb = $"#{color.R:x2}{color.G:x2}{color.B:x2}", style = dashed ? $"class=\"dashed\" style=\"border-color:{rgb}\"" : $"style=\"background:{rgb}\"";
        return $"<span><i {style}></i>{WebUtility.HtmlEncode(name)}</span> ";
    }

    private static Axis Bottom(Size size, ChartAxis described)
    {
        if (described.Names.Count > 0)
        {
            var names = new CategoryAxis { GapWidth = 0.2, IsTickCentered = true };
            names.Labels.AddRange(described.Names);
            return Style(names, size, AxisPosition.Bottom, described.Title);
        }

        if (described.IsLogarithmic) return Style(new LogarithmicAxis { MinimumPadding = 0.05, MaximumPadding = 0.05 }, size, AxisPosition.Bottom, described.Title);
        LinearAxis axis = Side(size, AxisPosition.Bottom, described.Title, null, null);
        if (described.IsWhole) (axis.MinimumMajorStep, axis.MinimumMinorStep) = (1, 1);
        return axis;
    }

    private static LinearAxis Side(Size size, AxisPosition position, string title, double? lowest, double? highest) =>
        Style(new LinearAxis { Minimum = lowest ?? double.NaN, Maximum = highest ?? double.NaN }, size, position, title);

    private static TAxis Style<TAxis>(TAxis axis, Size size, AxisPosition position, string title) where TAxis : Axis
    {
        (axis.Position, axis.Title) = (position, title);
        (axis.MajorGridlineStyle, axis.MajorGridlineColor) = (LineStyle.Solid, OxyColor.FromRgb(235, 235, 235));
        (axis.TicklineColor, axis.MinorTickSize, axis.IntervalLength) = (OxyColors.LightGray, 0, size.TickDistance);
        (axis.FontSize, axis.TitleFontSize, axis.AxisTitleDistance) = (size.Title - 3, size.Title - 2, size.Title);
        return axis;
    }

    /// <param name="Width">Of the chart, in pixels.</param>
    /// <param name="Height">Of the chart, in pixels.</param>
    /// <param name="Title">Size of the title's font, from which those of the others follow.</param>
    /// <param name="TickDistance">About the distance of two numbers on an axis, in pixels.</param>
    /// <param name="MostMarked">Curves with fewer points have a circle at each of them.</param>
    private sealed record Size(double Width, double Height, double Title, double TickDistance, int MostMarked);
}
