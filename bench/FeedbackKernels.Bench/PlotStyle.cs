using System.Globalization;
using ScottPlot;
using ScottPlot.TickGenerators;
using SkiaSharp;

namespace FeedbackKernels.Bench;

/// <summary>What the plots have in common. Their axes are logarithmic: a plot gets logarithms, and the tick labels show the numbers.</summary>
internal static class PlotStyle
{
    /// <summary>Pixels of a plot.</summary>
    public const int Width = 1600, Height = 900;

    /// <summary>Blue and vermilion of Okabe and Ito, which colour-blind readers can tell apart, and a grey for lines.</summary>
    public static readonly Color Blue = Color.FromHex("#0072B2"), Vermilion = Color.FromHex("#D55E00"), Grey = Color.FromHex("#444444");

    /// <summary>An installed sans-serif font; without its own fonts, the library would choose one with serifs.</summary>
    public static readonly string Family =
        ((string[])["Open Sans", "DejaVu Sans", "Liberation Sans", "Arial", "Helvetica"])
        .FirstOrDefault(SKFontManager.Default.FontFamilies.Contains) ?? Fonts.Default;

    /// <summary>The place of a point.</summary>
    public static Coordinates At(double x, double y) => new(Math.Log10(x), Math.Log10(y));

    /// <summary>Sets limits, ticks, titles and fonts.</summary>
    public static void Frame(Plot plot, string title, (string Label, double From, double To) x, (string Label, double From, double To) y)
    {
        plot.Axes.SetLimits(Math.Log10(x.From), Math.Log10(x.To), Math.Log10(y.From), Math.Log10(y.To));
        plot.Font.Set(Family);
        plot.Title(title, size: 22);
        plot.XLabel(x.Label, size: 18);
        plot.YLabel(y.Label, size: 18);
        plot.Axes.Bottom.TickGenerator = Ticks(x.From, x.To);
        plot.Axes.Left.TickGenerator = Ticks(y.From, y.To);
        plot.Axes.Bottom.TickLabelStyle.FontSize = plot.Axes.Left.TickLabelStyle.FontSize = 16;
        plot.Grid.MajorLineColor = Colors.Black.WithAlpha(.1);
        plot.Legend.FontSize = 15;
        plot.Legend.ShadowColor = Colors.Transparent;
        plot.Legend.OutlineColor = Colors.Transparent;
        plot.Legend.FontName = Family;
        plot.Legend.Padding = new PixelPadding(10);
        plot.ShowLegend(Edge.Right);
    }

    /// <summary>Writes NAME.png and NAME.svg.</summary>
    public static void Save(Plot plot, string folder, string name)
    {
        plot.SavePng(Path.Combine(folder, $"{name}.png"), Width, Height);
        plot.SaveSvg(Path.Combine(folder, $"{name}.svg"), Width, Height);
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
