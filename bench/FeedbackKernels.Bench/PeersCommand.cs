using System.CommandLine;
using System.Globalization;
using FeedbackKernels.Bench.Peers;
using FeedbackKernels.Interop;
using FeedbackKernels.Models;

namespace FeedbackKernels.Bench;

/// <summary><c>peers</c>: builds the peers' programs, runs them in turn with ours, and writes tables with the ratios and a roofline
/// plot.</summary>
internal static class PeersCommand
{
    /// <summary>The models, with the batch of their training steps.</summary>
    private static readonly Dictionary<string, int> StepBatches = new() { ["resnet18"] = 32, ["resnet20"] = 128, ["resnet50"] = 16 };

    private const int LayerBatch = 16;

    public static Command Create()
    {
        var models = new Option<string[]>("--model")
        {
            Description = "One or several models.",
            DefaultValueFactory = _ => ["resnet18"],
            AllowMultipleArgumentsPerToken = true,
        };
        models.AcceptOnlyFromAmong([.. StepBatches.Keys]);
        var batch = new Option<int>("--batch")
        {
            Description = $"Images in a batch; 0 for {LayerBatch} in layers and, in steps, {string.Join(", ", StepBatches.Select(b => $"{b.Value} for {b.Key}"))}.",
        };
        var what = new Option<string>("--what") { Description = "What to measure: single layers, training steps, or both.", DefaultValueFactory = _ => "all" };
        what.AcceptOnlyFromAmong("layers", "steps", "all");
        var filter = new Option<string>("--filter") { Description = "Measure only layers whose name contains this.", DefaultValueFactory = _ => "" };
        var rounds = new Option<int>("--rounds") { Description = "Runs of each program on each layer or model; the tables have the medians. Use more on a shared machine.", DefaultValueFactory = _ => 3 };
        var budget = new Option<double>("--budget") { Description = "Seconds to measure for each figure of a layer.", DefaultValueFactory = _ => 0.6 };
        var steps = new Option<int>("--steps") { Description = "Training steps to measure in a run.", DefaultValueFactory = _ => 10 };
        var peers = new Option<string[]>("--peers")
        {
            Description = "One or several peers. [default: all that can be built; with --exact, only those without Winograd]",
            AllowMultipleArgumentsPerToken = true,
        };
        peers.AcceptOnlyFromAmong(Peer.Names);
        var output = new Option<string>("--out") { Description = "Folder for tables and plot. [default: artifacts/comparison]" };
        var cpu = new BackendOptions();
        var command = new Command("peers", "Compares these kernels with other libraries, run in turn: tables with ratios and a roofline plot.")
        {
            models, batch, what, filter, rounds, budget, steps, peers, output,
        };
        cpu.AddCpuTo(command);
        command.SetAction(parsed =>
        {
            ArgumentOutOfRangeException.ThrowIfNegative(parsed.GetValue(batch), "--batch");
            ArgumentOutOfRangeException.ThrowIfNegativeOrZero(parsed.GetValue(rounds), "--rounds");
            ArgumentOutOfRangeException.ThrowIfNegativeOrZero(parsed.GetValue(steps), "--steps");
            string root = RepositoryRoot();
            string folder = parsed.GetValue(output) ?? Path.Combine(root, "artifacts", "comparison");
            int threads;
            string machine;
            using (CpuBackend backend = cpu.CreateCpu(parsed)) (threads, machine) = (backend.Threads, backend.Description);
            var tournament = new Tournament(Path.Combine(root, "bench", "peers"), Path.Combine(root, "artifacts", "peers"), threads, parsed.GetValue(rounds))
            {
                OurArguments = cpu.CpuArguments(parsed),
            };
            tournament.Enter(parsed.GetValue(peers) ?? [], withWinograd: !cpu.Exact(parsed));
            tournament.MeasureCeilings();
            var layers = new List<LayerShape>();
            foreach (string model in parsed.GetValue(models)!.Distinct())
            {
                int images = parsed.GetValue(batch);
                if (parsed.GetValue(what) != "steps")
                {
                    LayerShape[] chosen = [.. LayerShapes.Of(model, images > 0 ? images : LayerBatch)
                        .Where(l => l.Name.Contains(parsed.GetValue(filter)!, StringComparison.Ordinal))];
                    layers.AddRange(chosen);
                    foreach (LayerShape layer in chosen) tournament.Layer(model, layer, parsed.GetValue(budget));
                }

                if (parsed.GetValue(what) != "layers") tournament.Steps(model, images > 0 ? images : StepBatches[model], parsed.GetValue(steps));
            }

            Write(folder, machine, tournament, layers);
        });
        return command;
    }

    private static void Write(string folder, string machine, Tournament tournament, IReadOnlyList<LayerShape> layers)
    {
        Comparison comparison = tournament.Comparison;
        Directory.CreateDirectory(folder);
        string arguments = string.Join(' ', Environment.GetCommandLineArgs().Skip(1)), s = tournament.Rounds == 1 ? "" : "s";
        string title = $"FeedbackKernels and peers\n\nBy `{arguments}`: {machine}, medians of {tournament.Rounds} round{s}.";
        string tables = ComparisonReport.Markdown(comparison, title, tournament.Failures);
        File.WriteAllText(Path.Combine(folder, "results.md"), tables);
        File.WriteAllText(Path.Combine(folder, "results.csv"), ComparisonReport.Csv(comparison));
        File.WriteAllLines(Path.Combine(folder, "runs.csv"), comparison.Lines.Select(l => string.Create(CultureInfo.InvariantCulture, $"{l.Round},{l.Line}")));
        Console.Write($"\n{tables}\n");
        Dictionary<string, double> intensities = layers.ToDictionary(l => l.Name, l => RooflinePoint.IntensityOf(l.Shape));
        RooflinePoint[] points =
            [.. comparison.Layers().Select(c => new RooflinePoint(c.Subject, c.Detail, intensities[c.Subject], c.Ours, c.Theirs))];
        if (points.Length > 0 && comparison.Ceiling("peak") is { } peak && comparison.Ceiling("bandwidth") is { } bandwidth)
            Roofline.Write(points, peak, bandwidth, folder);
        Console.WriteLine($"written to {folder}");
    }

    private static string RepositoryRoot()
    {
        for (DirectoryInfo? folder = new(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            if (File.Exists(Path.Combine(folder.FullName, "Kernels.sln"))) return folder.FullName;
        }

        throw new DirectoryNotFoundException(
            $"no folder above '{AppContext.BaseDirectory}' contains Kernels.sln; the comparison builds the peers from bench/peers of the repository");
    }
}
