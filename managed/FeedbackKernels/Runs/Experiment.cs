using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Models;
using FeedbackKernels.Reports;
using FeedbackKernels.Storage;
using FeedbackKernels.Training;

namespace FeedbackKernels.Runs;

/// <summary>A run that has ended.</summary>
/// <param name="Config">Its configuration.</param>
/// <param name="Summary">Its results.</param>
/// <param name="Result">All its measurements.</param>
/// <param name="Folder">Where its files are.</param>
/// <param name="Checkpoint">Step of its newest checkpoint; null if it has none.</param>
public sealed record FinishedRun(RunConfig Config, RunSummary Summary, TrainingResult Result, string Folder, long? Checkpoint = null)
{
    /// <summary>The run as a report shows it.</summary>
    internal ReportedRun Reported => new(Summary, Result, Config.Training.Epochs, Config.ToJson());
}

/// <summary>Runs a configuration and writes the folder of the run.</summary>
public static class Experiment
{
    /// <summary>Trains a model and writes its folder. A run that is cancelled writes what it has so far; a run that diverges keeps
    /// the model of the last epoch whose weights were all finite, and its summary says so.</summary>
    /// <param name="config">The run.</param>
    /// <param name="data">Its data.</param>
    /// <param name="backend">Its backend.</param>
    /// <param name="place">Where the files go.</param>
    /// <param name="observer">Follows the run, besides the files; optional.</param>
    /// <param name="group">Processes that train the model together, each of which makes this call; null for this one. The first writes the
    /// folder.</param>
    /// <param name="cancel">Stops the run after the current step.</param>
    /// <exception cref="ArgumentException">The configuration, the data and the backend do not fit together; nothing has been written.</exception>
    /// <exception cref="InvalidDataException">The data are not those that the configuration was run with; nothing has been written.</exception>
    /// <exception cref="IOException">The folder cannot be used, or a file cannot be written.</exception>
    /// <exception cref="InsufficientMemoryException">Host or device have not enough memory for a step; nothing has been written.</exception>
    /// <exception cref="CommunicationException">The processes have other configurations or data than the first, or cannot reach each
    /// other.</exception>
    public static FinishedRun Train(
        RunConfig config, DataSet data, Backend backend, RunPlace? place, ITrainingObserver? observer = null, Communicator? group = null,
        CancellationToken cancel = default)
    {
        ArgumentNullException.ThrowIfNull(config);
        ArgumentNullException.ThrowIfNull(data);
        group ??= Communicator.Alone;
        if (group.IsFirst) ArgumentNullException.ThrowIfNull(place);
        config.Validate();
        config = config.For(data) with { Processes = group.Size };
        RequireEqual(config, group);
        bool started = false;
        try
        {
            using Model model = Build(config, data, backend, config.Training.PartBatch, group);
            using var trainer = new Trainer(model, data, config.TrainingOnThisMachine(), group);
            StateAgreement.Spread(group, trainer, backend);
            if (!group.IsFirst) return RunBesideFirst(config, model, trainer, cancel);
            using Snapshot? snapshot = NewSnapshot(config, trainer, backend);
            // Everything has been checked; files are written from here on.
            started = true;
            return Run(config, model, trainer, snapshot, place!.Claim(), from: null, warnings: [], observer, cancel);
        }
        catch (Exception e) when (!started && e is OutOfMemoryException or CudaException { IsOutOfMemory: true })
        {
            throw new InsufficientMemoryException(
                $"{e.Message.TrimEnd('.')}. A smaller --batch than {config.Training.Batch} needs less, and so does --accumulate, which computes a batch in parts", e);
        }
    }

    /// <summary>Goes on with a run that was stopped, from its newest checkpoint that is whole. It ends as if it had never been stopped.</summary>
    /// <param name="stopped">The run; null in all but the first of several processes.</param>
    /// <param name="config">Its configuration; the number of epochs and what the results do not depend on may differ.</param>
    /// <param name="data">Its data.</param>
    /// <param name="backend">Its backend.</param>
    /// <param name="observer">Follows the run, besides the files; optional.</param>
    /// <param name="group">Processes that train the model together, each of which makes this call; null for this one. Their number may differ
    /// from that of before: the order of images is the same.</param>
    /// <param name="cancel">Stops the run after the current step.</param>
    /// <exception cref="ArgumentException">The configuration, the data and the backend do not fit together, or the steps done would have had
    /// other learning rates; nothing has been written.</exception>
    /// <exception cref="InvalidDataException">The data are not those of the run, or no checkpoint is whole; nothing has been written.</exception>
    /// <exception cref="StoppedRunException">An error stopped the run again.</exception>
    public static FinishedRun Resume(
        StoppedRun? stopped, RunConfig config, DataSet data, Backend backend, ITrainingObserver? observer = null, Communicator? group = null,
        CancellationToken cancel = default)
    {
        ArgumentNullException.ThrowIfNull(config);
        ArgumentNullException.ThrowIfNull(data);
        group ??= Communicator.Alone;
        if (group.IsFirst) ArgumentNullException.ThrowIfNull(stopped);
        config.Validate();
        config = config.For(data) with { Processes = group.Size };
        RequireEqual(config, group);
        try
        {
            using Model model = Build(config, data, backend, config.Training.PartBatch, group);
            using var trainer = new Trainer(model, data, config.TrainingOnThisMachine(), group);
            var warnings = new List<string>();
            StoredCheckpoint? from = stopped?.Load(trainer, config, backend, warnings);
            StateAgreement.Spread(group, trainer, backend);
            if (stopped is null) return RunBesideFirst(config, model, trainer, cancel);
            if (OtherProcesses(stopped.Config, config, model) is { } note) warnings.Add(note);
            using Snapshot? snapshot = NewSnapshot(config, trainer, backend);
            return Run(config, model, trainer, snapshot, stopped.TakeClaim(), from, warnings, observer, cancel);
        }
        catch (Exception e) when (e is OutOfMemoryException or CudaException && stopped?.Checkpoints.All is [.., var newest])
        {
            throw new StoppedRunException(stopped!.Folder, newest.Step, e);
        }
    }

    /// <summary>Checks that all processes train the same.</summary>
    private static void RequireEqual(RunConfig config, Communicator group)
    {
        if (!group.IsShared) return;
        var first = RunConfig.Parse(() => group.Broadcast(config.ToJson()), "process 0");
        string differences = string.Join("; ", config.DifferencesFrom(first));
        // Each process tells the others, so that all of them end with the same error.
        string[] found = group.Gather(differences);
        int other = Array.FindIndex(found, text => text.Length > 0);
        if (other >= 0) throw new CommunicationException($"process {other} has other settings or data than process 0: {found[other]}");
    }

    /// <summary>What is different for a run that goes on on another number of processes; null if nothing is.</summary>
    private static string? OtherProcesses(RunConfig before, RunConfig now, Model model)
    {
        if (before.Processes == now.Processes) return null;
        string norms = model.Norms.Count == 0 || now.Training.SyncBatchNorm ? "sums are added in another order"
            : $"batch norms see {Share(now)} images instead of {Share(before)}";
        return $"the run had {before.Processes} {(before.Processes == 1 ? "process" : "processes")} and goes on with {now.Processes}: the order of images is the same, but {norms}";

        static int Share(RunConfig config) => Communicator.LargestShareOf(config.Training.PartBatch, config.Processes);
    }

    /// <summary>Trains in a process that is not the first: it writes nothing.</summary>
    private static FinishedRun RunBesideFirst(RunConfig config, Model model, Trainer trainer, CancellationToken cancel)
    {
        try
        {
            TrainingResult result = trainer.Run(observer: null, checkpoints: null, cancel);
            return new FinishedRun(config, config.Summarise(model, result), result, Folder: "");
        }
        catch (NonFiniteLossException e) when (e.Result is { } before)
        {
            return new FinishedRun(config, config.Summarise(model, before, e), before, Folder: "");
        }
    }

    private static Snapshot? NewSnapshot(RunConfig config, Trainer trainer, Backend backend) => config.CheckpointEvery.IsOff ? null : new Snapshot(trainer, backend);

    private static FinishedRun Run(
        RunConfig config, Model model, Trainer trainer, Snapshot? snapshot, ClaimedFolder folder, StoredCheckpoint? from,
        IReadOnlyList<string> warnings, ITrainingObserver? observer, CancellationToken cancel)
    {
        string path = folder.Path;
        using RunFolder output = trainer.WithAverage(() => new RunFolder(folder, config, model, trainer, observer is null ? [] : [observer]));
        using CheckpointWriter? checkpoints = CreateWriter();
        foreach (string warning in warnings) output.Observers.OnWarning(warning);
        try
        {
            TrainingResult result = trainer.Run(output.Observers, checkpoints, cancel);
            if (result.Cancelled && trainer.IsBetweenSteps) checkpoints?.SaveNow(trainer.Step);
            RunSummary summary = trainer.WithAverage(() => output.Finish(result, checkpoints));
            return new FinishedRun(config, summary, result, path, checkpoints?.Newest);
        }
        catch (NonFiniteLossException e) when (e.Result is { } before)
        {
            return new FinishedRun(config, output.Finish(before, checkpoints: null, e), before, path, checkpoints?.Newest);
        }
        catch (Exception e) when (checkpoints is not null)
        {
            if (SaveAfter(e, trainer, checkpoints) is { } step) throw new StoppedRunException(path, step, e);
            throw;
        }

        CheckpointWriter? CreateWriter()
        {
            if (snapshot is null) return null;
            var files = new CheckpointFolder(path);
            if (from is not null) files.CleanBehind(from.Step);
            return new CheckpointWriter(trainer, snapshot, model.Backend, files, config, from?.Step, output.Observers);
        }
    }

    /// <summary>Saves what can be saved after an error; returns the step of the newest checkpoint.</summary>
    private static long? SaveAfter(Exception error, Trainer trainer, CheckpointWriter checkpoints)
    {
        // A device that has failed gives nothing back any more.
        if (trainer.IsBetweenSteps && error is not CudaException)
        {
            try
            {
                checkpoints.SaveNow(trainer.Step);
            }
            catch (Exception second) when (second is not OutOfMemoryException)
            {
                // The first error is the one to be reported.
            }
        }

        return checkpoints.Newest;
    }

    /// <summary>Checks a later run as far as that takes little memory and time. Writes nothing.</summary>
    /// <param name="config">Settings of the run.</param>
    /// <param name="data">Its data.</param>
    /// <param name="backend">Where it will train.</param>
    /// <exception cref="ArgumentException">The configuration, the data and the backend do not fit together.</exception>
    /// <exception cref="InvalidDataException">The data are not those that the configuration was run with.</exception>
    public static void Check(RunConfig config, DataSet data, Backend backend)
    {
        ArgumentNullException.ThrowIfNull(config);
        ArgumentNullException.ThrowIfNull(data);
        config.Validate();
        config = config.For(data);
        // The model sees no image: memory for two is enough.
        int batch = Math.Min(2, config.Training.PartBatch);
        using Model model = Build(config, data, backend, batch);
        new Trainer(model, data, config.Training with { Batch = batch, Accumulate = 1 }).Dispose();
        if (config.Training.Batch > data.Train.Count)
            throw new ArgumentException($"a batch of {config.Training.Batch} out of {data.Train.Count} training images", nameof(config));
    }

    /// <summary>Builds the model of a run.</summary>
    /// <param name="config">The run.</param>
    /// <param name="data">Its data.</param>
    /// <param name="backend">Its backend.</param>
    /// <param name="batch">Images of the largest batch of all processes.</param>
    /// <param name="group">Processes that divide it; null for this one.</param>
    internal static Model Build(RunConfig config, DataSet data, Backend backend, int batch, Communicator? group = null) => new(
        backend, config.Describe(config.InputOf(data.Train), data.Train.Classes), config.Rules, Communicator.LargestShareOf(batch, group?.Size ?? 1),
        config.Training.Seed, batch, config.Training.MirrorSplit ? group : null);
}
