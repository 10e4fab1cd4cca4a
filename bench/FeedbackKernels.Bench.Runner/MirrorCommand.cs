using System.CommandLine;
using System.Globalization;
using FeedbackKernels.Interop;
using FeedbackKernels.Models;
using FeedbackKernels.Rules;

namespace FeedbackKernels.Bench;

/// <summary><c>mirror</c>: measures the cost of the weight mirror and the angle that it reaches, in each distinct convolution of a
/// model. Lines are <c>mirror,feedback-kernels,noise,layer,samples,ms_median,percent_of_layer,angle_degrees</c>; the last line is
/// for all convolutions of the model together, with the mean angle.</summary>
internal static class MirrorCommand
{
    public static Command Create()
    {
        var model = new Option<string>("--model") { Description = "A ResNet.", DefaultValueFactory = _ => "resnet18" };
        var batch = new Option<int>("--batch") { Description = "Images in the training step to which the cost is compared.", DefaultValueFactory = _ => 32 };
        var filter = new Option<string>("--filter") { Description = "Measure only layers whose name contains this.", DefaultValueFactory = _ => "" };
        var noise = new Option<NoiseKind>("--noise") { Description = "Distribution of the noise.", DefaultValueFactory = _ => NoiseKind.Balanced };
        var samples = new Option<int>("--samples") { Description = "Noise samples in a mirror step; 0 for the rule's default." };
        var steps = new Option<int>("--steps") { Description = "Mirror steps before the angle is measured; 0 for one cycle of balanced noise." };
        var drift = new Option<float>("--drift") { Description = "Move W before each mirror step in a random direction, by this fraction of its norm, 0 to below 1." };
        var budget = new Option<double>("--budget") { Description = "Seconds to measure for each figure. More give steadier figures.", DefaultValueFactory = _ => 0.6 };
        var choice = new BackendOptions();
        var command = new Command("mirror", "Measures the cost of the weight mirror and the angle that it reaches, layer by layer.")
        {
            model, batch, filter, noise, samples, steps, drift, budget,
        };
        choice.AddTo(command);
        command.SetAction(parsed =>
        {
            int images = parsed.GetValue(batch);
            ArgumentOutOfRangeException.ThrowIfNegative(parsed.GetValue(samples), "--samples");
            ArgumentOutOfRangeException.ThrowIfNegative(parsed.GetValue(steps), "--steps");
            if (!(parsed.GetValue(drift) is >= 0 and < 1 and var rate))
                throw new ArgumentOutOfRangeException("--drift", parsed.GetValue(drift), "wanted 0 to below 1");
            using Backend backend = choice.Create(parsed);
            var rule = new WeightMirror(parsed.GetValue(samples) is > 0 and var given ? given : null, parsed.GetValue(noise));
            var results = new List<Result>();
            foreach (LayerShape layer in LayerMirror.LayersOf(parsed.GetValue(model)!, images, parsed.GetValue(filter)!))
            {
                WeightMirror own = rule with { Samples = rule.SamplesFor(layer.Shape) };
                results.Add(Measure(backend, layer, own, parsed.GetValue(steps), rate, parsed.GetValue(budget)));
                Print(parsed, own, results[^1]);
            }

            if (results.Count > 1) Print(parsed, rule, Sum(results));
        });
        return command;
    }

    private static Result Measure(Backend backend, LayerShape layer, WeightMirror rule, int steps, float drift, double budget)
    {
        int cycle = StepsOfACycle(layer.Shape, rule);
        using var mirror = new LayerMirror(backend, layer.Shape, rule);
        for (int step = 0; step < (steps > 0 ? steps : cycle); step++)
        {
            if (drift > 0) mirror.Drift(drift);
            mirror.Step();
        }

        double angle = mirror.AngleDegrees;
        // The last step of a cycle may take fewer samples. Time whole cycles.
        Timing time = Timing.Of(
            backend,
            () =>
            {
                for (int step = 0; step < cycle; step++) mirror.Step();
            },
            budget);
        return new Result(layer.Name, layer.Count, time.Median / cycle, ConvolutionSeconds(backend, layer.Shape, budget), angle);
    }

    /// <summary>Mirror steps of a cycle.</summary>
    private static int StepsOfACycle(in ConvShape shape, WeightMirror rule)
    {
        int samples = MirrorNoise.CycleLengthOf(rule.Noise, shape.FanIn);
        return Rounding.DivideUp32(samples, rule.Samples!.Value);
    }

    private static double ConvolutionSeconds(Backend backend, in ConvShape shape, double budget)
    {
        using var operands = new ConvOperands(backend, shape);
        return Enum.GetValues<ConvPass>().Sum(pass => Timing.Of(backend, () => operands.Run(pass), budget).Median);
    }

    private static Result Sum(List<Result> results) => new(
        "all", 1, results.Sum(r => r.Count * r.MirrorSeconds), results.Sum(r => r.Count * r.ConvolutionSeconds),
        results.Sum(r => r.Count * r.Angle) / results.Sum(r => r.Count));

    private static void Print(ParseResult parsed, WeightMirror rule, Result r) => parsed.InvocationConfiguration.Output.WriteLine(string.Create(
        CultureInfo.InvariantCulture,
        $"mirror,feedback-kernels,{rule.Noise.ToString().ToLowerInvariant()},{r.Layer},{rule.Samples},"
        + $"{r.MirrorSeconds * 1e3:F3},{100 * r.MirrorSeconds / r.ConvolutionSeconds:F2},{r.Angle:F2}"));

    private readonly record struct Result(string Layer, int Count, double MirrorSeconds, double ConvolutionSeconds, double Angle);
}
