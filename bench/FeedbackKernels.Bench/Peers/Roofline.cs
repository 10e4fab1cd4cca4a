using System.Globalization;
using FeedbackKernels.Interop;
using ScottPlot;

namespace FeedbackKernels.Bench.Peers;

/// <summary>A pass of a layer in the plot.</summary>
/// <param name="Layer">Layer.</param>
/// <param name="Pass">Pass, one of <see cref="ComparisonReport.Passes"/>.</param>
/// <param name="Intensity">FLOP per byte of the operands, each touched once.</param>
/// <param name="Ours">Our GFLOP/s.</param>
/// <param name="Theirs">The best peer's GFLOP/s; NaN if there is none.</param>
internal sealed record RooflinePoint(string Layer, string Pass, double Intensity, double Ours, double Theirs)
{
    /// <summary>FLOP of the direct convolution per byte of x, W and y (or their gradients), each touched once.</summary>
    public static double IntensityOf(in ConvShape shape) =>
        shape.Flops / (sizeof(float) * (double)(shape.InputLength + shape.WeightLength + shape.OutputLength));
}

/// <summary>The roofline plot: the GFLOP/s of each pass of each layer, with the limits that arithmetic and memory bandwidth of the
/// machine set for a direct convolution.</summary>
internal static class Roofline
{
    private static readonly (string Pass, string Label, MarkerShape Ours, MarkerShape Theirs)[] Markers =
    [
        ("fwd", "forward", MarkerShape.FilledCircle, MarkerShape.OpenCircle),
        ("bwd_data", "feedback", MarkerShape.FilledSquare, MarkerShape.OpenSquare),
        ("bwd_weights", "weight gradient", MarkerShape.FilledTriangleUp, MarkerShape.OpenTriangleUp),
    ];

    /// <summary>Writes <c>roofline.png</c> and <c>roofline.svg</c>.</summary>
    /// <param name="points">The measured points.</param>
    /// <param name="peak">FMA peak, GFLOP/s.</param>
    /// <param name="bandwidth">Memory bandwidth, GB/s.</param>
    /// <param name="folder">Where the files go.</param>
    public static void Write(IReadOnlyList<RooflinePoint> points, double peak, double bandwidth, string folder)
    {
        if (points.Count == 0) throw new ArgumentException("no points", nameof(points));
        using Plot plot = Draw(points, peak, bandwidth);
        PlotStyle.Save(plot, folder, "roofline");
    }

    private static Plot Draw(IReadOnlyList<RooflinePoint> points, double peak, double bandwidth)
    {
        var plot = new Plot();
        double[] rates = [.. points.SelectMany(p => new[] { p.Ours, p.Theirs }).Where(double.IsFinite), peak];
        (double left, double right) = (points.Min(p => p.Intensity) / 1.6, points.Max(p => p.Intensity) * 1.6);
        (double bottom, double top) = (rates.Min() / 1.5, rates.Max() * 1.5);
        AddRoof(plot, peak, bandwidth, left, right, bottom);
        AddMarkers(plot, points);
        AddLegendText(plot, "(Winograd computes less than is counted,");
        AddLegendText(plot, "and may lie above the roof)");
        AddNames(plot, points);
        PlotStyle.Frame(
            plot, "Convolutions: GFLOP/s over arithmetic intensity",
            ("FLOP of the direct convolution per byte of operands", left, right), ("GFLOP/s, direct count", bottom, top));
        return plot;
    }

    private static void AddRoof(Plot plot, double peak, double bandwidth, double left, double right, double bottom)
    {
        double ridge = peak / bandwidth;
        double from = Math.Max(left, bottom / bandwidth);
        Coordinates[] corners = from < ridge
            ? [PlotStyle.At(from, bandwidth * from), PlotStyle.At(ridge, peak), PlotStyle.At(Math.Max(right, ridge), peak)]
            : [PlotStyle.At(left, peak), PlotStyle.At(right, peak)];
        var roof = plot.Add.Scatter(corners, PlotStyle.Grey);
        roof.LegendText = string.Create(CultureInfo.InvariantCulture, $"roof: {peak:F0} GFLOP/s FMA, {bandwidth:F0} GB/s");
        roof.LineWidth = 2.5f;
        roof.MarkerSize = 0;
    }

    private static void AddMarkers(Plot plot, IReadOnlyList<RooflinePoint> points)
    {
        foreach ((string pass, string label, MarkerShape ours, MarkerShape theirs) in Markers)
        {
            RooflinePoint[] ofPass = [.. points.Where(p => p.Pass == pass)];
            // Peers first: if the two coincide, our mark lies inside the peer's ring.
            Add([.. ofPass.Where(p => double.IsFinite(p.Theirs)).Select(p => PlotStyle.At(p.Intensity, p.Theirs))], theirs, 14, PlotStyle.Vermilion, $"best peer, {label}");
            Add([.. ofPass.Select(p => PlotStyle.At(p.Intensity, p.Ours))], ours, 9, PlotStyle.Blue, $"ours, {label}");
        }

        void Add(Coordinates[] places, MarkerShape shape, float size, Color color, string label)
        {
            if (places.Length == 0) return;
            var markers = plot.Add.Markers(places, shape, size, color);
            markers.MarkerStyle.LineWidth = 2;
            markers.MarkerStyle.LineColor = color;
            markers.LegendText = label;
        }
    }

    /// <summary>Marks the fastest and the slowest point, and the best and the worst relative to the peers, with letters. The legend has
    /// their names, so that no text covers points.</summary>
    private static void AddNames(Plot plot, IReadOnlyList<RooflinePoint> points)
    {
        RooflinePoint[] contested = [.. points.Where(p => double.IsFinite(p.Theirs))];
        RooflinePoint?[] extremes =
        [
            points.MaxBy(p => p.Ours), points.MinBy(p => p.Ours), contested.MaxBy(p => p.Ours / p.Theirs), contested.MinBy(p => p.Ours / p.Theirs),
        ];
        char letter = 'A';
        // Two models may share a layer, with points in the same place: mark it once.
        foreach (RooflinePoint p in extremes.OfType<RooflinePoint>().DistinctBy(p => (p.Pass, p.Intensity, Math.Round(Math.Log10(p.Ours), 1))))
        {
            var text = plot.Add.Text(letter.ToString(), PlotStyle.At(p.Intensity, p.Ours));
            (text.LabelFontName, text.LabelFontSize, text.LabelFontColor, text.LabelBold) = (PlotStyle.Family, 16, PlotStyle.Blue, true);
            (text.LabelAlignment, text.OffsetX) = (Alignment.MiddleLeft, 8);
            string pass = Markers.First(m => m.Pass == p.Pass).Label;
            string ratio = double.IsFinite(p.Theirs) ? string.Create(CultureInfo.InvariantCulture, $", {p.Ours / p.Theirs:F2} x best peer") : "";
            AddLegendText(plot, $"{letter}  {p.Layer} {pass}{ratio}");
            letter++;
        }
    }

    private static void AddLegendText(Plot plot, string text) =>
        plot.Legend.ManualItems.Add(new LegendItem { LabelText = text });
}
