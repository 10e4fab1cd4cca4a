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
    /// <summary>Trains a model and writes its folder. A cancelled run writes what there is.</summary>
    /// <param name="config">The run.</param>
    /// <param name="data">Its data, already open.</param>
    /// <param name="backend">Its backend, already made.</param>
    /// <param name="folder">Where the files go.</param>
    /// <param name="observer">Is told how it goes; optional.</param>
    /// <param name="cancel">Stops the run after the step in hand.</param>
    public static FinishedRun Train(
        RunConfig config, DataSet data, Backend backend, string folder, ITrainingObserver? observer = null, CancellationToken cancel = default)
    {
        ArgumentNullException.ThrowIfNull(config);
        ArgumentNullException.ThrowIfNull(data);
        config.Training.Validate();
        using var model = new Model(backend, config.Describe(data.Train), config.Rules, config.Training.Batch, config.Training.Seed);
        var trainer = new Trainer(model, data, config.Training);
        // Everything has been checked: from here on something is written.
        using var output = new RunFolder(folder, config, observer);
        TrainingResult result = trainer.Run(output, cancel);
        return new FinishedRun(config, output.Finish(model, result), result, output.Path);
    }
}
