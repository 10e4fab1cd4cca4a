using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;
using FeedbackKernels.Interop;
using FeedbackKernels.Reports;
using FeedbackKernels.Rules;
using FeedbackKernels.Runs;
using FeedbackKernels.Settings;
using FeedbackKernels.Training;

namespace FeedbackKernels.Cli;

/// <summary><c>feedback study</c>: rules, each with several seeds and several values of one option, with means and intervals.</summary>
internal static class StudyCommand
{
    // More is a slip of the keyboard.
    private const int MostSeeds = 10_000;

    public static Command Create()
    {
        var options = new RunOptions(new RunConfig());
        var rules = new RuleOptions();
        var attackOptions = new AttackOptions();
        HashSet<string> sweepable = [.. options.All.Concat(rules.All).Select(option => option.Name)];
        var names = new Setting<StudyRule[]>("--rules", Use.Always)
        {
            Description = $"Learning rules, separated by commas or blanks: {RuleCatalog.Names}. In quotes, options that hold for one rule alone follow its name, as \"kp --kp-early-shrink 1\"; LABEL= before the name labels it. Differences are from the first rule that is backprop. [default: {string.Join(',', CompareCommand.StandardRules.Select(r => r.Name))}]",
            HelpName = "names",
            AllowMultipleArgumentsPerToken = true,
            Arity = ArgumentArity.OneOrMore,
            MayRepeat = true,
            CustomParser = StudyRule.Parse,
        };
        var seeds = new Setting<ulong[]>("--seeds", Use.Always)
        {
            Description = "Seeds: numbers and ranges, separated by commas, as 1-5 or 1,2,7. Each rule runs with each of them. [default: 1-3]",
            HelpName = "numbers",
            CustomParser = ParseSeeds,
        };
        var sweep = new Setting<StudySweep?>("--sweep", Use.Always)
        {
            Description = "An option of `feedback train` with several values, as lr=0.05,0.1,0.2 or model=resnet20,resnet32. A rule that it has no effect on runs once for all values.",
            HelpName = "option=values",
            CustomParser = result => StudySweep.Parse(result, sweepable),
        };
        Setting<int> parallel = Names.Number("--parallel", Use.Always, 1, new Bounds(1, 1024), "Runs at the same time. Those on the CPU divide the threads. The results do not depend on it. Helps with small models, which cannot use many threads.");
        Setting<bool> dry = Names.Switch("--dry-run", Use.Always, false, "List the runs with the command of each, measure a few steps of each kind, and say how long the study will take. Writes nothing.");
        var output = new Setting<string?>("--out", Use.Always)
        {
            Description = "Folder of the study: new, empty, or that of the same study, which goes on where it stopped; longer lists of rules, seeds or values extend it.",
            HelpName = "folder",
            Required = true,
        };
        var command = new Command("study", "Trains under several learning rules, each with several seeds and, with --sweep, several values of an option. Writes a folder for each run, tables (study.csv, summary.csv), and a page (study.html) with means, 95 % intervals and differences from backprop. Takes the options of `feedback train`.");
        foreach (Option option in (Option[])[names, seeds, sweep, .. attackOptions.All, parallel, output, dry]) command.Options.Add(option);
        foreach (Option option in options.All.Where(option => option.Name != "--seed").Concat(rules.All)) command.Options.Add(option);
        command.SetAction(parsed =>
        {
            StudyRule[] all = Settings.Given(parsed, names, [.. CompareCommand.StandardRules.Select(StudyRule.Of)]);
            ulong[] numbers = Settings.Given(parsed, seeds, [1, 2, 3]);
            StudySweep? swept = parsed.GetValue(sweep);
            IReadOnlyList<Attack> attacks = attackOptions.Of(parsed);
            string folder = parsed.GetValue(output)!;
            var cells = new StudyCells(parsed, all, swept);
            Study.CheckFolder(folder);
            var data = new StudyData { OnNotes = Tables.PrintNotes };
            IReadOnlyList<StudyCell> runs = cells.Check(numbers, data, (asked, backend) => Tables.PrintBackend(asked, backend));
            StudyOutline outline = Outline(parsed, all, numbers, swept, runs) with { Attacks = attacks };
            var study = new Study(folder, outline, runs, data);
            study.ReadFolder();
            Console.WriteLine(Summary(outline, study));
            if (!parsed.GetValue(dry)) return Run(study, folder, parsed.GetValue(parallel), swept?.Option);
            using var interrupt = new Interrupt();
            return DryRun(study, runs, data, parsed.GetValue(parallel), swept?.Option, interrupt.Token);
        });
        return command;
    }

    private static int Run(Study study, string folder, int parallel, string? option)
    {
        using var interrupt = new Interrupt();
        var progress = new StudyProgress(study.Remaining.Count, parallel, option);
        study.Run(parallel, progress, interrupt.Token);
        StudyResults results = study.Results;
        Print(results);
        Console.WriteLine($"page: {Path.Combine(folder, StudyFiles.Page)}");
        return Complain(results, interrupt);
    }

    /// <summary>Says what is missing in the results, and returns the exit code.</summary>
    private static int Complain(StudyResults results, Interrupt interrupt)
    {
        StudiedRun[] diverged = [.. results.Runs.Where(run => run.Status == RunStatus.Diverged)], failed = [.. results.Runs.Where(run => run.Status == RunStatus.Failed)];
        if (interrupt.Token.IsCancellationRequested) Console.WriteLine("stopped; the same command goes on from there");
        StudiedRun[] unattacked = [.. results.Runs.Where(run => run.Status == RunStatus.Finished && results.Outline.Attacks.Any(attack => !run.Attacked.ContainsKey(attack.Kind)))];
        if (interrupt.Token.IsCancellationRequested) unattacked = [];
        string[] complaints = [.. Text("diverged", diverged), .. Text("failed", failed), .. Text("could not be attacked", unattacked)];
        if (complaints.Length > 0) Console.Error.WriteLine($"feedback: {string.Join("; ", complaints)}");
        return interrupt.Token.IsCancellationRequested ? interrupt.ExitCode : failed.Length + unattacked.Length > 0 ? Program.Failure : diverged.Length > 0 ? Outcome.Diverged : 0;

        static IEnumerable<string> Text(string what, StudiedRun[] runs) =>
            runs.Length == 0 ? [] : [string.Create(CultureInfo.InvariantCulture, $"{runs.Length} {(runs.Length == 1 ? "run" : "runs")} {what}: {string.Join(", ", runs.Select(run => run.Folder))}")];
    }

    /// <summary>Lists the runs, and measures a few steps of each kind that has not finished.</summary>
    private static int DryRun(Study study, IReadOnlyList<StudyCell> runs, StudyData data, int parallel, string? option, CancellationToken cancel)
    {
        HashSet<StudyCell> remaining = [.. study.Remaining];
        foreach (StudyCell cell in runs) Console.WriteLine($"{(remaining.Contains(cell) ? "" : "has ended: ")}{cell.Command} --out {TrainLine.Text([study.PathOf(cell)])}");
        double seconds = 0;
        foreach (IGrouping<(string, string?), StudyCell> kind in study.Untrained.GroupBy(cell => (cell.Label, cell.Value)))
        {
            StudyCell first = kind.First();
            using Backend backend = first.Config.CreateBackend();
            double one = RunPlan.Measure(first.Config, data.Open(first.Config), backend, TimeSpan.FromSeconds(1), cancel).TotalSeconds;
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{StudyProgress.NameOf(first.Label, option, first.Value)}: about {PlanCommand.Time(one)} for a run, {kind.Count()} to do"));
            seconds += one * kind.Count();
        }

        string together = parallel > 1 ? " one after another; the speed of several at once has not been measured" : "";
        Console.WriteLine($"in all: about {PlanCommand.Time(seconds)}{together}");
        if (study.Outline.Attacks.Count > 0 && study.Remaining.Count > 0) Console.WriteLine(Text($"the time of the attacks on {study.Remaining.Count} models is not included"));
        return 0;
    }

    private static StudyOutline Outline(ParseResult parsed, IReadOnlyList<StudyRule> rules, IReadOnlyList<ulong> seeds, StudySweep? sweep, IReadOnlyList<StudyCell> runs)
    {
        RunConfig first = runs[0].Config;
        string title = $"{(sweep?.Option == "--model" ? "several models" : first.Model)} on {(sweep?.Option == "--data" ? "several data sets" : first.Data)}";
        return new StudyOutline(
            title, [.. rules.Select(rule => rule.Label)], rules.FirstOrDefault(rule => rule.Name == Backprop.RuleName)?.Label, sweep?.Option, sweep?.Values ?? [], seeds,
            runs.Count, $"feedback {TrainLine.Text(parsed.Tokens.Select(token => token.Value))}", first.ToJson());
    }

    private static string Summary(StudyOutline outline, Study study)
    {
        string swept = outline.Option is null ? "" : Text($" x {outline.Values.Count} values of {outline.Option}");
        int left = study.Remaining.Count;
        string done = left == outline.Runs ? "" : left == 0 ? "; all have ended" : Text($"; {outline.Runs - left} {(outline.Runs - left == 1 ? "has" : "have")} ended");
        return $"{StudyPage.Count(outline.Runs, "run")}: {StudyPage.Count(outline.Labels.Count, "rule")} x {StudyPage.Count(outline.Seeds.Count, "seed")}{swept}{done}";
    }

    private static void Print(StudyResults results)
    {
        bool swept = results.Outline.Option is not null;
        var table = new TextTable(
        [
            new TextColumn("rule", Left: true), .. swept ? [new TextColumn(results.Outline.Option!)] : (TextColumn[])[], new TextColumn("n"), new TextColumn("top-1, %"),
            new TextColumn("difference"), .. results.Outline.Attacks.Select(attack => new TextColumn($"{Attack.NameOf(attack.Kind)}, %")), new TextColumn("train loss", "train\nloss"), new TextColumn("difference "), new TextColumn("W-B angle, largest", "W-B\nangle"), new TextColumn("seconds"),
        ]);
        foreach (StudyGroup group in results.Groups)
        {
            table.Add(
            [
                group.Label, .. swept ? [group.Value ?? "-"] : (string[])[], group.Finished.Count().ToString(CultureInfo.InvariantCulture),
                Cell(group.Of(StudyMeasure.TestTop1), 100, "F2"), Cell(group.DifferenceOf(StudyMeasure.TestTop1), 100, "F2"),
                .. results.Outline.Attacks.Select(attack => Cell(group.Of(StudyMeasure.Under(attack.Kind)), 100, "F2") + group.PartOf(StudyMeasure.Under(attack.Kind))),
                Cell(group.Of(StudyMeasure.TrainLoss), 1, "F4"), Cell(group.DifferenceOf(StudyMeasure.TrainLoss), 1, "F4"),
                Cell(group.Of(StudyMeasure.LargestWeightAngle), 1, "F1"), group.Of(StudyMeasure.Seconds) is { Count: > 0 } time ? time.Mean.ToString("F0", CultureInfo.InvariantCulture) : "-",
            ]);
        }

        table.Write(Terminal.Open());
    }

    private static string Cell(Interval interval, double unit, string format)
    {
        if (interval.Count == 0) return "-";
        string half = interval.HasWidth ? $" ± {(unit * interval.Half).ToString(format, CultureInfo.InvariantCulture)}" : "";
        return (unit * interval.Mean).ToString(format, CultureInfo.InvariantCulture) + half;
    }

    private static ulong[] ParseSeeds(ArgumentResult result)
    {
        string text = result.Tokens.Single().Value;
        var seeds = new List<ulong>();
        foreach (string part in text.Split(','))
        {
            string[] ends = part.Split('-');
            bool known = TryParse(ends[0], out ulong first);
            ulong last = first;
            if (ends.Length > 2 || !known || (ends.Length == 2 && !TryParse(ends[1], out last)) || last < first || last - first >= MostSeeds)
            {
                result.AddError($"--seeds '{text}': wanted numbers and ranges of at most {MostSeeds} numbers, separated by commas, as 1-5 or 1,2,7");
                return [];
            }

            for (ulong i = 0; i <= last - first; i++) seeds.Add(first + i);
        }

        if (seeds.GroupBy(seed => seed).FirstOrDefault(g => g.Count() > 1) is { } twice) result.AddError(Text($"--seeds '{text}': {twice.Key} is given {twice.Count()} times"));
        return [.. seeds];

        static bool TryParse(string text, out ulong number) => ulong.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out number);
    }

    private static string Text(FormattableString text) => FormattableString.Invariant(text);
}
