using System.Globalization;
using FeedbackKernels.Interop;
using ScottPlot;
using ScottPlot.TickGenerators;
using SkiaSharp;

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
    private const int Width = 1600, Height = 900;

    /// <summary>An installed sans-serif font; without its own fonts, the library would choose one with serifs.</summary>
    private static readonly string Family =
        ((string[])["Open Sans", "DejaVu Sans", "Liberation Sans", "Arial", "Helvetica"])
        .FirstOrDefault(SKFontManager.Default.FontFamilies.Contains) ?? Fonts.Default;

    private static readonly (string Pass, string Label, MarkerShape Ours, MarkerShape Theirs)[] Markers =
    [
        ("fwd", "forward", MarkerShape.FilledCircle, MarkerShape.OpenCircle),
        ("bwd_data", "feedback", MarkerShape.FilledSquare, MarkerShape.OpenSquare),
        ("bwd_weights", "weight gradient", MarkerShape.FilledTriangleUp, MarkerShape.OpenTriangleUp),
    ];

    // Blue and vermilion of Okabe and Ito, which colour-blind readers can tell apart.
    private static readonly Color OurColor = Color.FromHex("#0072B2"), TheirColor = Color.FromHex("#D55E00"), RoofColor = Color.FromHex("#444444");

    /// <summary>Writes <c>roofline.png</c> and <c>roofline.svg</c>.</summary>
    /// <param name="points">The measured points.</param>
    /// <param name="peak">FMA peak, GFLOP/s.</param>
    /// <param name="bandwidth">Memory bandwidth, GB/s.</param>
    /// <param name="folder">Where the files go.</param>
    public static void Write(IReadOnlyList<RooflinePoint> points, double peak, double bandwidth, string folder)
    {
        if (points.Count == 0) throw new ArgumentException("no points", nameof(points));
        using Plot plot = Draw(points, peak, bandwidth);
        plot.SavePng(Path.Combine(folder, "roofline.png"), Width, Height);
        plot.SaveSvg(Path.Combine(folder, "roofline.svg"), Width, Height);
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
        plot.Axes.SetLimits(Math.Log10(left), Math.Log10(right), Math.Log10(bottom), Math.Log10(top));
        Style(plot, left, right, bottom, top);
        return plot;
    }

    /// <summary>Axes are logarithmic: the plot gets logarithms, and the tick labels show the numbers.</summary>
    private static Coordinates At(double intensity, double rate) => new(Math.Log10(intensity), Math.Log10(rate));

    private static void AddRoof(Plot plot, double peak, double bandwidth, double left, double right, double bottom)
    {
        double ridge = peak / bandwidth;
        double from = Math.Max(left, bottom / bandwidth);
        Coordinates[] corners = from < ridge
            ? [At(from, bandwidth * from), At(ridge, peak), At(Math.Max(right, ridge), peak)]
            : [At(left, peak), At(right, peak)];
        var roof = plot.Add.Scatter(corners, RoofColor);
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
            Add([.. ofPass.Where(p => double.IsFinite(p.Theirs)).Select(p => At(p.Intensity, p.Theirs))], theirs, 14, TheirColor, $"best peer, {label}");
            Add([.. ofPass.Select(p => At(p.Intensity, p.Ours))], ours, 9, OurColor, $"ours, {label}");
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
            var text = plot.Add.Text(letter.ToString(), At(p.Intensity, p.Ours));
            (text.LabelFontName, text.LabelFontSize, text.LabelFontColor, text.LabelBold) = (Family, 16, OurColor, true);
            (text.LabelAlignment, text.OffsetX) = (Alignment.MiddleLeft, 8);
            string pass = Markers.First(m => m.Pass == p.Pass).Label;
            string ratio = double.IsFinite(p.Theirs) ? string.Create(CultureInfo.InvariantCulture, $", {p.Ours / p.Theirs:F2} x best peer") : "";
            AddLegendText(plot, $"{letter}  {p.Layer} {pass}{ratio}");
            letter++;
        }
    }

    private static void AddLegendText(Plot plot, string text) =>
        plot.Legend.ManualItems.Add(new LegendItem { LabelText = text });

    private static void Style(Plot plot, double left, double right, double bottom, double top)
    {
        plot.Font.Set(Family);
        plot.Title("Convolutions: GFLOP/s over arithmetic intensity", size: 22);
        plot.XLabel("FLOP of the direct convolution per byte of operands", size: 18);
        plot.YLabel("GFLOP/s, direct count", size: 18);
        plot.Axes.Bottom.TickGenerator = Ticks(left, right);
        plot.Axes.Left.TickGenerator = Ticks(bottom, top);
        plot.Axes.Bottom.TickLabelStyle.FontSize = plot.Axes.Left.TickLabelStyle.FontSize = 16;
        plot.Grid.MajorLineColor = Colors.Black.WithAlpha(.1);
        plot.Legend.FontSize = 15;
        plot.Legend.ShadowColor = Colors.Transparent;
        plot.Legend.OutlineColor = Colors.Transparent;
        plot.Legend.FontName = Family;
        plot.Legend.Padding = new PixelPadding(10);
        plot.ShowLegend(Edge.Right);
    }

    /// <summary>Ticks at 1, 2 and 5 times the powers of ten.</summary>
    private static NumericManual Ticks(double from, double to)
    {
        var ticks = new NumericManual();
        for (int power = (int)Math.Floor(Math.Log10(from)); power <= Math.Log10(to); power++)
        {
            foreach (int digit in (int[])[1, 2, 5])
            {
                double value = digit * Math.Pow(10, power);
                if (value >= from && value <= to) ticks.AddMajor(Math.Log10(value), value.ToString("0.###", CultureInfo.InvariantCulture));
            }
        }

        return ticks;
    }
}
