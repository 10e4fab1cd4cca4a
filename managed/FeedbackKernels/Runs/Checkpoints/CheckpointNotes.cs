using System.Globalization;
using FeedbackKernels.Interop;
using FeedbackKernels.Storage;

namespace FeedbackKernels.Runs;

/// <summary>What a checkpoint says of its run besides the state.</summary>
internal static class CheckpointNotes
{
    private const string RunKey = "run", EpochsKey = "epochs", BackendKey = "backend";

    /// <summary>The strings for a run.</summary>
    public static Dictionary<string, string> Of(RunConfig config, Backend backend) => new()
    {
        [RunKey] = config.HashOfState(),
        [EpochsKey] = config.Training.Epochs.ToString(CultureInfo.InvariantCulture),
        [BackendKey] = backend.Arithmetic,
    };

    /// <summary>Checks that a run goes on from its own checkpoint.</summary>
    /// <param name="path">The checkpoint.</param>
    /// <param name="config">The run.</param>
    /// <param name="backend">Its backend.</param>
    /// <returns>Epochs that the run had when the checkpoint was written, and a warning if the end will have other bits.</returns>
    /// <exception cref="InvalidDataException">It belongs to another configuration.</exception>
    public static (int Epochs, string? Warning) Check(string path, RunConfig config, Backend backend)
    {
        IReadOnlyDictionary<string, string> notes = Checkpoint.ReadNotes(path);
        if (notes.GetValueOrDefault(RunKey) != config.HashOfState())
            throw new InvalidDataException($"{path}: written by a run of another configuration than {RunFiles.Config}");
        int epochs = int.Parse(notes[EpochsKey], CultureInfo.InvariantCulture);
        string before = notes[BackendKey];
        return (epochs, before == backend.Arithmetic
            ? null
            : $"the run was on {before} and goes on on {backend.Arithmetic}: it ends with other roundings than without the interruption");
    }
}
