using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Models;
using FeedbackKernels.Training;

namespace FeedbackKernels.Runs;

/// <summary>A run that has ended.</summary>
/// <param name="Config">What was asked for.</param>
/// <param name="Summary">What it came to.</param>
/// <param name="Result">All its measurements.</param>
/// <param name="Folder">Where its files are.</param>
public sealed record FinishedRun(RunConfig Config, RunSummary Summary, TrainingResult Result, string Folder);

/// <summary>Carries out runs: from a configuration to a folder.</summary>
public static class Experiment
{
    /// <summary>Trains a model and writes its folder. A run that is cancelled writes what there is; one that diverges keeps its last
    /// epoch whose weights are all finite, and says so in its summary.</summary>
    /// <param name="config">The run.</param>
    /// <param name="data">Its data, already open.</param>
    /// <param name="backend">Its backend, already made.</param>
    /// <param name="place">Where the files go.</param>
    /// <param name="observer">Is told how it goes; optional.</param>
    /// <param name="cancel">Stops the run after the step in hand.</param>
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
        using var trainer = new Trainer(model, data, config.Training);
        // Everything has been checked: from here on something is written.
        using var output = new RunFolder(place, config, model, trainer.Preprocessing, observer);
        try
        {
            TrainingResult result = trainer.Run(output, cancel);
            return new FinishedRun(config, output.Finish(result), result, output.Path);
        }
        catch (NonFiniteLossException e) when (e.Result is { } before)
        {
            return new FinishedRun(config, output.Finish(before, e), before, output.Path);
        }
    }

    /// <summary>Checks a run that comes later, as far as that takes little memory and time, and writes nothing.</summary>
    /// <exception cref="ArgumentException">The configuration, the data and the backend do not fit together.</exception>
    /// <exception cref="InvalidDataException">The data are not those that the configuration was run with.</exception>
    public static void Check(RunConfig config, DataSet data, Backend backend)
    {
        ArgumentNullException.ThrowIfNull(config);
        ArgumentNullException.ThrowIfNull(data);
        config.Validate();
        config = config.For(data);
        // No image is shown to this model: two are as good as a batch.
        int batch = Math.Min(2, config.Training.Batch);
        using Model model = Build(config, data, backend, batch);
        new Trainer(model, data, config.Training with { Batch = batch }).Dispose();
        if (config.Training.Batch > data.Train.Count)
            throw new ArgumentException($"a batch of {config.Training.Batch} out of {data.Train.Count} training images", nameof(config));
    }

    private static Model Build(RunConfig config, DataSet data, Backend backend, int batch) =>
        new(backend, config.Describe(data.Train.Shape, data.Train.Classes), config.Rules, batch, config.Training.Seed);
}
