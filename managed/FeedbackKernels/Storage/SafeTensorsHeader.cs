using System.Text;
using System.Text.Json;
using System.Text.Unicode;

namespace FeedbackKernels.Storage;

/// <summary>
/// The JSON header of a safetensors file, with everything checked that the format demands: no name twice, known types, sizes that
/// are the bytes they claim, and tensors that cover the rest of the file without holes or overlaps.
/// </summary>
internal sealed class SafeTensorsHeader
{
    /// <summary>Bytes of the header's length, which come first.</summary>
    public const int LengthBytes = 8;

    /// <summary>Longest header that the format allows.</summary>
    public const long MostBytes = 100_000_000;

    /// <summary>The entry that is no tensor but a map of strings.</summary>
    public const string MetadataName = "__metadata__";

    private const int MostShown = 40;

    private readonly string _path;
    private readonly long _start;
    private readonly Dictionary<string, TensorEntry> _tensors = [];
    private readonly Dictionary<string, string> _metadata = [];

    /// <summary>Parses and checks a header.</summary>
    /// <param name="path">The file, for errors.</param>
    /// <param name="header">The bytes after the header's length.</param>
    /// <param name="fileLength">Length of the whole file.</param>
    /// <exception cref="InvalidDataException">Something is wrong; the message names the file, the offset and the tensor.</exception>
    public SafeTensorsHeader(string path, ReadOnlySpan<byte> header, long fileLength)
    {
        (_path, _start) = (path, LengthBytes + header.Length);
        if (header is not [(byte)'{', ..]) throw Error(0, "the header does not begin with '{'");
        if (!Utf8.IsValid(header)) throw Error(0, "the header is not UTF-8");
        var json = new Utf8JsonReader(header);
        try
        {
            ParseEntries(ref json);
        }
        catch (JsonException e)
        {
            throw Error(json.BytesConsumed, $"the header is not valid JSON ({e.Message})", e);
        }

        RequireCover(fileLength);
    }

    /// <summary>The tensors by name.</summary>
    public IReadOnlyDictionary<string, TensorEntry> Tensors => _tensors;

    /// <summary>The map of strings.</summary>
    public IReadOnlyDictionary<string, string> Metadata => _metadata;

    private void ParseEntries(ref Utf8JsonReader json)
    {
        json.Read();
        bool hasMetadata = false;
        while (Next(ref json) != JsonTokenType.EndObject)
        {
            long at = json.TokenStartIndex;
            string name = Text(ref json);
            if (_tensors.ContainsKey(name) || hasMetadata && name == MetadataName) throw Error(at, $"the name '{Short(name)}' stands twice in the header");
            if (name == MetadataName) ParseMetadata(ref json);
            else _tensors.Add(name, ParseTensor(ref json, name, at));
            hasMetadata |= name == MetadataName;
        }

        // Throws if anything but blanks follows.
        json.Read();
    }

    private void ParseMetadata(ref Utf8JsonReader json)
    {
        RequireNext(ref json, JsonTokenType.StartObject, MetadataName, "an object");
        while (Next(ref json) != JsonTokenType.EndObject)
        {
            long at = json.TokenStartIndex;
            string key = Text(ref json);
            RequireNext(ref json, JsonTokenType.String, $"'{Short(key)}' of {MetadataName}", "a string");
            if (!_metadata.TryAdd(key, Text(ref json))) throw Error(at, $"'{Short(key)}' stands twice in {MetadataName}");
        }
    }

    private TensorEntry ParseTensor(ref Utf8JsonReader json, string name, long at)
    {
        string what = $"tensor '{Short(name)}'";
        RequireNext(ref json, JsonTokenType.StartObject, what, "an object");
        string? type = null;
        List<long>? sizes = null, range = null;
        HashSet<string>? others = null;
        while (Next(ref json) != JsonTokenType.EndObject)
        {
            long keyAt = json.TokenStartIndex;
            string key = Text(ref json);
            bool twice;
            switch (key)
            {
                case "dtype":
                    twice = type is not null;
                    RequireNext(ref json, JsonTokenType.String, $"{what}: dtype", "a string");
                    type = Text(ref json);
                    break;
                case "shape":
                    twice = sizes is not null;
                    sizes = Numbers(ref json, $"{what}: shape");
                    break;
                case "data_offsets":
                    twice = range is not null;
                    range = Numbers(ref json, $"{what}: data_offsets");
                    break;
                default:
                    twice = !(others ??= []).Add(key);
                    json.Skip();
                    break;
            }

            if (twice) throw Error(keyAt, $"{what} has {Short(key)} twice");
        }

        if (type is null) throw Error(at, $"the header has no dtype for {what}");
        if (sizes is null) throw Error(at, $"the header has no shape for {what}");
        if (range is null) throw Error(at, $"the header has no data_offsets for {what}");
        return Entry(name, type, sizes, range, at);
    }

    private TensorEntry Entry(string name, string type, List<long> sizes, List<long> range, long at)
    {
        string what = $"tensor '{Short(name)}' ({Short(type)} {Shown(sizes)})";
        if (TensorTypes.Bits(type) is not { } bits)
            throw Error(at, $"{what} has an unknown type, expected one of {string.Join(", ", TensorTypes.Names)}");
        UInt128 elements = 1;
        foreach (long size in sizes)
        {
            elements *= (ulong)size;
            if (elements > long.MaxValue) throw Error(at, $"{what} has more than 2^63 - 1 elements");
        }

        if (elements * (uint)bits % 8 != 0) throw Error(at, $"{what} is {elements * (uint)bits} bits, not whole bytes");
        UInt128 bytes = elements * (uint)bits / 8;
        if (range.Count != 2) throw Error(at, $"{what} has {range.Count} data_offsets, expected 2: begin and end");
        if (range[0] > range[1]) throw Error(at, $"{what} has data_offsets from {range[0]} to {range[1]}, expected the end not before the begin");
        if ((UInt128)(range[1] - range[0]) != bytes)
            throw Error(at, $"{what} has {range[1] - range[0]} bytes (data_offsets {range[0]} to {range[1]}), expected {bytes}");
        return new TensorEntry(name, type, sizes, range[0], range[1] - range[0]);
    }

    /// <summary>Checks that the tensors lie one after the other, and moves their offsets from the first element's to the file's
    /// beginning.</summary>
    private void RequireCover(long fileLength)
    {
        TensorEntry[] inOrder = [.. _tensors.Values.OrderBy(tensor => tensor.Offset).ThenBy(tensor => tensor.Bytes)];
        long room = fileLength - _start, end = 0;
        TensorEntry? before = null;
        foreach (TensorEntry tensor in inOrder)
        {
            string what = $"tensor '{Short(tensor.Name)}' ({tensor.Type} {Shown(tensor.Sizes)})";
            long stop = tensor.Offset + tensor.Bytes;
            if (stop > room)
                throw ErrorAt(fileLength, $"the file ends here, {what} goes on to {(Int128)_start + stop}");
            if (tensor.Offset > end)
                throw ErrorAt(_start + end, $"{tensor.Offset - end} bytes before {what} belong to no tensor");
            if (tensor.Offset < end)
                throw ErrorAt(_start + tensor.Offset, $"{what} overlaps tensor '{Short(before!.Name)}', which ends at {_start + end}");
            _tensors[tensor.Name] = tensor with { Offset = _start + tensor.Offset };
            (before, end) = (tensor, stop);
        }

        if (end == room) return;
        string last = before is null ? "the header, which has no tensors," : $"the last, tensor '{Short(before.Name)}' ({before.Type} {Shown(before.Sizes)}),";
        throw ErrorAt(_start + end, $"{room - end} bytes follow {last} and belong to no tensor");
    }

    private List<long> Numbers(ref Utf8JsonReader json, string what)
    {
        RequireNext(ref json, JsonTokenType.StartArray, what, "an array");
        var numbers = new List<long>();
        while (Next(ref json) != JsonTokenType.EndArray)
        {
            if (json.TokenType != JsonTokenType.Number || !json.TryGetUInt64(out ulong number) || number > long.MaxValue)
                throw Error(json.TokenStartIndex, $"{what} has {Token(ref json)}, expected integers from 0 to 2^63 - 1");
            numbers.Add((long)number);
        }

        return numbers;
    }

    private static JsonTokenType Next(ref Utf8JsonReader json)
    {
        json.Read();
        return json.TokenType;
    }

    private void RequireNext(ref Utf8JsonReader json, JsonTokenType type, string what, string wanted)
    {
        if (Next(ref json) != type) throw Error(json.TokenStartIndex, $"{what} is {Token(ref json)} in the header, expected {wanted}");
    }

    private string Text(ref Utf8JsonReader json)
    {
        try
        {
            return json.GetString()!;
        }
        catch (InvalidOperationException e)
        {
            // Half of a surrogate pair, as an escape.
            throw Error(json.TokenStartIndex, "the header has a string that is not valid text", e);
        }
    }

    private static string Token(ref Utf8JsonReader json) => json.TokenType switch
    {
        JsonTokenType.StartObject => "an object",
        JsonTokenType.StartArray => "an array",
        _ => Short(Encoding.UTF8.GetString(json.ValueSpan)) is { Length: > 0 } text ? text : "an empty string",
    };

    private static string Shown(IReadOnlyList<long> sizes) => Short($"[{string.Join(", ", sizes.Take(MostShown))}]");

    private static string Short(string text) => text.Length <= MostShown ? text : text[..MostShown] + "...";

    private InvalidDataException Error(long offsetInHeader, string what, Exception? inner = null) => ErrorAt(LengthBytes + offsetInHeader, what, inner);

    private InvalidDataException ErrorAt(long offset, string what, Exception? inner = null) => new($"{_path}, offset {offset}: {what}", inner);
}
