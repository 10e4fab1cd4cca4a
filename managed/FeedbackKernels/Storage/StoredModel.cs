using System.Globalization;
using System.Text.Json;
using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Models;

namespace FeedbackKernels.Storage;

/// <summary>
/// A model's file: a safetensors file with weights [R][S][C][K], biases, batch norms with their running statistics, and the weights
/// that the learning rule keeps, <c>*.feedback</c> [R][S][K][C]. The metadata hold the preprocessing of the images.
/// </summary>
public sealed class StoredModel : IDisposable
{
    private const string FormatKey = "format", ModelKey = "model", LayoutKey = "weights", ConfigurationKey = "configuration";
    private const string InputKey = "input", MeansKey = "mean", DeviationsKey = "std", ClassesKey = "classes", ResizeKey = "resize";

    private readonly SafeTensorsFile _file;

    private StoredModel(string path, SafeTensorsFile file, Preprocessing? preprocessing) =>
        (Path, _file, Preprocessing, Configuration) = (path, file, preprocessing, file.Metadata.GetValueOrDefault(ConfigurationKey));

    /// <summary>The file.</summary>
    public string Path { get; }

    /// <summary>What images go through; null where the file does not say.</summary>
    public Preprocessing? Preprocessing { get; }

    /// <summary>What tells the configuration of the model's run from others; null where the file does not say.</summary>
    public string? Configuration { get; }

    /// <summary>Writes a model. The file appears whole or not at all.</summary>
    /// <param name="model">The model.</param>
    /// <param name="path">The file.</param>
    /// <param name="preprocessing">What the model's images go through; null where the caller keeps it elsewhere.</param>
    /// <param name="configuration">Tells this run's configuration from others; optional.</param>
    /// <exception cref="IOException">The file cannot be written.</exception>
    public static void Save(Model model, string path, Preprocessing? preprocessing = null, string? configuration = null)
    {
        ArgumentNullException.ThrowIfNull(model);
        var tensors = model.TensorsAndFeedback().Select(t => (t.Name, t.Sizes, model.Backend.Download(t.Buffer))).ToList();
        SafeTensors.Write(path, tensors, Metadata(model.Spec, preprocessing, configuration));
    }

    /// <summary>Loads the tensors of a model, feedback weights excepted, from a file: what evaluation needs.</summary>
    /// <param name="model">The model, overwritten.</param>
    /// <param name="path">The file.</param>
    /// <exception cref="IOException">The file does not exist.</exception>
    /// <exception cref="InvalidDataException">A tensor is missing or has other sizes; nothing is loaded then.</exception>
    public static void Load(Model model, string path)
    {
        using StoredModel stored = Open(path);
        stored.LoadInto(model);
    }

    /// <summary>Opens a file.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="IOException">It does not exist.</exception>
    /// <exception cref="InvalidDataException">It is not a model's file; the message says what was found.</exception>
    public static StoredModel Open(string path)
    {
        SafeTensorsFile file = SafeTensorsFile.Open(path);
        try
        {
            return new StoredModel(path, file, ReadPreprocessing(file.Metadata));
        }
        catch (Exception e) when (e is JsonException or FormatException or ArgumentException or OverflowException)
        {
            file.Dispose();
            throw new InvalidDataException($"{path}: the preprocessing in the metadata cannot be read: {e.Message}", e);
        }
    }

    /// <summary>Loads the tensors of a model, feedback weights excepted. Others in the file may be of any type.</summary>
    /// <param name="model">The model, overwritten.</param>
    /// <exception cref="InvalidDataException">A tensor is missing, has other sizes or is not F32; nothing is loaded then.</exception>
    public void LoadInto(Model model)
    {
        ArgumentNullException.ThrowIfNull(model);
        var pairs = new List<(DeviceBuffer Buffer, float[] Values)>();
        foreach ((string name, IReadOnlyList<int> sizes, DeviceBuffer buffer) in model.Tensors())
        {
            if (!_file.Tensors.TryGetValue(name, out TensorEntry? entry))
                throw new InvalidDataException($"{Path}: tensor '{name}' is missing, {model.Spec.Name} has it");
            if (!entry.Sizes.SequenceEqual(sizes.Select(size => (long)size)))
                throw new InvalidDataException($"{Path}: tensor '{name}' is {string.Join("x", entry.Sizes)}, {model.Spec.Name} has {string.Join("x", sizes)}");
            pairs.Add((buffer, _file.Load(name).Values));
        }

        foreach ((DeviceBuffer buffer, float[] values) in pairs) model.Backend.Upload<float>(values, buffer);
        model.RefreshCopies();
    }

    /// <inheritdoc/>
    public void Dispose() => _file.Dispose();

    private static Dictionary<string, string> Metadata(ModelSpec spec, Preprocessing? preprocessing, string? configuration)
    {
        var metadata = new Dictionary<string, string>
        {
            [FormatKey] = "feedback-kernels",
            [ModelKey] = spec.Name,
            [LayoutKey] = "[R][S][C][K]; feedback: [R][S][K][C]",
        };
        if (configuration is not null) metadata[ConfigurationKey] = configuration;
        if (preprocessing is null) return metadata;
        (MapShape input, IReadOnlyList<double> means, IReadOnlyList<double> deviations, IReadOnlyList<string> classes, int resize) = preprocessing;
        metadata[InputKey] = string.Create(CultureInfo.InvariantCulture, $"{input.H}x{input.W}x{input.C}");
        metadata[MeansKey] = JsonSerializer.Serialize([.. means], StorageJson.Default.DoubleArray);
        metadata[DeviationsKey] = JsonSerializer.Serialize([.. deviations], StorageJson.Default.DoubleArray);
        metadata[ClassesKey] = JsonSerializer.Serialize([.. classes], StorageJson.Default.StringArray);
        if (resize > 0) metadata[ResizeKey] = resize.ToString(CultureInfo.InvariantCulture);
        return metadata;
    }

    private static Preprocessing? ReadPreprocessing(IReadOnlyDictionary<string, string> metadata)
    {
        if (!metadata.TryGetValue(InputKey, out string? input)) return null;
        int[] sizes = [.. input.Split('x').Select(size => int.Parse(size, NumberStyles.None, CultureInfo.InvariantCulture))];
        if (sizes.Length != 3) throw new FormatException($"input '{input}', wanted ROWSxCOLUMNSxCHANNELS");
        double[] means = ReadArray(MeansKey, StorageJson.Default.DoubleArray), deviations = ReadArray(DeviationsKey, StorageJson.Default.DoubleArray);
        string[] classes = ReadArray(ClassesKey, StorageJson.Default.StringArray);
        if (means.Length != sizes[2] || deviations.Length != sizes[2])
            throw new FormatException($"{means.Length} means and {deviations.Length} deviations, wanted {sizes[2]} of each for input {input}");
        int resize = metadata.TryGetValue(ResizeKey, out string? length) ? int.Parse(length, NumberStyles.None, CultureInfo.InvariantCulture) : 0;
        if (resize > 0 && (sizes[0] != sizes[1] || resize < sizes[0] || resize > ImageOptions.MostSize))
            throw new FormatException($"resize {resize} for input {input}, wanted a square input and {sizes[0]} to {ImageOptions.MostSize}");
        var preprocessing = new Preprocessing(new MapShape(sizes[0], sizes[1], sizes[2]), means, deviations, classes, resize);
        _ = preprocessing.CreateNormalisation();
        return preprocessing;

        T[] ReadArray<T>(string key, System.Text.Json.Serialization.Metadata.JsonTypeInfo<T[]> type) =>
            metadata.TryGetValue(key, out string? text) && JsonSerializer.Deserialize(text, type) is { } values
                ? values
                : throw new FormatException($"'{key}' is missing");
    }
}

/// <summary>JSON of values in the metadata of a model's file.</summary>
[System.Text.Json.Serialization.JsonSerializable(typeof(double[]))]
[System.Text.Json.Serialization.JsonSerializable(typeof(string[]))]
internal sealed partial class StorageJson : System.Text.Json.Serialization.JsonSerializerContext;
