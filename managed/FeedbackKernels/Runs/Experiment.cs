using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Models;
using FeedbackKernels.Reports;
using FeedbackKernels.Training;

namespace FeedbackKernels.Runs;

/// <summary>A run that has ended.</summary>
/// <param name="Config">Its configuration.</param>
/// <param name="Summary">Its results.</param>
/// <param name="Result">All its measurements.</param>
/// <param name="Folder">Where its files are.</param>
public sealed record FinishedRun(RunConfig Config, RunSummary Summary, TrainingResult Result, string Folder)
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
    /// <param name="cancel">Stops the run after the current step.</param>
    /// <exception cref="ArgumentException">The configuration, the data and the backend do not fit together; nothing has been written.</exception>
    /// <exception cref="InvalidDataException">The data are not those that the configuration was run with; nothing has been written.</exception>
    /// <exception cref="IOException">The folder cannot be used, or a file cannot be written.</exception>
    public static FinishedRun Train(
        RunConfig config, DataSet data, Backend backend, RunPlace place, ITrainingObserver? observer = null, CancellationToken cancel = default)
    {
        ArgumentNullException.ThrowIfNull(config);
        ArgumentNullException.ThrowIfNull(data);
        config.Validate();
        config = config.For(data);
        using Model model = Build(config, data, backend, config.Training.Batch);
        using var trainer = new Trainer(model, data, config.TrainingOnThisMachine());
        // Everything has been checked; files are written from here on.
        using var output = new RunFolder(place, config, model, trainer.Preprocessing, observer is null ? [] : [observer]);
        try
        {
            TrainingResult result = trainer.Run(output.Observers, cancel);
            return new FinishedRun(config, output.Finish(result), result, output.Path);
        }
        catch (NonFiniteLossException e) when (e.Result is { } before)
        {
            return new FinishedRun(config, output.Finish(before, e), before, output.Path);
        }
    }

    /// <summary>Checks a later run as far as that takes little memory and time. Writes nothing.</summary>
    /// <exception cref="ArgumentException">The configuration, the data and the backend do not fit together.</exception>
    /// <exception cref="InvalidDataException">The data are not those that the configuration was run with.</exception>
    public static void Check(RunConfig config, DataSet data, Backend backend)
    {
        ArgumentNullException.ThrowIfNull(config);
        ArgumentNullException.ThrowIfNull(data);
        config.Validate();
        config = config.For(data);
        // The model sees no image: memory for two is enough.
        int batch = Math.Min(2, config.Training.Batch);
        using Model model = Build(config, data, backend, batch);
        new Trainer(model, data, config.Training with { Batch = batch }).Dispose();
        if (config.Training.Batch > data.Train.Count)
            throw new ArgumentException($"a batch of {config.Training.Batch} out of {data.Train.Count} training images", nameof(config));
    }

    private static Model Build(RunConfig config, DataSet data, Backend backend, int batch) =>
        new(backend, config.Describe(config.InputOf(data.Train), data.Train.Classes), config.Rules, batch, config.Training.Seed);
}
