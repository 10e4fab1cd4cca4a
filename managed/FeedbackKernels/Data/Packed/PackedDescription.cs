using System.Text.Json;
using System.Text.Json.Serialization;

namespace FeedbackKernels.Data;

/// <summary>The part of a packed file's header that is JSON.</summary>
internal sealed record PackedDescription
{
    private const int Channels = 3;

    /// <summary>One name for each class.</summary>
    public required IReadOnlyList<string> ClassNames { get; init; }

    /// <summary>Mean of red, green and blue of the training images, of pixels from 0 to 1.</summary>
    public required IReadOnlyList<double> Means { get; init; }

    /// <summary>Standard deviation of the same.</summary>
    public required IReadOnlyList<double> Deviations { get; init; }

    /// <summary>How the images were resized and encoded.</summary>
    public required ImagePreparation Preparation { get; init; }

    /// <summary>Seed of the order of the image data and of the choice of images that are raw.</summary>
    public required ulong Seed { get; init; }

    /// <summary>Whether the training images of a class follow one another in the index.</summary>
    public required bool TrainIsGrouped { get; init; }

    /// <summary>Whether the test images of a class follow one another in the index.</summary>
    public required bool TestIsGrouped { get; init; }

    /// <summary>The JSON text in UTF-8.</summary>
    public byte[] ToJson() => JsonSerializer.SerializeToUtf8Bytes(this, PackedJson.Default.PackedDescription);

    /// <summary>Reads the JSON text and checks its values.</summary>
    /// <param name="json">The text in UTF-8.</param>
    /// <param name="where">File and offset, for messages.</param>
    /// <exception cref="InvalidDataException">It is not such a text, or a value is out of range.</exception>
    public static PackedDescription Parse(ReadOnlySpan<byte> json, string where)
    {
        try
        {
            PackedDescription description = JsonSerializer.Deserialize(json, PackedJson.Default.PackedDescription)
                ?? throw new InvalidDataException($"{where}: null, expected the description of the file");
            return description.Fault() is { } fault ? throw new InvalidDataException($"{where}: {fault}") : description;
        }
        catch (JsonException e)
        {
            throw new InvalidDataException($"{where}: expected the description of the file: {e.Message}", e);
        }
    }

    private string? Fault()
    {
        if (ClassNames is null || ClassNames.Count == 0 || ClassNames.Any(name => name is null)) return "expected the names of the classes";
        if (Means is not { Count: Channels } || !Means.All(double.IsFinite)) return "expected the means of three channels";
        if (Deviations is not { Count: Channels } || !Deviations.All(d => double.IsFinite(d) && d > 0)) return "expected the standard deviations of three channels, above 0";
        if (Preparation is null) return "expected how the images were prepared";
        try
        {
            Preparation.Validate();
            return null;
        }
        catch (ArgumentException e)
        {
            return e.Message;
        }
    }
}

/// <summary>JSON of packed files and of what is kept while one is written.</summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
    UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
    Converters = [typeof(PackEncodingConverter)])]
[JsonSerializable(typeof(PackedDescription))]
[JsonSerializable(typeof(PackPlan))]
internal sealed partial class PackedJson : JsonSerializerContext;

/// <summary>Encodings as lower-case names.</summary>
internal sealed class PackEncodingConverter() : JsonStringEnumConverter<PackEncoding>(JsonNamingPolicy.KebabCaseLower, allowIntegerValues: false);
