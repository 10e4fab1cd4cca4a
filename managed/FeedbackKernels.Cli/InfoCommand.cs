using System.CommandLine;
using System.Globalization;
using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;
using FeedbackKernels.Rules;
using FeedbackKernels.Runs;
using Spectre.Console;

namespace FeedbackKernels.Cli;

/// <summary><c>feedback info</c>: what computes, and with which kernels.</summary>
internal static class InfoCommand
{
    private static readonly (ConvPass Pass, string Name)[] Passes =
        [(ConvPass.Forward, "forward"), (ConvPass.Feedback, "feedback"), (ConvPass.WeightGradient, "weight gradient")];

    public static Command Create()
    {
        Option<string> modelName = RunOptions.ModelOption(new RunConfig().Model);
        Option<int> size = Names.AtLeast("--size", 0, 0, "Rows and columns of an image; 0 for the model's usual ones.");
        Option<int> channels = Names.AtLeast("--channels", 1, 3, "Channels of an image.");
        Option<int> classes = Names.AtLeast("--classes", 0, 0, "Classes; 0 for the model's usual ones.");
        Option<int> batch = Names.AtLeast("--batch", 1, 128, "Images in a step.");
        var choice = new BackendOptions(new RunConfig());
        var command = new Command("info", "Says which backend, instruction set and threads compute, and which kernel serves each layer of a model and why.")
        {
            modelName, size, channels, classes, batch, choice.Threads, choice.Backend, choice.Simd, choice.Exact, choice.Device, choice.Precision,
        };
        command.SetAction(parsed =>
        {
            string name = parsed.GetValue(modelName)!;
            int rows = parsed.GetValue(size) is > 0 and var given ? given : ModelCatalog.UsualImageSize(name);
            int outputs = parsed.GetValue(classes) is > 0 and var wanted ? wanted : ModelCatalog.UsualClasses(name);
            ModelSpec spec = ModelCatalog.Create(name, new MapShape(rows, rows, parsed.GetValue(channels)), outputs);
            using Backend backend = choice.Create(parsed);
            using var model = new Model(backend, spec, RuleSet.Of(new Backprop()), batch: 1, seed: 0, training: false);
            Tables.PrintBackend(parsed.GetValue(choice.Backend)!, backend);
            Console.WriteLine($"SIMD levels of this machine: {string.Join(", ", SimdLevels.Supported.Select(Names.Of))}; processors: {Environment.ProcessorCount}");
            Console.WriteLine($"CUDA kernels of this build: {CudaBackend.KernelBuild}");
            Console.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"{name}: images {spec.Input}, {spec.Classes} classes, {model.ParameterCount:N0} parameters, {model.ForwardFlops / 1e6:N1} MFLOP forward an image"));
            PrintLayers(backend, model, parsed.GetValue(batch));
        });
        return command;
    }

    private static void PrintLayers(Backend backend, Model model, int batch)
    {
        Table table = Tables.New(["layer", "input", "output", "filter", "parameters", "MFLOP", .. Passes.Select(p => p.Name)]);
        foreach (TableColumn column in table.Columns.Skip(6)) column.Alignment = Justify.Left;
        var reasons = new List<ConvPlan>();
        foreach (ConvLayer layer in model.Layers)
        {
            ConvShape shape = layer.Shape(batch);
            var cells = new List<string>
            {
                layer.Name, $"{shape.H}x{shape.W}x{shape.C}", $"{shape.P}x{shape.Q}x{shape.K}", $"{shape.R}x{shape.S}/{shape.Stride}",
                (layer.Weight.Length + (layer.Bias?.Length ?? 0)).ToString("N0", CultureInfo.InvariantCulture),
                (shape.Flops / batch / 1e6).ToString("F2", CultureInfo.InvariantCulture),
            };
            foreach ((ConvPass pass, _) in Passes)
            {
                if (pass == ConvPass.Feedback && layer == model.Layers[0])
                {
                    // The image gets no error.
                    cells.Add("-");
                    continue;
                }

                ConvPlan plan = backend.Explain(shape, pass);
                int reason = reasons.IndexOf(plan);
                if (reason < 0)
                {
                    reason = reasons.Count;
                    reasons.Add(plan);
                }

                cells.Add($"({reason + 1})");
            }

            table.AddRow([.. cells.Select(Markup.Escape)]);
        }

        Terminal.Open().Write(table);
        for (int i = 0; i < reasons.Count; i++) Console.WriteLine($"({i + 1}) {reasons[i].Algorithm}: {reasons[i].Reason}");
    }
}
