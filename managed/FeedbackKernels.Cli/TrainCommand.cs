using System.CommandLine;
using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Rules;
using FeedbackKernels.Runs;

namespace FeedbackKernels.Cli;

/// <summary><c>feedback train</c>: one model, one rule.</summary>
internal static class TrainCommand
{
    public static Command Create()
    {
        var options = new RunOptions(new RunConfig());
        var rules = new RuleOptions();
        var output = new OutputFolder();
        var rule = new Setting<FeedbackRule>("--rule", Use.Always)
        {
            Description = $"Learning rule: {RuleOptions.RuleNames}. [default: {Backprop.RuleName}]",
            HelpName = "name",
            CustomParser = result => RuleOptions.Parse(result.Tokens.Single().Value, result),
        };
        var command = new Command("train", "Trains a model under one learning rule and writes a folder with its results.");
        command.Options.Add(rule);
        foreach (Option option in options.All.Concat(rules.All).Concat(output.All)) command.Options.Add(option);
        command.SetAction(parsed =>
        {
            RunConfig config = options.Read(parsed);
            config = config with
            {
                Rule = rules.Apply(parsed, Settings.Given(parsed, rule, config.Rule)),
                RuleFor = rules.ApplyExceptions(parsed, config.RuleFor),
            };
            UnusedOptions.Refuse(parsed, config);
            RunPlace place = output.Choose(parsed, $"{config.Model}-{config.Rule.Name}");
            DataSet data = config.OpenData();
            Tables.PrintNotes(data.Notes);
            config = options.Complete(parsed, config, data);
            using Backend backend = BackendOptions.Open(parsed, config);
            Tables.PrintBackend(config.Backend, backend);
            using var interrupt = new Interrupt();
            FinishedRun run = ConsoleProgress.Show(
                config.Training.Epochs, observer => Experiment.Train(config, data, backend, place, observer, interrupt.Token));
            Tables.Print([run.Summary]);
            Console.WriteLine($"report: {Path.Combine(run.Folder, RunFiles.Report)}");
            return Outcome.ExitCodeOf([run.Summary], interrupt);
        });
        return command;
    }
}
