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
        Setting<FeedbackRule> rule = RuleOptions.ForAllLayers();
        Setting<bool> resume = Names.Switch(
            "--resume-if-there", Use.With(output.Out), false,
            "If the --out folder holds a run of the same configuration, go on with it; otherwise start. For job schedulers that start a command again.");
        Setting<bool> sync = Names.Switch(
            "--sync-batch-norm", Use.SharedNorms, false,
            "Let batch norms of several processes see the images of all of them, as one process with the whole batch would. Slower. Use it if a process has few images.");
        Setting<bool> split = Names.Switch(
            "--mirror-split", Use.SharedMirror, false,
            "Let several processes divide the noise of the weight mirror: each takes --mirror-samples of its own, and they sum what they find. As many times the samples at the same cost, plus that of the sum.");
        Setting<CudaPrecision> reduceType = Names.Choice(
            "--reduce-type", Use.SeveralDevices, new RunConfig().ReduceType,
            "Number format in which several processes with GPUs send and add gradients. bf16 halves the bytes, and rounds each gradient and each sum.");
        var command = new Command("train", "Trains a model under one learning rule and writes a folder with its results.");
        command.Options.Add(rule);
        foreach (Option option in options.All.Concat(rules.All).Concat(output.All).Concat([resume, sync, split, reduceType])) command.Options.Add(option);
        command.SetAction(parsed =>
        {
            RunConfig config = options.Read(parsed);
            config = rules.Apply(parsed, Settings.Given(parsed, rule, config.Rule), config);
            config = config with
            {
                ReduceType = Settings.Given(parsed, reduceType, config.ReduceType),
                Training = config.Training with
                {
                    SyncBatchNorm = Settings.Given(parsed, sync, config.Training.SyncBatchNorm),
                    MirrorSplit = Settings.Given(parsed, split, config.Training.MirrorSplit),
                },
            };
            UnusedOptions.Refuse(parsed, config);
            Communicator group = Processes.Group;
            using StoppedRun? stopped = group.IsFirst && parsed.GetValue(resume) && output.Given(parsed) is { } folder && StoppedRun.IsIn(folder) ? StoppedRun.Open(folder) : null;
            RunPlace? place = group.IsFirst && stopped is null ? output.Choose(parsed, $"{config.Model}-{config.Rule.Name}") : null;
            bool goesOn = group.Any(stopped is not null);
            DataSet data = config.OpenData();
            Tables.PrintNotes(options.Notes);
            Tables.PrintNotes(data.Notes);
            config = options.Complete(parsed, config, data);
            stopped?.RequireSame(config.For(data));
            if (goesOn && Processes.OfFirst(() => ResumeCommand.SaysFinished(stopped!, config)) is { } code) return code;

            using Backend backend = BackendOptions.Open(parsed, config);
            Tables.PrintBackend(config.Backend, backend);
            using NcclCommunicator? devices = Processes.BetweenDevices(backend, config);
            using var interrupt = new Interrupt();
            FinishedRun run = ConsoleProgress.Show(
                config.Training.Epochs,
                observer => goesOn
                    ? Experiment.Resume(stopped, config, data, backend, observer, devices ?? group, interrupt.Token)
                    : Experiment.Train(config, data, backend, place, observer, devices ?? group, interrupt.Token));
            return Finish(run, interrupt);
        });
        return command;
    }

    /// <summary>Prints the results of a run, and how to go on with one that was stopped; returns the exit code.</summary>
    public static int Finish(FinishedRun run, Interrupt interrupt)
    {
        Tables.Print([run.Summary]);
        Console.WriteLine($"report: {Path.Combine(run.Folder, RunFiles.Report)}");
        PrintHowToGoOn(run);
        return Outcome.ExitCodeOf([run.Summary], interrupt);
    }

    /// <summary>Prints how to go on with a run that was stopped.</summary>
    public static void PrintHowToGoOn(FinishedRun run)
    {
        if (!run.Summary.Cancelled) return;
        Console.WriteLine(run.Checkpoint is { } step
            ? $"stopped after step {step}; `feedback resume {run.Folder}` goes on from there"
            : $"stopped without a checkpoint; `feedback resume {run.Folder}` starts from the beginning");
    }
}
