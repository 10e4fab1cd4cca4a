using System.CommandLine;
using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Rules;
using FeedbackKernels.Runs;
using FeedbackKernels.Training;

namespace FeedbackKernels.Cli;

/// <summary><c>feedback compare</c>: one model under several rules, everything else the same.</summary>
internal static class CompareCommand
{
    // About a minute on two cores, enough to tell the rules apart. Small batches, because Kolen-Pollack aligns a little with each step.
    private static readonly RunConfig Standard = new()
    {
        Model = "resnet8",
        Training = new TrainingOptions { Epochs = 4, Batch = 16, Schedule = new LearningRateSchedule(ScheduleKind.OneCycle, 0.05f) },
    };

    /// <summary>The rules that are compared if none are given.</summary>
    internal static IReadOnlyList<FeedbackRule> StandardRules { get; } =
        [new Backprop(), new WeightMirror(), new KolenPollack(), new SignSymmetry(), new FeedbackAlignment()];

    public static Command Create()
    {
        var options = new RunOptions(Standard);
        var rules = new RuleOptions();
        var output = new OutputFolder();
        var names = new Setting<FeedbackRule[]>("--rules", Use.Always)
        {
            Description = $"Learning rules, separated by commas: {RuleCatalog.Names}. [default: {string.Join(',', StandardRules.Select(r => r.Name))}]",
            HelpName = "names",
            Arity = ArgumentArity.ExactlyOne,
            CustomParser = result => [.. result.Tokens.Single().Value.Split(',').Select(name => RuleOptions.Parse(name, result))],
        };
        var command = new Command("compare", "Trains one model under several learning rules, from the same initial weights and with the same images, and prints the results side by side.");
        command.Options.Add(names);
        foreach (Option option in options.All.Concat(rules.All).Concat(output.All)) command.Options.Add(option);
        command.SetAction(parsed =>
        {
            RunConfig config = options.Read(parsed);
            RunConfig[] runs = [.. Settings.Given(parsed, names, [.. StandardRules]).Select(rule => rules.Apply(parsed, rule, config))];
            UnusedOptions.Refuse(parsed, runs);
            RunPlace place = output.Choose(parsed, $"{config.Model}-compare");
            DataSet data = config.OpenData();
            Tables.PrintNotes(options.Notes);
            Tables.PrintNotes(data.Notes);
            using Backend backend = BackendOptions.Open(parsed, runs);
            Tables.PrintBackend(config.Backend, backend);
            using var interrupt = new Interrupt();
            RunConfig[] complete = [.. runs.Select(run => options.Complete(parsed, run, data))];
            // A rule that cannot be trained is reported now, not after the rules before it have been trained.
            foreach (RunConfig run in complete) Experiment.Check(run, data, backend);
            using var comparison = new Comparison(place);
            try
            {
                foreach (RunConfig run in complete)
                {
                    if (interrupt.Token.IsCancellationRequested) break;
                    Console.WriteLine($"{run.Rule.Name}:");
                    comparison.Add(ConsoleProgress.Show(
                        run.Training.Epochs, observer => Experiment.Train(run, data, backend, comparison.PlaceFor(run), observer, cancel: interrupt.Token)));
                }
            }
            finally
            {
                // Also after an error, the rules that were trained get their table and report.
                if (comparison.Runs.Count > 0) Show(comparison);
            }

            if (comparison.Runs is [.., var last]) TrainCommand.PrintHowToGoOn(last);
            return Outcome.ExitCodeOf(comparison.Runs.Select(r => r.Summary), interrupt);
        });
        return command;
    }

    private static void Show(Comparison comparison)
    {
        Tables.Print([.. comparison.Runs.Select(r => r.Summary)]);
        Console.WriteLine($"report: {comparison.Finish()}");
    }
}
