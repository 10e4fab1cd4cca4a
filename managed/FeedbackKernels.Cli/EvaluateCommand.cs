using System.CommandLine;
using System.Globalization;
using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Models;
using FeedbackKernels.Runs;
using FeedbackKernels.Settings;
using FeedbackKernels.Training;

namespace FeedbackKernels.Cli;

/// <summary><c>feedback evaluate</c>: the accuracy of a trained model.</summary>
internal static class EvaluateCommand
{
    public static Command Create()
    {
        var folder = new Argument<DirectoryInfo>("run") { Description = "Folder of a run, with config.json and model.safetensors." };
        var data = new Setting<string?>("--data", Use.Always) { Description = $"Test images to use instead of those of the run. {SourceCatalog.Help}.", HelpName = "source" };
        Setting<int?> limit = RunOptions.LimitOption("--limit-test", "test");
        Setting<int> batch = Names.Number("--batch", Use.Always, 128, Bounds.AtLeast(1), "Images at a time. More need more memory.");
        Setting<int> size = RunOptions.TestSizeOption(0), resize = RunOptions.TestResizeOption(0);
        Setting<bool> flip = RunOptions.TestFlipOption(false);
        var attackOptions = new AttackOptions();
        var choice = new BackendOptions(new RunConfig(), training: false);
        var command = new Command("evaluate", "Computes the accuracy of a trained model on the test images.")
        {
            folder, data, limit, batch, size, resize, flip,
        };
        foreach (Option option in (IEnumerable<Option>)[.. attackOptions.All, .. choice.All]) command.Options.Add(option);
        command.SetAction(parsed =>
        {
            string config = Path.Combine(parsed.GetValue(folder)!.FullName, RunFiles.Config);
            RunConfig trained = File.Exists(config) ? RunConfig.Read(config) : new RunConfig();
            if (parsed.GetValue(data) is null) StoredRun.RequireData(trained);
            IReadOnlyList<Attack> attacks = attackOptions.Of(parsed);
            if (attacks.Count > 0 && Processes.Group.IsShared) throw new UsageException("--attack is for one process");
            if (attacks.Count > 0 && parsed.GetValue(flip)) throw new UsageException("--test-flip and --attack exclude each other: an attack is on one image");
            RunConfig chosen = choice.Apply(parsed, new RunConfig { Data = parsed.GetValue(data) ?? trained.Data });
            using Backend backend = BackendOptions.Open(parsed, chosen);
            using StoredRun run = StoredRun.Open(parsed.GetValue(folder)!.FullName);
            TestSet test = run.OpenTest(parsed.GetValue(data), parsed.GetValue(limit));
            using Model model = attacks.Count == 0
                ? Model.ForEvaluation(backend, run.Describe(), parsed.GetValue(batch))
                : Model.ForAttack(backend, run.Describe(), parsed.GetValue(batch));
            run.Model.LoadInto(model);
            Preprocessing preprocessing = run.Preprocessing.WithSize(parsed.GetValue(size), parsed.GetValue(resize));
            using var interrupt = new Interrupt();
            AttackResult[] attacked = [.. attacks.Select(attack => new AttackEvaluator(model, attack).Run(test.Images, preprocessing, cancel: interrupt.Token))];
            Evaluation result = attacked.Length > 0 ? attacked[0].Clean : new Evaluator(model, parsed.GetValue(flip)).Run(test.Images, preprocessing, group: Processes.Group, cancel: interrupt.Token);
            Tables.PrintBackend(chosen.Backend, backend);
            Tables.PrintNotes(test.Notes);
            Console.WriteLine($"{run.Config.Model} trained by {run.Config.Rule.Name}, {result.Images} test images of {test.Name}: {Text(result)}");
            foreach ((Attack attack, AttackResult found) in attacks.Zip(attacked)) Console.WriteLine($"under {attack.Describe()}: {Text(found.Attacked)}");
        });
        return command;
    }

    private static string Text(in Evaluation result) =>
        string.Create(CultureInfo.InvariantCulture, $"top-1 {100 * result.Top1:F2} %, top-5 {100 * result.Top5:F2} %, loss {result.Loss:F4}");
}
