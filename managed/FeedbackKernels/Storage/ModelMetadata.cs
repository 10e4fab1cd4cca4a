using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using FeedbackKernels.Data;
using FeedbackKernels.Interop;

namespace FeedbackKernels.Storage;

/// <summary>What files of a model carry beside its tensors, as strings by name: the preprocessing of the images and the settings of the model.</summary>
internal static class ModelMetadata
{
    /// <summary>Name of the model.</summary>
    public const string Model = "model";

    /// <summary>Layout of the weights.</summary>
    public const string Layout = "weights";

    /// <summary>The config.json of the run, without paths.</summary>
    public const string Settings = "config";

    /// <summary>The counters of the batch norms that PyTorch keeps, in the order of the layers.</summary>
    public const string BatchesTracked = "num_batches_tracked";

    private const string Input = "input", Means = "mean", Deviations = "std", Classes = "classes", Resize = "resize";

    /// <summary>Adds the preprocessing.</summary>
    public static void Add(IDictionary<string, string> metadata, Preprocessing preprocessing)
    {
        (MapShape input, IReadOnlyList<double> means, IReadOnlyList<double> deviations, IReadOnlyList<string> classes, int resize) = preprocessing;
        metadata[Input] = string.Create(CultureInfo.InvariantCulture, $"{input.H}x{input.W}x{input.C}");
        metadata[Means] = JsonSerializer.Serialize([.. means], StorageJson.Default.DoubleArray);
        metadata[Deviations] = JsonSerializer.Serialize([.. deviations], StorageJson.Default.DoubleArray);
        metadata[Classes] = JsonSerializer.Serialize([.. classes], StorageJson.Default.StringArray);
        if (resize > 0) metadata[Resize] = resize.ToString(CultureInfo.InvariantCulture);
    }

    /// <summary>Adds settings and preprocessing, as far as they are known.</summary>
    public static void Add(IDictionary<string, string> metadata, ModelContent content)
    {
        if (content.Settings is not null) metadata[Settings] = content.Settings;
        if (content.Preprocessing is not null) Add(metadata, content.Preprocessing);
    }

    /// <summary>Reads the preprocessing; null where the file does not say.</summary>
    /// <exception cref="InvalidDataException">It cannot be read.</exception>
    public static Preprocessing? ReadPreprocessing(IReadOnlyDictionary<string, string> metadata, string path)
    {
        try
        {
            return ReadPreprocessing(metadata);
        }
        catch (Exception e) when (e is JsonException or FormatException or ArgumentException or OverflowException)
        {
            throw new InvalidDataException($"{path}: the preprocessing in the metadata cannot be read: {e.Message}", e);
        }
    }

    /// <summary>Reads the counters; none where the file does not say.</summary>
    /// <exception cref="InvalidDataException">They cannot be read.</exception>
    public static IReadOnlyList<long> ReadBatchesTracked(IReadOnlyDictionary<string, string> metadata, string path)
    {
        if (!metadata.TryGetValue(BatchesTracked, out string? text)) return [];
        try
        {
            return JsonSerializer.Deserialize(text, StorageJson.Default.Int64Array) ?? [];
        }
        catch (JsonException e)
        {
            throw new InvalidDataException($"{path}: '{BatchesTracked}' in the metadata cannot be read: {e.Message}", e);
        }
    }

    /// <summary>The counters as a text.</summary>
    public static string Text(IReadOnlyList<long> batchesTracked) => JsonSerializer.Serialize([.. batchesTracked], StorageJson.Default.Int64Array);

    private static Preprocessing? ReadPreprocessing(IReadOnlyDictionary<string, string> metadata)
    {
        if (!metadata.TryGetValue(Input, out string? input)) return null;
        int[] sizes = [.. input.Split('x').Select(size => int.Parse(size, NumberStyles.None, CultureInfo.InvariantCulture))];
        if (sizes.Length != 3) throw new FormatException($"input '{input}', wanted ROWSxCOLUMNSxCHANNELS");
        double[] means = ReadArray(Means, StorageJson.Default.DoubleArray), deviations = ReadArray(Deviations, StorageJson.Default.DoubleArray);
        string[] classes = ReadArray(Classes, StorageJson.Default.StringArray);
        if (means.Length != sizes[2] || deviations.Length != sizes[2])
            throw new FormatException($"{means.Length} means and {deviations.Length} deviations, wanted {sizes[2]} of each for input {input}");
        int resize = metadata.TryGetValue(Resize, out string? length) ? int.Parse(length, NumberStyles.None, CultureInfo.InvariantCulture) : 0;
        if (resize > 0 && (sizes[0] != sizes[1] || resize < sizes[0] || resize > ImageOptions.MostSize))
            throw new FormatException($"resize {resize} for input {input}, wanted a square input and {sizes[0]} to {ImageOptions.MostSize}");
        var preprocessing = new Preprocessing(new MapShape(sizes[0], sizes[1], sizes[2]), means, deviations, classes, resize);
        _ = preprocessing.CreateNormalisation();
        return preprocessing;

        T[] ReadArray<T>(string key, JsonTypeInfo<T[]> type) =>
            metadata.TryGetValue(key, out string? text) && JsonSerializer.Deserialize(text, type) is { } values
                ? values
                : throw new FormatException($"'{key}' is missing");
    }
}

/// <summary>JSON of values in the metadata of a model's file.</summary>
[System.Text.Json.Serialization.JsonSerializable(typeof(double[]))]
[System.Text.Json.Serialization.JsonSerializable(typeof(long[]))]
[System.Text.Json.Serialization.JsonSerializable(typeof(string[]))]
internal sealed partial class StorageJson : System.Text.Json.Serialization.JsonSerializerContext;
