using FeedbackKernels.Interop;
using FeedbackKernels.Storage;
using FeedbackKernels.Training;

namespace FeedbackKernels.Runs;

/// <summary>A run that was stopped, claimed by this process so that it can go on.</summary>
public sealed class StoppedRun : IDisposable
{
    // More differences than that are another experiment, not a slip.
    private const int MostDifferences = 4;

    private readonly string _folder;
    private ClaimedFolder? _claim;

    private StoppedRun(ClaimedFolder claim, RunConfig config)
    {
        (_claim, _folder, Config) = (claim, claim.Path, config);
        Checkpoints = new CheckpointFolder(_folder);
    }

    /// <summary>Its configuration.</summary>
    public RunConfig Config { get; }

    /// <summary>The folder, as an absolute path.</summary>
    public string Folder => _folder;

    /// <summary>How a finished run ended; null if the run has not finished.</summary>
    public RunEnd? End => RunEnd.Read(Path.Combine(_folder, RunFiles.Summary), Config.Training.Epochs);

    /// <summary>Its checkpoints.</summary>
    internal CheckpointFolder Checkpoints { get; }

    /// <summary>Whether a folder holds a run, in whatever state.</summary>
    /// <param name="folder">The folder.</param>
    public static bool IsIn(string folder)
    {
        ArgumentNullException.ThrowIfNull(folder);
        return File.Exists(Path.Combine(folder, RunFiles.Config));
    }

    /// <summary>Claims the folder of a run and reads its configuration.</summary>
    /// <param name="folder">Folder of the run.</param>
    /// <exception cref="IOException">The folder or its configuration does not exist, or another process trains in it.</exception>
    /// <exception cref="InvalidDataException">The configuration is damaged.</exception>
    public static StoppedRun Open(string folder)
    {
        if (!Directory.Exists(folder)) throw new DirectoryNotFoundException($"directory '{folder}' does not exist");
        // Claiming a folder writes a file, so not in one that is none of a run.
        if (!IsIn(folder)) throw new FileNotFoundException($"file '{Path.Combine(folder, RunFiles.Config)}' does not exist{StoredRun.RunsIn(folder)}");
        ClaimedFolder claim = ClaimedFolder.Take(folder);
        try
        {
            return new StoppedRun(claim, RunConfig.Read(Path.Combine(claim.Path, RunFiles.Config)));
        }
        catch
        {
            claim.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _claim?.Dispose();

    /// <summary>Checks that the run is of a configuration.</summary>
    /// <exception cref="IOException">It is not; the message names the folder and the differences.</exception>
    internal void RequireSame(RunConfig config)
    {
        IReadOnlyList<string> differences = config.DifferencesFrom(Config);
        if (differences.Count == 0) return;
        string others = differences.Count > MostDifferences ? $"; and {differences.Count - MostDifferences} more" : "";
        throw new IOException(
            $"folder '{_folder}' holds a run of another configuration: {string.Join("; ", differences.Take(MostDifferences))}{others}; give another folder with --out");
    }

    /// <summary>Gives the claim to the caller.</summary>
    internal ClaimedFolder TakeClaim()
    {
        ClaimedFolder claim = _claim ?? throw new InvalidOperationException("the run goes on already");
        _claim = null;
        return claim;
    }

    /// <summary>Loads the newest checkpoint that is whole into a trainer. Writes nothing.</summary>
    /// <param name="trainer">A new trainer of the configuration that the run goes on with.</param>
    /// <param name="config">That configuration.</param>
    /// <param name="backend">Where the trainer's tensors are.</param>
    /// <param name="warnings">Gets which checkpoints are damaged, and what else a person should know.</param>
    /// <returns>The checkpoint; null if there is none, because the run was stopped before its first.</returns>
    /// <exception cref="InvalidDataException">No checkpoint is whole, or they belong to another configuration.</exception>
    /// <exception cref="ArgumentException">The steps done would have had other learning rates with the new number of epochs.</exception>
    internal StoredCheckpoint? Load(Trainer trainer, RunConfig config, Backend backend, List<string> warnings)
    {
        var damaged = new List<string>();
        if (Checkpoints.FindNewest(damaged) is not { } newest)
        {
            warnings.Add("the run was stopped before its first checkpoint; it starts from the beginning");
            return null;
        }

        foreach (string what in damaged) warnings.Add($"{what}. The checkpoint before it is taken, of step {newest.Step}");
        (int epochs, string? warning) = CheckpointNotes.Check(newest.Path, config, backend);
        Checkpoint.Load(trainer, backend, newest.Path);
        RequireEpochs(trainer, config, epochs);
        if (warning is not null) warnings.Add(warning);
        return newest;
    }

    private static void RequireEpochs(Trainer trainer, RunConfig config, int before)
    {
        int wanted = config.Training.Epochs, begun = (trainer.Step + trainer.StepsPerEpoch - 1) / trainer.StepsPerEpoch;
        if (wanted == before) return;
        if (wanted < begun) throw new ArgumentException($"epochs: {wanted}, but the run is in epoch {begun}");
        if (config.Training.Schedule.RefusalOfEpochs(trainer.Step, trainer.StepsPerEpoch, before, wanted) is { } refusal) throw new ArgumentException($"epochs: {refusal}");
    }
}

/// <summary>How a run ended.</summary>
/// <param name="Epochs">Epochs done.</param>
/// <param name="Diverged">Where it diverged; null if it did not.</param>
public sealed record RunEnd(int Epochs, string? Diverged)
{
    /// <summary>Reads the summary of a run; null if there is none, or if it says that the run was stopped before its end.</summary>
    /// <exception cref="InvalidDataException">The file is damaged.</exception>
    internal static RunEnd? Read(string path, int epochs)
    {
        if (!File.Exists(path)) return null;
        try
        {
            var summary = System.Text.Json.JsonSerializer.Deserialize(File.ReadAllText(path), RunJson.Default.RunSummary);
            return summary is null || summary.Cancelled || (summary.Diverged is null && summary.Epochs < epochs) ? null : new RunEnd(summary.Epochs, summary.Diverged);
        }
        catch (System.Text.Json.JsonException e)
        {
            throw new InvalidDataException($"{path}: not the summary of a run: {e.Message}", e);
        }
    }
}
