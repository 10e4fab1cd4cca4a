using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text.Json;

namespace FeedbackKernels.Storage;

/// <summary>A tensor of a safetensors file.</summary>
/// <param name="Sizes">Sizes of the dimensions.</param>
/// <param name="Values">Elements, the last dimension fastest.</param>
public sealed record StoredTensor(IReadOnlyList<int> Sizes, float[] Values);

/// <summary>
/// The safetensors format (github.com/huggingface/safetensors): the length of a JSON header as 8 bytes, the header with
/// type, sizes and byte range of each tensor, then the elements. Only F32 is read and written.
/// </summary>
public static class SafeTensors
{
    private const int LengthBytes = 8;
    private const long MostHeaderBytes = 100_000_000;
    private const string MetadataName = "__metadata__";

    /// <summary>Writes tensors. The file appears whole or not at all.</summary>
    public static void Write(
        string path, IReadOnlyList<(string Name, IReadOnlyList<int> Sizes, float[] Values)> tensors, IReadOnlyDictionary<string, string> metadata)
    {
        ArgumentNullException.ThrowIfNull(tensors);
        ArgumentNullException.ThrowIfNull(metadata);
        byte[] header = Header(tensors, metadata);
        AtomicFile.Write(path, file =>
        {
            Span<byte> length = stackalloc byte[LengthBytes];
            BinaryPrimitives.WriteInt64LittleEndian(length, header.Length);
            file.Write(length);
            file.Write(header);
            foreach ((_, _, float[] values) in tensors) file.Write(LittleEndian(values));
        });
    }

    /// <summary>Reads all tensors of a file.</summary>
    /// <exception cref="IOException">The file is not there.</exception>
    /// <exception cref="InvalidDataException">It is not a safetensors file of F32 tensors; the message says where.</exception>
    public static (IReadOnlyDictionary<string, StoredTensor> Tensors, IReadOnlyDictionary<string, string> Metadata) Read(string path)
    {
        if (!File.Exists(path)) throw new FileNotFoundException($"file '{path}' is not there", path);
        using FileStream file = File.OpenRead(path);
        byte[] header = ReadHeader(file, path);
        var tensors = new Dictionary<string, StoredTensor>();
        var metadata = new Dictionary<string, string>();
        try
        {
            using JsonDocument json = JsonDocument.Parse(header);
            foreach (JsonProperty entry in json.RootElement.EnumerateObject())
            {
                if (entry.Name != MetadataName) tensors.Add(entry.Name, ReadTensor(file, path, header.Length, entry));
                else foreach (JsonProperty item in entry.Value.EnumerateObject()) metadata.Add(item.Name, item.Value.GetString() ?? "");
            }
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException or FormatException)
        {
            throw new InvalidDataException($"{path}, offset {LengthBytes}: the header is not what it should be ({e.Message})", e);
        }

        return (tensors, metadata);
    }

    private static byte[] Header(
        IReadOnlyList<(string Name, IReadOnlyList<int> Sizes, float[] Values)> tensors, IReadOnlyDictionary<string, string> metadata)
    {
        using var bytes = new MemoryStream();
        using (var json = new Utf8JsonWriter(bytes))
        {
            json.WriteStartObject();
            json.WriteStartObject(MetadataName);
            foreach ((string key, string value) in metadata) json.WriteString(key, value);
            json.WriteEndObject();
            long offset = 0;
            foreach ((string name, IReadOnlyList<int> sizes, float[] values) in tensors)
            {
                json.WriteStartObject(name);
                json.WriteString("dtype", "F32");
                json.WriteStartArray("shape");
                foreach (int size in sizes) json.WriteNumberValue(size);
                json.WriteEndArray();
                json.WriteStartArray("data_offsets");
                json.WriteNumberValue(offset);
                offset += values.LongLength * sizeof(float);
                json.WriteNumberValue(offset);
                json.WriteEndArray();
                json.WriteEndObject();
            }

            json.WriteEndObject();
        }

        // Padded with blanks, so that the elements start on a multiple of 8.
        while (bytes.Length % LengthBytes != 0) bytes.WriteByte((byte)' ');
        return bytes.ToArray();
    }

    private static byte[] ReadHeader(FileStream file, string path)
    {
        Span<byte> length = stackalloc byte[LengthBytes];
        if (file.ReadAtLeast(length, LengthBytes, throwOnEndOfStream: false) < LengthBytes)
            throw new InvalidDataException($"{path}, offset {file.Length}: the file ends here, expected a header length of {LengthBytes} bytes");
        long headerBytes = BinaryPrimitives.ReadInt64LittleEndian(length);
        if (headerBytes < 2 || headerBytes > Math.Min(MostHeaderBytes, file.Length - LengthBytes))
            throw new InvalidDataException($"{path}, offset 0: a header of {headerBytes} bytes, expected 2 to {file.Length - LengthBytes}");
        var header = new byte[headerBytes];
        file.ReadExactly(header);
        return header;
    }

    private static StoredTensor ReadTensor(FileStream file, string path, int headerBytes, JsonProperty entry)
    {
        string type = entry.Value.GetProperty("dtype").GetString() ?? "";
        if (type != "F32") throw new InvalidDataException($"{path}: tensor '{entry.Name}' is {type}, expected F32");
        int[] sizes = [.. entry.Value.GetProperty("shape").EnumerateArray().Select(s => s.GetInt32())];
        long[] range = [.. entry.Value.GetProperty("data_offsets").EnumerateArray().Select(o => o.GetInt64())];
        long length = sizes.Aggregate(1L, (product, size) => checked(product * size));
        long start = LengthBytes + headerBytes + range[0];
        if (range.Length != 2 || range[1] - range[0] != length * sizeof(float))
            throw new InvalidDataException($"{path}: tensor '{entry.Name}' of {string.Join("x", sizes)} has {range[1] - range[0]} bytes, expected {length * sizeof(float)}");
        if (range[0] < 0 || start + length * sizeof(float) > file.Length)
            throw new InvalidDataException($"{path}, offset {file.Length}: the file ends here, tensor '{entry.Name}' goes on to {start + length * sizeof(float)}");
        var values = new float[length];
        file.Position = start;
        file.ReadExactly(MemoryMarshal.AsBytes(values.AsSpan()));
        if (!BitConverter.IsLittleEndian) ReverseBytes(values);
        return new StoredTensor(sizes, values);
    }

    private static ReadOnlySpan<byte> LittleEndian(float[] values)
    {
        if (BitConverter.IsLittleEndian) return MemoryMarshal.AsBytes(values.AsSpan());
        float[] reversed = [.. values];
        ReverseBytes(reversed);
        return MemoryMarshal.AsBytes(reversed.AsSpan());
    }

    private static void ReverseBytes(float[] values)
    {
        Span<uint> words = MemoryMarshal.Cast<float, uint>(values.AsSpan());
        BinaryPrimitives.ReverseEndianness(words, words);
    }
}
