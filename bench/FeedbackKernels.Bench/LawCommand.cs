using System.CommandLine;
using System.Globalization;
using FeedbackKernels.Interop;
using FeedbackKernels.Models;
using FeedbackKernels.Rules;
using ScottPlot;

namespace FeedbackKernels.Bench;

/// <summary>
/// <c>law</c>: measures the angle between W and the B of a mirror that averages over gaussian noise, in each distinct convolution of a
/// model, and compares it with what theory says: tan² = (d + 1) / n_eff for fan-in d, where n_eff = n (2 - λ) / λ samples of a step n and
/// rate λ. Lines are <c>law,feedback-kernels,layer,d,n_eff,degrees expected,degrees measured,difference</c>; the last line has the
/// largest difference.
/// </summary>
internal static class LawCommand
{
    public static Command Create()
    {
        var model = new Option<string>("--model") { Description = "A ResNet.", DefaultValueFactory = _ => "resnet50" };
        var filter = new Option<string>("--filter") { Description = "Measure only layers whose name contains this.", DefaultValueFactory = _ => "" };
        var samples = new Option<int>("--samples") { Description = "Noise samples in a mirror step.", DefaultValueFactory = _ => 64 };
        var rate = new Option<float>("--rate") { Description = "Weight of the newest estimate in the average.", DefaultValueFactory = _ => 0.02f };
        var output = new Option<string>("--out") { Description = "Folder for the plot, mirror-law.png and mirror-law.svg. [default: artifacts/law]" };
        var choice = new BackendOptions();
        var command = new Command("law", "Compares the angle of the weight mirror with its law, layer by layer, and plots both.") { model, filter, samples, rate, output };
        choice.AddTo(command);
        command.SetAction(parsed =>
        {
            var rule = new WeightMirror(parsed.GetValue(samples), NoiseKind.Gaussian, Rate: parsed.GetValue(rate));
            rule.Validate();
            using Backend backend = choice.Create(parsed);
            var points = new List<LawPoint>();
            foreach (LayerShape layer in LayerMirror.LayersOf(parsed.GetValue(model)!, batch: 1, parsed.GetValue(filter)!))
            {
                points.Add(Measure(backend, layer, rule));
                Print(parsed, points[^1]);
            }

            if (points.Count == 0) throw new ArgumentException($"no layer of {parsed.GetValue(model)} has a name that contains '{parsed.GetValue(filter)}'", "--filter");
            LawPoint worst = points.MaxBy(p => Math.Abs(p.Difference))!;
            Print(parsed, worst with { Layer = "largest" });
            string folder = parsed.GetValue(output) ?? Path.Combine("artifacts", "law");
            Directory.CreateDirectory(folder);
            Draw(points, folder);
        });
        return command;
    }

    /// <summary>A layer: the law, and what was measured.</summary>
    internal sealed record LawPoint(string Layer, int FanIn, double EffectiveSamples, double Measured)
    {
        public double Expected => Law(FanIn, EffectiveSamples);

        public double Difference => Measured - Expected;
    }

    /// <summary>The angle in degrees at which B stays.</summary>
    internal static double Law(double fanIn, double effectiveSamples) => Math.Atan(Math.Sqrt((fanIn + 1) / effectiveSamples)) * 180 / Math.PI;

    private static LawPoint Measure(Backend backend, LayerShape layer, WeightMirror rule)
    {
        // The first 1/λ steps are a plain average, of which e^-7 is left then: the average is as over infinitely many steps.
        int steps = (int)Math.Ceiling(8 / rule.Rate!.Value);
        using var mirror = new LayerMirror(backend, layer.Shape, rule);
        for (int step = 0; step < steps; step++) mirror.Step();
        double rate = rule.Rate.Value;
        return new LawPoint(layer.Name, layer.Shape.FanIn, rule.Samples!.Value * (2 - rate) / rate, mirror.AngleDegrees);
    }

    private static void Print(ParseResult parsed, LawPoint p) => parsed.InvocationConfiguration.Output.WriteLine(string.Create(
        CultureInfo.InvariantCulture,
        $"law,feedback-kernels,{p.Layer},{p.FanIn},{p.EffectiveSamples:F0},{p.Expected:F2},{p.Measured:F2},{p.Difference:F2}"));

    private static void Draw(List<LawPoint> points, string folder)
    {
        using var plot = new Plot();
        (double left, double right) = (points.Min(p => p.FanIn) / 1.6, points.Max(p => p.FanIn) * 1.6);
        double samples = points[0].EffectiveSamples;
        double[] fanIns = [.. Enumerable.Range(0, 101).Select(i => left * Math.Pow(right / left, i / 100.0))];
        var law = plot.Add.Scatter(fanIns.Select(d => PlotStyle.At(d, Law(d, samples))).ToArray(), PlotStyle.Grey);
        (law.LineWidth, law.MarkerSize) = (2.5f, 0);
        law.LegendText = string.Create(CultureInfo.InvariantCulture, $"tan² = (d + 1) / {samples:F0}");
        var measured = plot.Add.Markers(points.Select(p => PlotStyle.At(p.FanIn, p.Measured)).ToArray(), MarkerShape.OpenCircle, 12, PlotStyle.Blue);
        measured.LegendText = "measured, one mark for each convolution";
        (measured.MarkerStyle.LineWidth, measured.MarkerStyle.LineColor) = (2, PlotStyle.Blue);
        PlotStyle.Frame(
            plot, "Weight mirror with gaussian noise: angle between W and B", ("fan-in d", left, right),
            ("degrees", Law(left, samples) / 1.3, Law(right, samples) * 1.3));
        PlotStyle.Save(plot, folder, "mirror-law");
    }
}
