using FeedbackKernels.Data;
using FeedbackKernels.Models;
using FeedbackKernels.Reports;
using FeedbackKernels.Storage;
using FeedbackKernels.Training;

namespace FeedbackKernels.Runs;

/// <summary>Writes model.safetensors after each epoch, and when a run is stopped within one.</summary>
/// <param name="path">The file.</param>
/// <param name="model">The model that is trained.</param>
/// <param name="preprocessing">How its images are prepared.</param>
/// <param name="configuration">Identifies the configuration of the run.</param>
internal sealed class ModelFile(string path, Model model, Preprocessing preprocessing, string configuration) : IRunSink
{
    /// <inheritdoc/>
    public void OnStart(TrainingResult measured, int step)
    {
        if (step == 0) return;
        // A run that was killed right after its checkpoint may lack the model of the epoch; one with more epochs has another configuration.
        bool ended = measured.Epochs is [.., var last] && last.Step == step, exists = File.Exists(path);
        if (ended || (exists ? !IsOfThisRun() : measured.Epochs.Count > 0)) Save();
    }

    /// <inheritdoc/>
    // An epoch is reported while all weights are finite, so a later divergence leaves this model in place.
    public void OnEpoch(EpochReport report) => Save();

    /// <inheritdoc/>
    public void OnEnd(RunSummary summary, TrainingResult result)
    {
        if (result.Cancelled && model.FirstTensorNotFinite() is null) Save();
    }

    private bool IsOfThisRun()
    {
        try
        {
            using StoredModel stored = StoredModel.Open(path);
            return stored.Configuration == configuration;
        }
        catch (InvalidDataException)
        {
            return false;
        }
    }

    private void Save() => StoredModel.Save(model, path, preprocessing, configuration);
}
