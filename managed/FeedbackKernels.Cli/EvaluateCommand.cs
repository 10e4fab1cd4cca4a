using System.CommandLine;
using System.Globalization;
using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Models;
using FeedbackKernels.Rules;
using FeedbackKernels.Runs;
using FeedbackKernels.Training;

namespace FeedbackKernels.Cli;

/// <summary><c>feedback evaluate</c>: the accuracy of a trained model.</summary>
internal static class EvaluateCommand
{
    public static Command Create()
    {
        var folder = new Argument<DirectoryInfo>("run") { Description = "Folder of a run, with its config.json and model.safetensors." };
        var data = new Option<string?>("--data") { Description = $"Other images than the run's: {DataSet.Forms}.", HelpName = "source" };
        Option<int?> limit = Names.OptionalCount("--limit-test", "Uses the first so many test images.");
        Option<int> batch = Names.AtLeast("--batch", 1, 128, "Images at a time.");
        var choice = new BackendOptions(new RunConfig());
        var command = new Command("evaluate", "Computes the accuracy of a trained model on the test images.")
        {
            folder, data, limit, batch, choice.Threads, choice.Backend, choice.Simd, choice.Exact, choice.Device, choice.Precision,
        };
        command.SetAction(parsed =>
        {
            StoredRun run = StoredRun.Open(parsed.GetValue(folder)!.FullName);
            TestSet test = run.OpenTest(parsed.GetValue(data), parsed.GetValue(limit));
            using Backend backend = choice.Create(parsed);
            using var model = new Model(backend, run.Describe(), RuleSet.Of(new Backprop()), parsed.GetValue(batch), seed: 0, training: false);
            run.Model.LoadInto(model);
            using var interrupt = new Interrupt();
            Evaluation result = new Evaluator(model).Run(test.Images, run.Preprocessing.CreateNormalisation(), interrupt.Token);
            Tables.PrintBackend(parsed.GetValue(choice.Backend)!, backend);
            Console.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"{run.Config.Model} trained by {run.Config.Rule.Name}, {result.Images} test images of {test.Name}: top-1 {100 * result.Top1:F2} %, top-5 {100 * result.Top5:F2} %, loss {result.Loss:F4}"));
        });
        return command;
    }
}
