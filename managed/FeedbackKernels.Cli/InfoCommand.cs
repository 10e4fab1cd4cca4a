using System.CommandLine;
using System.Globalization;
using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;
using FeedbackKernels.Runs;
using FeedbackKernels.Settings;

namespace FeedbackKernels.Cli;

/// <summary><c>feedback info</c>: the backend, and the kernel of each layer.</summary>
internal static class InfoCommand
{
    private static readonly (ConvPass Pass, string Name, string Short)[] Passes =
        [(ConvPass.Forward, "forward", "fwd"), (ConvPass.Feedback, "feedback", "back"), (ConvPass.WeightGradient, "weight gradient", "dW")];

    public static Command Create()
    {
        Setting<string> modelName = RunOptions.ModelOption(new RunConfig().Model);
        Setting<int> hidden = RunOptions.HiddenOption(new RunConfig().Hidden);
        Setting<int> size = Names.Number("--size", Use.Always, 0, Bounds.AtLeast(0), "Rows and columns of an image; 0 for the model's usual size.");
        Setting<int> channels = Names.Number("--channels", Use.Always, 3, Bounds.AtLeast(1), "Channels of an image: 1 for grey, 3 for colour.");
        Setting<int> classes = Names.Number("--classes", Use.Always, 0, Bounds.AtLeast(0), "Number of classes; 0 for the model's usual number.");
        Setting<int> batch = Names.Number("--batch", Use.Always, 128, Bounds.AtLeast(1), "Images in a training step. The choice of a kernel can depend on it.");
        Setting<bool> load = Names.Switch(
            "--load-kernels", Use.Cuda, false,
            $"Load every CUDA kernel file, and print what the driver's compiler warns of. {CudaKernelFile.LogVariable}=FILE keeps all that it says; {CudaKernelFile.ImageVariable}=ptx has it compile where there is machine code.");
        var choice = new BackendOptions(new RunConfig(), training: false);
        var command = new Command("info", "Shows the backend, instruction set and number of threads, and which kernel computes each layer of a model and why.")
        {
            modelName, hidden, size, channels, classes, batch, load,
        };
        foreach (Option option in choice.All) command.Options.Add(option);
        command.SetAction(parsed =>
        {
            string name = parsed.GetValue(modelName)!;
            RunConfig config = choice.Apply(parsed, new RunConfig { Model = name });
            UnusedOptions.Refuse(parsed, config);
            int rows = parsed.GetValue(size) is > 0 and var given ? given : ModelCatalog.UsualImageSize(name);
            int outputs = parsed.GetValue(classes) is > 0 and var wanted ? wanted : ModelCatalog.UsualClasses(name);
            ModelSpec spec = ModelCatalog.Create(name, new MapShape(rows, rows, parsed.GetValue(channels)), outputs, new ModelOptions(Hidden: parsed.GetValue(hidden)));
            using Backend backend = BackendOptions.Open(parsed, config);
            using var model = Model.ForEvaluation(backend, spec, batch: 1);
            Tables.PrintBackend(config.Backend, backend, details: true);
            Console.WriteLine($"SIMD levels of this machine: {string.Join(", ", SimdLevels.Supported.Select(KebabCase.Of))}; processors: {Environment.ProcessorCount}");
            Processes.Print();
            Console.WriteLine($"CUDA kernels of this build: {CudaBackend.KernelBuild}");
            if (backend is CudaBackend cuda) PrintKernels(cuda, parsed.GetValue(load));
            Console.WriteLine($"image decoder: {ImageDecoder.Name}");
            Console.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"{name}: images {spec.Input}, {spec.Classes} classes, {model.ParameterCount:N0} parameters, {model.ForwardFlops / 1e6:N1} MFLOP forward an image"));
            PrintLayers(backend, model, parsed.GetValue(batch));
        });
        return command;
    }

    private static void PrintKernels(CudaBackend backend, bool all)
    {
        if (all) backend.LoadKernels();
        IReadOnlyList<CudaKernelFile> files = backend.LoadedKernels;
        int compiled = files.Count(file => file.Compiled);
        Console.WriteLine(
            $"CUDA kernels loaded: {files.Count} files for {string.Join(", ", files.Select(file => file.Architecture).Distinct())}, {files.Count - compiled} from cubins, {compiled} from PTX that the driver compiled");
        foreach (IGrouping<string, CudaKernelFile> refused in files.Where(file => file.Refusal is not null).GroupBy(file => file.Refusal!))
            Console.WriteLine($"cubins refused, {refused.Count()} files: {refused.Key}");
        string[] warnings = [.. files.SelectMany(file => file.Warnings.Select(warning => $"{file.Name}: {warning}"))];
        foreach (string warning in warnings) Console.WriteLine(warning);
        if (files.All(file => file.Log.Length == 0)) Console.WriteLine("the driver's compiler said nothing: it compiled nothing, or has it in its cache");
        else if (warnings.Length == 0) Console.WriteLine("the driver's compiler has no word of serialized products or spilled registers");
    }

    private static void PrintLayers(Backend backend, Model model, int batch)
    {
        var table = new TextTable(
        [
            new TextColumn("layer", Left: true), new TextColumn("input"), new TextColumn("output"), new TextColumn("filter", "filt"),
            new TextColumn("parameters", "params"), new TextColumn("MFLOP"), .. Passes.Select(p => new TextColumn(p.Name, p.Short, Left: true)),
        ]);
        var reasons = new List<ConvExplanation>();
        foreach (ConvLayer layer in model.Layers)
        {
            ConvShape shape = layer.Shape(batch);
            var cells = new List<string>
            {
                layer.Name, $"{shape.H}x{shape.W}x{shape.C}", $"{shape.P}x{shape.Q}x{shape.K}", $"{shape.R}x{shape.S}/{shape.Stride}",
                (layer.Weight.Length + (layer.Bias?.Length ?? 0)).ToString("N0", CultureInfo.InvariantCulture),
                (shape.Flops / batch / 1e6).ToString("F2", CultureInfo.InvariantCulture),
            };
            foreach ((ConvPass pass, _, _) in Passes)
            {
                if (pass == ConvPass.Feedback && layer == model.Layers[0])
                {
                    // No error is sent to the image.
                    cells.Add("-");
                    continue;
                }

                // The last layer computes the logits, which may have another type.
                bool logits = pass == ConvPass.Forward && layer == model.Layers[^1];
                ConvExplanation explanation = backend.Explain(shape, pass, logits ? model.LogitsType : backend.ActivationType);
                int reason = reasons.IndexOf(explanation);
                if (reason < 0)
                {
                    reason = reasons.Count;
                    reasons.Add(explanation);
                }

                cells.Add($"({reason + 1})");
            }

            table.Add([.. cells]);
        }

        table.Write(Terminal.Open());
        for (int i = 0; i < reasons.Count; i++) Console.WriteLine($"({i + 1}) {reasons[i].Algorithm}: {reasons[i].Reason}");
    }
}
