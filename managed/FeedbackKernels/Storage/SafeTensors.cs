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
    private const int LengthBytes = SafeTensorsHeader.LengthBytes;

    /// <summary>Writes tensors. The file appears whole or not at all.</summary>
    /// <param name="path">The file.</param>
    /// <param name="tensors">Names, sizes, and as many values as the sizes say.</param>
    /// <param name="metadata">Strings that the file carries beside its tensors.</param>
    /// <exception cref="ArgumentException">A name stands twice, or values are more or fewer than the sizes say.</exception>
    /// <exception cref="IOException">The file cannot be written.</exception>
    public static void Write(
        string path, IReadOnlyList<(string Name, IReadOnlyList<int> Sizes, float[] Values)> tensors, IReadOnlyDictionary<string, string> metadata)
    {
        ArgumentNullException.ThrowIfNull(tensors);
        ArgumentNullException.ThrowIfNull(metadata);
        Check(tensors);
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

    /// <summary>Reads all tensors of a file. <see cref="SafeTensorsFile"/> reads those that are asked for.</summary>
    /// <exception cref="IOException">The file is not there or cannot be read.</exception>
    /// <exception cref="InvalidDataException">It is not a safetensors file of F32 tensors; the message names the file, the offset and
    /// the tensor.</exception>
    public static (IReadOnlyDictionary<string, StoredTensor> Tensors, IReadOnlyDictionary<string, string> Metadata) Read(string path)
    {
        using SafeTensorsFile file = SafeTensorsFile.Open(path);
        return (file.Tensors.Keys.ToDictionary(name => name, file.Load), file.Metadata);
    }

    private static void Check(IReadOnlyList<(string Name, IReadOnlyList<int> Sizes, float[] Values)> tensors)
    {
        var names = new HashSet<string> { SafeTensorsHeader.MetadataName };
        foreach ((string name, IReadOnlyList<int> sizes, float[] values) in tensors)
        {
            if (!names.Add(name)) throw new ArgumentException($"the name '{name}' stands twice or is reserved", nameof(tensors));
            Int128 length = sizes.Aggregate(Int128.One, (product, size) => product * size);
            if (sizes.Any(size => size < 0) || length != values.Length)
                throw new ArgumentException($"tensor '{name}' of {string.Join("x", sizes)} has {values.Length} values, wanted {length}", nameof(tensors));
        }
    }

    private static byte[] Header(
        IReadOnlyList<(string Name, IReadOnlyList<int> Sizes, float[] Values)> tensors, IReadOnlyDictionary<string, string> metadata)
    {
        using var bytes = new MemoryStream();
        using (var json = new Utf8JsonWriter(bytes))
        {
            json.WriteStartObject();
            json.WriteStartObject(SafeTensorsHeader.MetadataName);
            foreach ((string key, string value) in metadata) json.WriteString(key, value);
            json.WriteEndObject();
            long offset = 0;
            foreach ((string name, IReadOnlyList<int> sizes, float[] values) in tensors)
            {
                json.WriteStartObject(name);
                json.WriteString("dtype", TensorTypes.Float32);
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

    private static ReadOnlySpan<byte> LittleEndian(float[] values)
    {
        if (BitConverter.IsLittleEndian) return MemoryMarshal.AsBytes(values.AsSpan());
        float[] reversed = [.. values];
        ReverseBytes(reversed);
        return MemoryMarshal.AsBytes(reversed.AsSpan());
    }

    internal static void ReverseBytes(float[] values)
    {
        Span<uint> words = MemoryMarshal.Cast<float, uint>(values.AsSpan());
        BinaryPrimitives.ReverseEndianness(words, words);
    }
}
