using System.CommandLine;
using System.Globalization;
using FeedbackKernels.Interop;
using FeedbackKernels.Models;

namespace FeedbackKernels.Bench.Estimates;

/// <summary>
/// <c>estimate</c>: predicts the time of a training step on a GPU, assuming that every operation runs at the card's rate for bytes
/// or for products, whichever takes longer. Lines are
/// <c>estimate,card,rule,model,batch,what,pass,count,MB,GFLOP,bound,us</c>, longest time first, then sums by pass, and last
/// <c>estimate,card,rule,model,batch,step,images/s,count,MB,GFLOP,us,images_per_s</c>.
/// </summary>
internal static class EstimateCommand
{
    // The mirror updates B once per cycle: count over many steps, so that the average includes the updates.
    private const int Steps = 32;

    public static Command Create()
    {
        var model = new Option<string>("--model") { Description = "Model to train.", DefaultValueFactory = _ => "resnet50" };
        var batch = new Option<int>("--batch") { Description = "Images in a training step.", DefaultValueFactory = _ => 256 };
        var rule = new Option<string>("--rule") { Description = "Learning rule.", DefaultValueFactory = _ => StepCommand.Rules[0].Name };
        rule.AcceptOnlyFromAmong([.. StepCommand.Rules.Select(r => r.Name)]);
        var card = new Option<string>("--card") { Description = "GPU; sets the default rates.", DefaultValueFactory = _ => Card.All[0].Name };
        card.AcceptOnlyFromAmong([.. Card.All.Select(c => c.Name)]);
        var bandwidth = new Option<double>("--bandwidth") { Description = "Memory bandwidth in TB/s; 0 for the card's." };
        var flops = new Option<double>("--tflops") { Description = "Speed of matrix products in TFLOP/s; 0 for the card's at --precision." };
        var gap = new Option<double>("--gap") { Description = "Time between two kernels in microseconds.", DefaultValueFactory = _ => 2 };
        var precision = new Option<CudaPrecision>("--precision") { Description = "Number format of matrix products.", DefaultValueFactory = _ => CudaPrecision.Bf16 };
        var storage = new Option<CudaPrecision>("--storage") { Description = "Number format of stored activations.", DefaultValueFactory = _ => CudaPrecision.Bf16 };
        var command = new Command("estimate", "Predicts the time of a training step on a GPU from bytes and FLOP; measures nothing.")
        {
            model, batch, rule, card, bandwidth, flops, gap, precision, storage,
        };
        command.SetAction(parsed =>
        {
            ArgumentOutOfRangeException.ThrowIfNegativeOrZero(parsed.GetValue(batch), "--batch");
            foreach (Option<double> option in (Option<double>[])[bandwidth, flops, gap])
                if (!(parsed.GetValue(option) >= 0)) throw new ArgumentOutOfRangeException(option.Name, parsed.GetValue(option), "wanted 0 or more");
            Card chosen = Card.Named(parsed.GetValue(card)!);
            bool tensor = parsed.GetValue(precision) == CudaPrecision.Bf16;
            var rates = new Rates(
                parsed.GetValue(bandwidth) is > 0 and var b ? b * 1e12 : chosen.BytesPerSecond,
                parsed.GetValue(flops) is > 0 and var f ? f * 1e12 : tensor ? chosen.TensorFlops : chosen.VectorFlops,
                parsed.GetValue(gap) * 1e-6);
            string name = parsed.GetValue(model)!;
            int images = parsed.GetValue(batch);
            ElementType type = parsed.GetValue(storage) == CudaPrecision.Bf16 ? ElementType.BFloat16 : ElementType.Float32;
            string subject = $"estimate,{chosen.Name},{parsed.GetValue(rule)},{name},{images}";
            TextWriter output = parsed.InvocationConfiguration.Output;
            output.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"# prediction, not measured: {rates.BytesPerSecond / 1e12:G3} TB/s, {rates.Flops / 1e12:G3} TFLOP/s, {rates.Gap * 1e6:G3} us a kernel, {type.Size()} bytes a number stored"));
            Print(output, subject, images, rates, Count(name, images, parsed.GetValue(rule)!, type));
        });
        return command;
    }

    /// <summary>The work of a step: each distinct piece with its average number per step.</summary>
    internal static IReadOnlyList<(PaperWork Work, double Count)> Count(string model, int images, string rule, ElementType storage)
    {
        using var backend = new PaperBackend(Namer(model, images), storage);
        int size = ModelCatalog.UsualImageSize(model);
        ModelSpec spec = ModelCatalog.Create(model, new MapShape(size, size, 3), ModelCatalog.UsualClasses(model));
        using var stepper = new Stepper(backend, spec, StepCommand.Rules.First(r => r.Name == rule), images);
        backend.Work.Clear();
        for (int step = 0; step < Steps; step++) stepper.Step();
        return [.. backend.Work.GroupBy(w => w).Select(g => (g.Key, (double)g.Count() / Steps))];
    }

    private static Func<ConvShape, string> Namer(string model, int images)
    {
        Dictionary<ConvShape, string> names = model.StartsWith("resnet", StringComparison.Ordinal)
            ? LayerShapes.Of(model, images).ToDictionary(l => l.Shape.WithBatch(1), l => l.Name) : [];
        return shape => names.GetValueOrDefault(shape.WithBatch(1)) ?? $"{shape.R}x{shape.S}_{shape.C}-{shape.K}@{shape.H}";
    }

    private static void Print(TextWriter output, string subject, int images, Rates rates, IReadOnlyList<(PaperWork Work, double Count)> step)
    {
        foreach ((PaperWork work, double count) in step.OrderByDescending(w => w.Count * rates.Seconds(w.Work)))
            output.WriteLine($"{subject},{Text(work.Subject)},{work.Pass},{Number(count)},{Sizes(work.Bytes, work.Flops)},{rates.Bound(work)},{Number(rates.Seconds(work) * 1e6)}");
        foreach (var pass in step.GroupBy(w => w.Work.Pass).OrderByDescending(g => g.Sum(w => w.Count * rates.Seconds(w.Work))))
            output.WriteLine($"{subject},sum,{pass.Key},{Sum([.. pass], rates)}");
        double seconds = step.Sum(w => w.Count * rates.Seconds(w.Work));
        output.WriteLine($"{subject},step,images/s,{Sum(step, rates)},{Number(images / seconds)}");
    }

    private static string Sum(IReadOnlyList<(PaperWork Work, double Count)> all, Rates rates) =>
        $"{Number(all.Sum(w => w.Count))},{Sizes(all.Sum(w => w.Count * w.Work.Bytes), all.Sum(w => w.Count * w.Work.Flops))},"
        + Number(all.Sum(w => w.Count * rates.Seconds(w.Work)) * 1e6);

    private static string Sizes(double bytes, double flops) => $"{Number(bytes / 1e6)},{Number(flops / 1e9)}";

    private static string Number(double value) => value.ToString("0.###", CultureInfo.InvariantCulture);

    private static string Text(string value) => value.Replace(",", "", StringComparison.Ordinal);

    private readonly record struct Rates(double BytesPerSecond, double Flops, double Gap)
    {
        public double Seconds(in PaperWork work) => Math.Max(work.Bytes / BytesPerSecond, work.Flops / Flops) + Gap;

        public string Bound(in PaperWork work)
        {
            double bytes = work.Bytes / BytesPerSecond, products = work.Flops / Flops;
            return Gap > Math.Max(bytes, products) ? "launch" : bytes > products ? "memory" : "products";
        }
    }
}
