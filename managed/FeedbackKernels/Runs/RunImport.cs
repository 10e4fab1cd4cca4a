using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;
using FeedbackKernels.Storage;

namespace FeedbackKernels.Runs;

/// <summary>What is known of weights besides their file. What is null is as the file says, or as usual.</summary>
public sealed record ImportOptions
{
    /// <summary>Name of the model. Needed for files that this library did not write.</summary>
    public string? Model { get; init; }

    /// <summary>Order of batch norm and ReLU; usually that of torchvision, conv-bn-relu.</summary>
    public NormOrder? NormOrder { get; init; }

    /// <summary>Rows and columns of an image; usually those of the model.</summary>
    public int? Size { get; init; }

    /// <summary>Length to which the shorter side of an image is resized before its centre is taken.</summary>
    public int? Resize { get; init; }

    /// <summary>Mean of each channel, of pixels from 0 to 1; usually those of ImageNet for a model of ImageNet, with colours.</summary>
    public IReadOnlyList<double>? Means { get; init; }

    /// <summary>What each channel is divided by; likewise.</summary>
    public IReadOnlyList<double>? Deviations { get; init; }

    /// <summary>Names of the classes; usually those of <see cref="Data"/>, or numbers.</summary>
    public IReadOnlyList<string>? ClassNames { get; init; }

    /// <summary>The data of the run, whose test images evaluation uses.</summary>
    public string? Data { get; init; }
}

/// <summary>Weights in a safetensors file that become the folder of a run: those that <see cref="RunExport"/> wrote, a run's model.safetensors, or a
/// state dictionary of PyTorch. All is checked when the file is opened.</summary>
public sealed class RunImport : IDisposable
{
    // The constants of torchvision's models.
    private static readonly double[] ImageNetMeans = [0.485, 0.456, 0.406], ImageNetDeviations = [0.229, 0.224, 0.225];

    private const int GreySize = 28;

    private readonly SafeTensorsFile _file;
    private readonly ModelContent _content;

    private RunImport(SafeTensorsFile file, RunConfig config, ModelContent content) => (_file, Config, _content) = (file, config, content);

    /// <summary>The configuration of the run.</summary>
    public RunConfig Config { get; }

    /// <summary>The model.</summary>
    public ModelSpec Spec => _content.Spec;

    /// <summary>How images are prepared for the model.</summary>
    public Preprocessing Preprocessing => _content.Preprocessing!;

    /// <summary>Number of layers whose feedback weights are in the file.</summary>
    public int FeedbackLayers => _content.Feedback.Count();

    /// <summary>Opens a file and checks it; writes nothing.</summary>
    /// <param name="path">The file.</param>
    /// <param name="options">What the file does not say; null for what follows from the file.</param>
    /// <exception cref="IOException">The file, or the data, cannot be read.</exception>
    /// <exception cref="InvalidDataException">It is no safetensors file, or it does not hold the weights of the model: the message names what is missing,
    /// unexpected, of another shape or of another type.</exception>
    /// <exception cref="ArgumentException">An option is out of range; the message says which.</exception>
    public static RunImport Open(string path, ImportOptions? options = null)
    {
        options ??= new ImportOptions();
        SafeTensorsFile file = OpenFile(path);
        try
        {
            bool own = StoredModel.HasLayout(file);
            RunConfig config = ConfigOf(file, path, options, own);
            Preprocessing preprocessing = PreprocessingOf(file, path, config, options, own);
            ModelSpec spec = config.Describe(preprocessing.Input, preprocessing.ClassNames.Count);
            ModelContent content = own ? StoredModel.Read(file, path, spec) : TorchFile.Read(file, path, spec);
            return new RunImport(file, config, content with { Preprocessing = preprocessing });
        }
        catch (Exception e)
        {
            file.Dispose();
            // Without options it is the file that asks for the impossible.
            if (e is ArgumentException or OverflowException && options == new ImportOptions()) throw new InvalidDataException($"{path}: {e.Message}", e);
            throw;
        }
    }

    /// <summary>Writes config.json and model.safetensors.</summary>
    /// <param name="place">Where the files go.</param>
    /// <returns>The folder.</returns>
    /// <exception cref="IOException">The folder cannot be used, or a file cannot be written.</exception>
    public string Write(RunPlace place)
    {
        ArgumentNullException.ThrowIfNull(place);
        using ClaimedFolder folder = place.Claim();
        Config.Write(Path.Combine(folder.Path, RunFiles.Config));
        StoredModel.Write(Path.Combine(folder.Path, RunFiles.Model), _content, Config.Hash());
        return folder.Path;
    }

    /// <inheritdoc/>
    public void Dispose() => _file.Dispose();

    private static SafeTensorsFile OpenFile(string path)
    {
        try
        {
            return SafeTensorsFile.Open(path);
        }
        catch (InvalidDataException e) when (FoundInstead.IsZip(path))
        {
            throw new InvalidDataException($"{path}: found a zip archive, as torch.save writes it; in Python, safetensors.torch.save_file(model.state_dict(), FILE) writes what import takes", e);
        }
    }

    private static RunConfig ConfigOf(SafeTensorsFile file, string path, ImportOptions options, bool own)
    {
        RunConfig config = file.Metadata.TryGetValue(ModelMetadata.Settings, out string? settings)
            ? RunConfig.Parse(() => settings, path)
            : WithoutSettings(file, path, options, own);
        config = config with { Model = options.Model ?? config.Model, NormOrder = options.NormOrder ?? config.NormOrder };
        if (options.Data is { } data) config = config with { Data = DataSet.Absolute(data), DataFingerprint = null };
        config.Validate();
        return config;
    }

    /// <summary>The configuration of weights that were trained elsewhere.</summary>
    private static RunConfig WithoutSettings(SafeTensorsFile file, string path, ImportOptions options, bool own)
    {
        string? model = options.Model ?? file.Metadata.GetValueOrDefault(ModelMetadata.Model);
        if (model is null) throw new InvalidDataException($"{path}: the file does not say which model it is; --model names it");
        if (ModelCatalog.Find(model) is not { } entry)
            throw new InvalidDataException($"{path}: no model '{model}'; there are {string.Join(", ", ModelCatalog.Names)}; --model names one");
        var config = new RunConfig { Model = model, Data = RunConfig.NoData };
        return entry.HasHiddenUnits && OutputsOf(file, Layers(config)[0], own) is { } hidden ? config with { Hidden = hidden } : config;
    }

    private static Preprocessing PreprocessingOf(SafeTensorsFile file, string path, RunConfig config, ImportOptions options, bool own)
    {
        Preprocessing preprocessing = ModelMetadata.ReadPreprocessing(file.Metadata, path) ?? UsualPreprocessing(file, path, config, options, own);
        preprocessing = preprocessing with
        {
            Means = options.Means ?? preprocessing.Means,
            Deviations = options.Deviations ?? preprocessing.Deviations,
            ClassNames = options.ClassNames ?? NamesOf(options, preprocessing) ?? preprocessing.ClassNames,
        };
        preprocessing = Resized(preprocessing, options);
        int channels = preprocessing.Input.C;
        if (preprocessing.Means.Count != channels || preprocessing.Deviations.Count != channels)
        {
            throw new InvalidDataException(
                $"{path}: {preprocessing.Means.Count} means and {preprocessing.Deviations.Count} deviations, wanted {channels} of each: the model takes images of {channels} channels");
        }

        // Checks the numbers.
        _ = preprocessing.CreateNormalisation();
        return preprocessing;
    }

    // Images that all have one size are not resized.
    private static Preprocessing Resized(Preprocessing preprocessing, ImportOptions options)
    {
        if (options.Resize is not null || preprocessing.Resize > 0) return preprocessing.WithSize(options.Size ?? 0, options.Resize ?? 0);
        return options.Size is { } size ? preprocessing with { Input = preprocessing.Input with { H = size, W = size } } : preprocessing;
    }

    // Those of the data, if the file has none of its own: a file without names has numbers.
    private static IReadOnlyList<string>? NamesOf(ImportOptions options, Preprocessing preprocessing)
    {
        bool numbered = preprocessing.ClassNames.SequenceEqual(ClassNames.Numbers(preprocessing.ClassNames.Count));
        if (options.Data is not { } data || !numbered) return null;
        TestSet test = DataSet.OpenTest(data, seed: 1, classes: preprocessing.ClassNames.Count);
        preprocessing.RequireFit(test.Images, data);
        return test.ClassNames;
    }

    private static Preprocessing UsualPreprocessing(SafeTensorsFile file, string path, RunConfig config, ImportOptions options, bool own)
    {
        WeightedLayer[] layers = Layers(config);
        ModelEntry entry = ModelCatalog.Find(config.Model)!;
        MapShape input = InputOf(file, layers[0], entry, options.Size, own);
        bool photos = entry.UsualImageSize == ModelCatalog.UsualImageSize("resnet18"), isImageNet = photos && input.C == ImageNetMeans.Length;
        if (!isImageNet && (options.Means is null || options.Deviations is null))
            throw new InvalidDataException($"{path}: the file does not say how the images of {config.Model} were normalised; --mean and --std say it, for pixels from 0 to 1");
        return new Preprocessing(
            input, isImageNet ? ImageNetMeans : [], isImageNet ? ImageNetDeviations : [],
            ClassNames.Numbers(OutputsOf(file, layers[^1], own) ?? entry.UsualClasses), photos ? ImageOptions.UsualResize(input.H) : 0);
    }

    /// <summary>Size of the images, as far as the first layer shows it.</summary>
    private static MapShape InputOf(SafeTensorsFile file, WeightedLayer first, ModelEntry entry, int? size, bool own)
    {
        int inputs = SizeOf(file, first, own ? 2 : 1) ?? first.C;
        int channels = first.IsLinear ? ChannelsOf(inputs, size) : inputs;
        int usual = first.IsLinear ? (int)Math.Sqrt(inputs / channels) : channels == 1 ? Math.Min(GreySize, entry.UsualImageSize) : entry.UsualImageSize;
        return new MapShape(size ?? usual, size ?? usual, channels);
    }

    // A linear layer sees as many inputs as an image has pixels times channels.
    private static int ChannelsOf(int inputs, int? size) => ((int[])[3, 1]).FirstOrDefault(channels => size is { } side
        ? inputs == (long)side * side * channels
        : inputs % channels == 0 && Math.Sqrt(inputs / channels) is var root && root == Math.Floor(root) && root > 0, 3);

    private static int? OutputsOf(SafeTensorsFile file, WeightedLayer layer, bool own) => SizeOf(file, layer, own ? 3 : 0);

    // Null where the check of all tensors will complain.
    private static int? SizeOf(SafeTensorsFile file, WeightedLayer layer, int dimension) =>
        file.Tensors.TryGetValue(layer.Weight, out TensorEntry? weight) && dimension < weight.Sizes.Count && weight.Sizes[dimension] is > 0 and <= int.MaxValue and var size
            ? (int)size
            : null;

    /// <summary>The layers of a model; their sizes are not those of the file.</summary>
    private static WeightedLayer[] Layers(RunConfig config)
    {
        int size = ModelCatalog.UsualImageSize(config.Model);
        return [.. config.Describe(new MapShape(size, size, 3), ModelCatalog.UsualClasses(config.Model)).Layers()];
    }
}
