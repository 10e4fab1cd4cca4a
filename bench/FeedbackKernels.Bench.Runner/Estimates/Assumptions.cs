using System.Text.Json;

namespace FeedbackKernels.Bench.Estimates;

/// <summary>A file that replaces assumptions of a card: a JSON object with the names of <see cref="Figure"/> and numbers, such as
/// <c>{ "L2Bytes": 6.1e12, "Wgmma256": 0.7 }</c>.</summary>
internal static class Assumptions
{
    /// <summary>Reads a file.</summary>
    /// <exception cref="InvalidDataException">It is no such object, or has an unknown name, or a value that is no positive number, or a share
    /// above 1; the message names the file and the entry.</exception>
    /// <exception cref="IOException">It cannot be read.</exception>
    public static IReadOnlyDictionary<Figure, double> Read(string path)
    {
        var values = new Dictionary<Figure, double>();
        try
        {
            using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(path));
            if (document.RootElement.ValueKind != JsonValueKind.Object)
                throw new InvalidDataException($"'{path}' has a JSON {document.RootElement.ValueKind}, wanted an object of assumptions and numbers");
            foreach (JsonProperty entry in document.RootElement.EnumerateObject())
            {
                Figure figure = Named(path, entry.Name);
                if (!values.TryAdd(figure, ValueOf(path, figure, entry.Value))) throw new InvalidDataException($"'{path}' has '{figure}' twice");
            }
        }
        catch (JsonException e)
        {
            throw new InvalidDataException($"'{path}' is no JSON: {e.Message}", e);
        }

        return values;
    }

    /// <summary>Whether a figure is a share of another one.</summary>
    private static bool IsShare(Figure figure) => figure >= Figure.StreamHbm;

    private static Figure Named(string path, string name)
    {
        string[] names = Enum.GetNames<Figure>();
        if (!names.Contains(name)) throw new InvalidDataException($"'{path}' has the unknown assumption '{name}'; there are {string.Join(", ", names)}");
        return Enum.Parse<Figure>(name);
    }

    private static double ValueOf(string path, Figure figure, JsonElement element)
    {
        double most = IsShare(figure) ? 1 : double.MaxValue;
        if (element.ValueKind == JsonValueKind.Number && element.TryGetDouble(out double value) && value > 0 && value <= most) return value;
        string wanted = IsShare(figure) ? "a share above 0 and up to 1" : "a number above 0";
        throw new InvalidDataException($"'{path}' has {element.GetRawText()} for '{figure}', wanted {wanted}");
    }
}
