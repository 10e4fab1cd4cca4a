using System.CommandLine;
using System.Globalization;
using FeedbackKernels.Interop;
using FeedbackKernels.Models;
using FeedbackKernels.Rules;

namespace FeedbackKernels.Bench.Estimates;

/// <summary>
/// <c>estimate</c>: predicts the time of a training step on a GPU. The host code of the CUDA backend runs a step on paper, and every kernel
/// that it launches gets a time by <see cref="LaunchCost"/>. Lines are
/// <c>estimate,card,rule,model,batch,PART,kind,name,count,MB,MB of L2,GFLOP,limit,us</c>, where PART is <c>launch</c> (with
/// <c>--launches</c>), <c>kernel</c>, <c>kind</c> or <c>step</c>; the last line, of the step, ends in images per second.
/// </summary>
internal static class EstimateCommand
{
    // The mirror updates B once per cycle: count over many steps, so that the average includes the updates.
    private const int Steps = 32;

    public static Command Create()
    {
        var model = new Option<string>("--model") { Description = "Model to train.", DefaultValueFactory = _ => "resnet50" };
        var batch = new Option<int>("--batch") { Description = "Images in a training step.", DefaultValueFactory = _ => 256 };
        Option<FeedbackRule?> rule = BenchRules.Option();
        var card = new Option<string>("--card") { Description = "GPU: chooses kernels and assumptions.", DefaultValueFactory = _ => Card.All[0].Name };
        card.AcceptOnlyFromAmong([.. Card.All.Select(c => c.Name)]);
        var assume = new Option<string>("--assume")
        {
            Description = "JSON file of assumptions that replace those of the card, such as { \"L2Bytes\": 6.1e12 }; the first lines of the output name all.",
            HelpName = "file",
        };
        var precision = new Option<CudaPrecision>("--precision") { Description = "Number format of activations and products.", DefaultValueFactory = _ => CudaPrecision.Bf16 };
        var launches = new Option<bool>("--launches") { Description = "Also print a line for each distinct launch." };
        var command = new Command("estimate", "Predicts the time of a training step on a GPU, kernel by kernel; measures nothing.")
        {
            model, batch, rule, card, assume, precision, launches,
        };
        command.SetAction(parsed =>
        {
            int images = parsed.GetValue(batch);
            ArgumentOutOfRangeException.ThrowIfNegativeOrZero(images, "--batch");
            Card chosen = Card.Named(parsed.GetValue(card)!);
            if (parsed.GetValue(assume) is { } file) chosen = chosen.With(Assumptions.Read(file));
            string name = parsed.GetValue(model)!;
            FeedbackRule trained = parsed.GetValue(rule) ?? new Backprop();
            int size = ModelCatalog.UsualImageSize(name);
            ModelSpec spec = ModelCatalog.Create(name, new MapShape(size, size, 3), ModelCatalog.UsualClasses(name));
            IReadOnlyList<(PaperLaunch Launch, double Count)> step =
                Average(Launches(chosen, spec, NamesOf(name, images), images, trained, parsed.GetValue(precision), Steps), Steps);
            var report = new Report(parsed.InvocationConfiguration.Output, $"estimate,{chosen.Name},{trained.Name},{name},{images}", chosen);
            report.PrintAssumptions();
            report.Print(step, images, parsed.GetValue(launches));
        });
        return command;
    }

    /// <summary>The launches of some training steps, in order.</summary>
    internal static IReadOnlyList<PaperLaunch> Launches(
        Card card, ModelSpec spec, Func<ConvShape, string> name, int images, FeedbackRule rule, CudaPrecision precision, int steps)
    {
        var recorder = new LaunchRecorder(name, precision == CudaPrecision.Bf16 ? sizeof(ushort) : sizeof(float));
        using var backend = new CudaBackend(card.Device, precision, recorder);
        using var stepper = new Stepper(backend, spec, rule, images, load: false);
        recorder.Launches.Clear();
        for (int step = 0; step < steps; step++) stepper.Step();
        return recorder.Launches;
    }

    /// <summary>Names for the convolutions of a model, as benchmarks print them.</summary>
    internal static Func<ConvShape, string> NamesOf(string model, int images)
    {
        Dictionary<ConvShape, string> names = model.StartsWith("resnet", StringComparison.Ordinal)
            ? LayerShapes.Of(model, images).ToDictionary(l => l.Shape.WithBatch(1), l => l.Name) : [];
        return shape => names.GetValueOrDefault(shape.WithBatch(1)) ?? $"{shape.R}x{shape.S}_{shape.C}-{shape.K}@{shape.H}";
    }

    /// <summary>Each distinct launch with its number per step.</summary>
    internal static IReadOnlyList<(PaperLaunch Launch, double Count)> Average(IReadOnlyList<PaperLaunch> launches, int steps) =>
        [.. launches.GroupBy(l => l).Select(g => (g.Key, (double)g.Count() / steps))];

    /// <summary>Prints an estimate.</summary>
    private sealed class Report(TextWriter output, string subject, Card card)
    {
        public void PrintAssumptions()
        {
            output.WriteLine("# a model, not a measurement. It assumes, in SI units (replaced by --assume FILE):");
            foreach (Figure figure in Enum.GetValues<Figure>())
                output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"# {figure} {card[figure]:G4}"));
        }

        public void Print(IReadOnlyList<(PaperLaunch Launch, double Count)> step, int images, bool launches)
        {
            Counted[] all = [.. step.Select(s => new Counted(s.Launch, s.Count, LaunchCost.Of(s.Launch, card)))];
            if (launches)
            {
                foreach (Counted one in all.OrderByDescending(c => c.Seconds))
                    Line("launch", one.Launch.Work.Kind, $"{one.Launch.Kernel} {Text(one.Launch.Subject)}", [one]);
            }

            foreach (Counted[] kernel in Groups(all, c => (c.Launch.Work.Kind, c.Launch.Kernel)))
                Line("kernel", kernel[0].Launch.Work.Kind, kernel[0].Launch.Kernel, kernel);
            foreach (Counted[] kind in Groups(all, c => c.Launch.Work.Kind)) Line("kind", kind[0].Launch.Work.Kind, "all", kind);
            Line("step", "all", "images/s", all, $",{Number(images / all.Sum(c => c.Seconds))}");
        }

        private static IEnumerable<Counted[]> Groups<TKey>(Counted[] all, Func<Counted, TKey> key) =>
            all.GroupBy(key).Select(g => g.ToArray()).OrderByDescending(g => g.Sum(c => c.Seconds));

        private void Line(string part, string kind, string name, Counted[] all, string end = "") => output.WriteLine(
            $"{subject},{part},{Text(kind)},{name},{Number(all.Sum(c => c.Count))},{Number(all.Sum(c => c.Count * c.Launch.Work.Hbm) / 1e6)},"
            + $"{Number(all.Sum(c => c.Count * c.Launch.Work.L2) / 1e6)},{Number(all.Sum(c => c.Count * c.Launch.Work.Flops) / 1e9)},"
            + $"{LimitOf(all)},{Number(all.Sum(c => c.Seconds) * 1e6)}{end}");

        // What limits most of the time, and how much of it.
        private static string LimitOf(Counted[] all)
        {
            IGrouping<Limit, Counted> most = all.GroupBy(c => c.Cost.Limit).MaxBy(g => g.Sum(c => c.Seconds))!;
            return string.Create(CultureInfo.InvariantCulture, $"{most.Key} {100 * most.Sum(c => c.Seconds) / all.Sum(c => c.Seconds):0} %");
        }

        private static string Number(double value) => value.ToString("0.###", CultureInfo.InvariantCulture);

        private static string Text(string value) => value.Replace(",", "", StringComparison.Ordinal);
    }

    private readonly record struct Counted(PaperLaunch Launch, double Count, LaunchCost Cost)
    {
        public double Seconds => Count * Cost.Seconds;
    }
}
