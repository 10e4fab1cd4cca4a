using FeedbackKernels.Data;
using FeedbackKernels.Models;
using FeedbackKernels.Storage;

namespace FeedbackKernels.Runs;

/// <summary>The folder of a finished run: its configuration and its model.</summary>
public sealed class StoredRun : IDisposable
{
    private StoredRun(RunConfig config, StoredModel model, Preprocessing preprocessing) =>
        (Config, Model, Preprocessing) = (config, model, preprocessing);

    /// <summary>The configuration.</summary>
    public RunConfig Config { get; }

    /// <summary>The model's file.</summary>
    public StoredModel Model { get; }

    /// <summary>How images are prepared for the model.</summary>
    public Preprocessing Preprocessing { get; }

    /// <summary>Reads a folder.</summary>
    /// <exception cref="IOException">The folder or one of its files does not exist.</exception>
    /// <exception cref="InvalidDataException">A file is damaged, or the model belongs to another configuration; the message names the
    /// file.</exception>
    public static StoredRun Open(string folder)
    {
        if (!Directory.Exists(folder)) throw new DirectoryNotFoundException($"directory '{folder}' does not exist");
        string configFile = Path.Combine(folder, RunFiles.Config), modelFile = Path.Combine(folder, RunFiles.Model);
        if (!File.Exists(configFile)) throw new FileNotFoundException($"file '{configFile}' does not exist{RunsIn(folder)}", configFile);
        RunConfig config = RunConfig.Read(configFile);
        if (!File.Exists(modelFile))
            throw new FileNotFoundException($"file '{modelFile}' does not exist: the run has not finished an epoch", modelFile);
        string hash = RunConfig.HashOf(configFile);
        StoredModel model = StoredModel.Open(modelFile);
        try
        {
            if (model.Preprocessing is null || model.Configuration is null)
                throw new InvalidDataException($"{modelFile}: the metadata lack configuration or preprocessing; an older version of this program wrote the file, train the model again");
            if (model.Configuration != hash)
                throw new InvalidDataException($"{modelFile}: written by a run of another configuration than {configFile} (hash {model.Configuration}, wanted {hash})");
            return new StoredRun(config, model, model.Preprocessing);
        }
        catch
        {
            model.Dispose();
            throw;
        }
    }

    /// <summary>Opens the test images of the run, or others, and checks that the model can take them. Training images are not read.</summary>
    /// <param name="source">The source; null for that of the run, whose data must not have changed.</param>
    /// <param name="limit">Use only the first N test images; null for the limit of the run.</param>
    /// <exception cref="IOException">A file or folder does not exist.</exception>
    /// <exception cref="InvalidDataException">The images differ from the run's, or do not fit the model; the message says how.</exception>
    public TestSet OpenTest(string? source = null, int? limit = null)
    {
        if (source is null) RequireData(Config);
        TestSet test = DataSet.OpenTest(source ?? Config.Data, Config.Training.Seed, limit ?? Config.LimitTest, Preprocessing.ClassNames.Count);
        if (source is null) Config.RequireSameData(test.Name, test.Fingerprint);
        Preprocessing.RequireFit(test.Images, test.Name);
        return test;
    }

    /// <summary>Checks that a configuration names data.</summary>
    /// <exception cref="InvalidDataException">It is that of a model that was imported without them.</exception>
    public static void RequireData(RunConfig config)
    {
        ArgumentNullException.ThrowIfNull(config);
        if (config.Data == RunConfig.NoData) throw new InvalidDataException("the model was imported without data; --data names test images");
    }

    // The runs of a comparison are in subfolders.
    internal static string RunsIn(string folder)
    {
        string[] runs = [.. Directory.EnumerateDirectories(folder).Where(f => File.Exists(Path.Combine(f, RunFiles.Config))).Select(f => Path.GetFileName(f)).Order()];
        return runs.Length == 0 ? "" : $"; there are runs in {string.Join(", ", runs)}";
    }

    /// <inheritdoc/>
    public void Dispose() => Model.Dispose();

    /// <summary>Describes the model.</summary>
    public ModelSpec Describe() => Config.Describe(Preprocessing.Input, Preprocessing.ClassNames.Count);
}
