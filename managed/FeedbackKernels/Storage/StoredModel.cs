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
    private const string FormatKey = "format", ConfigurationKey = "configuration", DirectSuffix = ".direct_feedback";
    private const string Format = "feedback-kernels", Layout = "[R][S][C][K]; feedback: [R][S][K][C]";

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
        Write(path, ModelContent.Of(model, preprocessing), configuration);
    }

    /// <summary>Loads the tensors of a model, feedback weights excepted, from a file: what evaluation needs.</summary>
    /// <exception cref="IOException">The file does not exist.</exception>
    /// <exception cref="InvalidDataException">A tensor is missing or has other sizes; nothing is loaded then.</exception>
    public static void Load(Model model, string path)
    {
        using StoredModel stored = Open(path);
        stored.LoadInto(model);
    }

    /// <summary>Opens a file.</summary>
    /// <exception cref="IOException">It does not exist.</exception>
    /// <exception cref="InvalidDataException">It is not a model's file; the message says what was found.</exception>
    public static StoredModel Open(string path)
    {
        SafeTensorsFile file = SafeTensorsFile.Open(path);
        try
        {
            return new StoredModel(path, file, ModelMetadata.ReadPreprocessing(file.Metadata, path));
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>Loads the tensors of a model, feedback weights excepted. Others in the file may be of any type.</summary>
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

    /// <summary>Writes a model whatever file it comes from.</summary>
    /// <param name="path">The file.</param>
    /// <param name="content">The model.</param>
    /// <param name="configuration">Tells this run's configuration from others; optional.</param>
    /// <exception cref="IOException">The file cannot be written.</exception>
    internal static void Write(string path, ModelContent content, string? configuration = null)
    {
        var metadata = new Dictionary<string, string> { [FormatKey] = Format, [ModelMetadata.Model] = content.Spec.Name, [ModelMetadata.Layout] = Layout };
        if (configuration is not null) metadata[ConfigurationKey] = configuration;
        ModelMetadata.Add(metadata, content);
        if (content.BatchesTracked.Count > 0) metadata[ModelMetadata.BatchesTracked] = ModelMetadata.Text(content.BatchesTracked);
        TensorSource[] tensors = [.. content.Tensors.Select(t => new TensorSource(t.Name, t.Sizes, () => t.Load()))];
        AtomicFile.Write(path, file => SafeTensors.Write(file, tensors, metadata));
    }

    /// <summary>Reads a model with the weights that its rule keeps. Names, shapes and types are checked at once, elements are read when they are
    /// asked for.</summary>
    /// <param name="spec">The model.</param>
    /// <exception cref="InvalidDataException">The file lacks a tensor, has another one, or one of another shape or type.</exception>
    internal ModelContent Read(ModelSpec spec) => Read(_file, Path, spec) with { Preprocessing = Preprocessing };

    /// <inheritdoc cref="Read(ModelSpec)"/>
    /// <param name="file">The file; stays open as long as tensors are loaded.</param>
    /// <param name="path">Its path.</param>
    /// <param name="spec">The model.</param>
    internal static ModelContent Read(SafeTensorsFile file, string path, ModelSpec spec)
    {
        var check = new TensorCheck(file, path);
        var tensors = new List<ModelTensor>();
        foreach ((string name, IReadOnlyList<int> sizes) in ModelContent.Needed(spec))
        {
            check.Need(name, sizes);
            tensors.Add(new ModelTensor(name, sizes, () => file.LoadFloats(name)));
        }

        foreach (WeightedLayer layer in spec.Layers())
        {
            if (check.Take(layer.Feedback, layer.FeedbackSizes)) tensors.Add(new ModelTensor(layer.Feedback, layer.FeedbackSizes, () => file.LoadFloats(layer.Feedback)));
            string direct = layer.Name + DirectSuffix;
            if (!file.Tensors.TryGetValue(direct, out TensorEntry? entry)) continue;
            // How many elements of the layer's output it reaches is a setting of the rule.
            int[] sizes = [spec.Classes, (int)Math.Clamp(entry.Sizes is [.., var reached] ? reached : 0, 0, Array.MaxLength)];
            check.Take(direct, sizes);
            tensors.Add(new ModelTensor(direct, sizes, () => file.LoadFloats(direct)));
        }

        check.Complete(spec);
        return new ModelContent(spec, tensors) { BatchesTracked = ModelMetadata.ReadBatchesTracked(file.Metadata, path) };
    }

    /// <summary>Whether a file has the layout of this class, by its metadata.</summary>
    internal static bool HasLayout(SafeTensorsFile file) => file.Metadata.GetValueOrDefault(ModelMetadata.Layout) == Layout;
}
