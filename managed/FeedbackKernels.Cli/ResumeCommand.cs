using System.CommandLine;
using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Runs;
using FeedbackKernels.Settings;

namespace FeedbackKernels.Cli;

/// <summary><c>feedback resume</c>: goes on with a run that was stopped.</summary>
internal static class ResumeCommand
{
    public static Command Create()
    {
        var standard = new RunConfig();
        var settings = new Settings();
        var folder = new Argument<DirectoryInfo>("run") { Description = "Folder of a run that was stopped or killed, or of a finished one with --epochs." };
        settings.Add(
            Names.OptionalNumber<int>("--epochs", Use.Always, new Bounds(1, 1_000_000), "Number of epochs of the whole run, instead of that it was started with. Refused if the steps done would have had other learning rates, as with cosine and one-cycle."),
            (c, v) => c with { Training = c.Training with { Epochs = v!.Value } });
        settings.Add(
            new Setting<string?>("--data", Use.Always) { Description = "New place of the same data, if it has moved.", HelpName = "source" },
            (c, v) => c with { Data = v! });
        settings.Add(BackendOptions.ThreadsOption(standard), (c, v) => c with { Threads = v });
        settings.Add(BackendOptions.DeviceOption(standard), (c, v) => c with { Device = v });
        settings.Add(BackendOptions.NoGraphOption(standard), (c, v) => c with { CudaGraphs = !v });
        settings.Add(RunOptions.DataThreadsOption(standard), (c, v) => c with { DataThreads = v });
        settings.Add(RunOptions.BatchesAheadOption(standard), (c, v) => c with { BatchesAhead = v });
        settings.Add(RunOptions.RamCacheOption(standard), (c, v) => c with { RamCache = v });
        settings.Add(RunOptions.CheckpointOption(standard), (c, v) => c with { CheckpointEvery = v });
        settings.Add(RunOptions.KeepOption(standard), (c, v) => c with { KeepCheckpoints = v });
        var command = new Command("resume", "Goes on with a run that was stopped, from its newest checkpoint. It ends with the same bits as if it had never been stopped.") { folder };
        foreach (Option option in settings) command.Options.Add(option);
        command.SetAction(parsed =>
        {
            Communicator group = Processes.Group;
            using StoppedRun? stopped = group.IsFirst ? StoppedRun.Open(parsed.GetValue(folder)!.FullName) : null;
            RunConfig config = settings.Apply(parsed, Processes.OfFirst(() => stopped!.Config));
            UnusedOptions.Refuse(parsed, config);
            if (Processes.OfFirst(() => SaysFinished(stopped!, config)) is { } code) return code;
            DataSet data = config.OpenData();
            Tables.PrintNotes(data.Notes);
            using Backend backend = BackendOptions.Open(parsed, config);
            Tables.PrintBackend(config.Backend, backend);
            using NcclCommunicator? devices = Processes.BetweenDevices(backend, config);
            using var interrupt = new Interrupt();
            FinishedRun run = ConsoleProgress.Show(
                config.Training.Epochs, observer => Experiment.Resume(stopped, config, data, backend, observer, devices ?? group, interrupt.Token));
            return TrainCommand.Finish(run, interrupt);
        });
        return command;
    }

    /// <summary>Says so if a run has finished, and returns the exit code; null if there is something left to do.</summary>
    public static int? SaysFinished(StoppedRun stopped, RunConfig config)
    {
        if (stopped.End is not { } end) return null;
        if (end.Diverged is { } where)
        {
            Console.Error.WriteLine($"feedback: the run in {stopped.Folder} diverged at {where}, and would again. A new run with a lower learning rate usually helps");
            return Outcome.Diverged;
        }

        if (config.Training.Epochs != stopped.Config.Training.Epochs) return null;
        Console.WriteLine($"the run in {stopped.Folder} has finished: {end.Epochs} {(end.Epochs == 1 ? "epoch" : "epochs")}. --epochs N goes on to more, if its schedule allows that");
        return 0;
    }
}
