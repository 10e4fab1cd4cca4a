using System.Text.Json;

namespace FeedbackKernels.Tests.Runs;

/// <summary>
/// Reads a safetensors file according to the specification (github.com/huggingface/safetensors), without the reader of the program:
/// a round trip would not show an error that writer and reader have in common.
/// </summary>
internal sealed class TensorFile
{
    private readonly byte[] _bytes;
    private readonly int _dataStart;
    private readonly JsonElement _header;

    public TensorFile(string path)
        : this(File.ReadAllBytes(path))
    {
    }

    public TensorFile(byte[] bytes)
    {
        _bytes = bytes;
        int headerBytes = checked((int)BitConverter.ToUInt64(_bytes, 0));
        _dataStart = 8 + headerBytes;
        _header = JsonDocument.Parse(_bytes.AsMemory(8, headerBytes)).RootElement;
    }

    /// <summary>Names of all tensors.</summary>
    public IReadOnlyList<string> Names => [.. _header.EnumerateObject().Select(p => p.Name).Where(n => n != "__metadata__")];

    /// <summary>All strings besides the tensors.</summary>
    public IReadOnlyDictionary<string, string> AllMetadata => _header.GetProperty("__metadata__").EnumerateObject().ToDictionary(p => p.Name, p => p.Value.GetString()!);

    public string Metadata(string key) => _header.GetProperty("__metadata__").GetProperty(key).GetString()!;

    public int[] Sizes(string name) => [.. _header.GetProperty(name).GetProperty("shape").EnumerateArray().Select(v => v.GetInt32())];

    public string Type(string name) => _header.GetProperty(name).GetProperty("dtype").GetString()!;

    /// <summary>A scalar of the type I64, which lies on a multiple of its 8 bytes.</summary>
    public long Integer(string name)
    {
        Assert.Equal(("I64", 0), (Type(name), Sizes(name).Length));
        int[] range = [.. _header.GetProperty(name).GetProperty("data_offsets").EnumerateArray().Select(v => v.GetInt32())];
        Assert.Equal((sizeof(long), 0), (range[1] - range[0], (_dataStart + range[0]) % sizeof(long)));
        return BitConverter.ToInt64(_bytes, _dataStart + range[0]);
    }

    public float[] Values(string name)
    {
        JsonElement tensor = _header.GetProperty(name);
        Assert.Equal("F32", tensor.GetProperty("dtype").GetString());
        int[] range = [.. tensor.GetProperty("data_offsets").EnumerateArray().Select(v => v.GetInt32())];
        var values = new float[(range[1] - range[0]) / sizeof(float)];
        Assert.Equal(Sizes(name).Aggregate(1, (product, size) => product * size), values.Length);
        for (int i = 0; i < values.Length; i++) values[i] = BitConverter.ToSingle(_bytes, _dataStart + range[0] + i * sizeof(float));
        return values;
    }
}
