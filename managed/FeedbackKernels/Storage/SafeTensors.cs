using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text.Json;

namespace FeedbackKernels.Storage;

/// <summary>A tensor of a safetensors file.</summary>
/// <param name="Sizes">Sizes of the dimensions.</param>
/// <param name="Values">Elements, the last dimension fastest.</param>
public sealed record StoredTensor(IReadOnlyList<int> Sizes, float[] Values);

/// <summary>A tensor to be written.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Sizes">Sizes of the dimensions.</param>
/// <param name="Values">Gives as many elements as the sizes say, which are valid until the next tensor is asked for its own.</param>
internal sealed record TensorSource(string Name, IReadOnlyList<int> Sizes, Func<ReadOnlySpan<float>> Values)
{
    /// <summary>A scalar of the type I64 instead of floats. Readers want it at a multiple of 8 bytes: such tensors come first in a file.</summary>
    public long? Integer { get; private init; }

    /// <summary>A scalar of the type I64.</summary>
    public static TensorSource Of(string name, long value) => new(name, [], () => default) { Integer = value };
}

/// <summary>
/// The safetensors format (github.com/huggingface/safetensors): the length of a JSON header as 8 bytes, the header with
/// type, sizes and byte range of each tensor, then the elements. F32 is written, and I64 for scalars.
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
        TensorSource[] sources = [.. tensors.Select(t => new TensorSource(t.Name, t.Sizes, () => t.Values))];
        Check(sources);
        foreach ((string name, IReadOnlyList<int> sizes, float[] values) in tensors) RequireLength(name, sizes, values.Length, nameof(tensors));
        AtomicFile.Write(path, file => Write(file, sources, metadata));
    }

    /// <summary>Writes tensors to a stream. They are asked for their values one after the other.</summary>
    /// <param name="file">Where the stream begins, the file begins.</param>
    /// <param name="tensors">Tensors.</param>
    /// <param name="metadata">Strings that the file carries beside its tensors, in this order at its beginning.</param>
    internal static void Write(Stream file, IReadOnlyList<TensorSource> tensors, IEnumerable<KeyValuePair<string, string>> metadata)
    {
        Check(tensors);
        byte[] header = Header(tensors, metadata);
        Span<byte> length = stackalloc byte[LengthBytes];
        BinaryPrimitives.WriteInt64LittleEndian(length, header.Length);
        file.Write(length);
        file.Write(header);
        foreach (TensorSource tensor in tensors)
        {
            if (tensor.Integer is { } integer)
            {
                BinaryPrimitives.WriteInt64LittleEndian(length, integer);
                file.Write(length);
                continue;
            }

            ReadOnlySpan<float> values = tensor.Values();
            RequireLength(tensor.Name, tensor.Sizes, values.Length);
            file.Write(LittleEndian(values));
        }
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

    private static void Check(IReadOnlyList<TensorSource> tensors)
    {
        var names = new HashSet<string> { SafeTensorsHeader.MetadataName };
        foreach (TensorSource tensor in tensors)
        {
            if (!names.Add(tensor.Name)) throw new ArgumentException($"the name '{tensor.Name}' stands twice or is reserved", nameof(tensors));
        }
    }

    private static void RequireLength(string name, IReadOnlyList<int> sizes, int found, string? argument = null)
    {
        if (sizes.Any(size => size < 0) || Length(sizes) != found)
            throw new ArgumentException($"tensor '{name}' of {string.Join("x", sizes)} has {found} values, wanted {Length(sizes)}", argument);
    }

    private static Int128 Length(IReadOnlyList<int> sizes) => sizes.Aggregate(Int128.One, (product, size) => product * size);

    private static byte[] Header(IReadOnlyList<TensorSource> tensors, IEnumerable<KeyValuePair<string, string>> metadata)
    {
        using var bytes = new MemoryStream();
        using (var json = new Utf8JsonWriter(bytes))
        {
            json.WriteStartObject();
            json.WriteStartObject(SafeTensorsHeader.MetadataName);
            foreach ((string key, string value) in metadata) json.WriteString(key, value);
            json.WriteEndObject();
            long offset = 0;
            foreach (TensorSource tensor in tensors)
            {
                json.WriteStartObject(tensor.Name);
                bool isInteger = tensor.Integer is not null;
                json.WriteString("dtype", isInteger ? TensorTypes.Int64 : TensorTypes.Float32);
                json.WriteStartArray("shape");
                foreach (int size in tensor.Sizes) json.WriteNumberValue(size);
                json.WriteEndArray();
                json.WriteStartArray("data_offsets");
                json.WriteNumberValue(offset);
                offset += (long)Length(tensor.Sizes) * (isInteger ? sizeof(long) : sizeof(float));
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

    private static ReadOnlySpan<byte> LittleEndian(ReadOnlySpan<float> values)
    {
        if (BitConverter.IsLittleEndian) return MemoryMarshal.AsBytes(values);
        float[] reversed = values.ToArray();
        ReverseBytes(reversed);
        return MemoryMarshal.AsBytes(reversed.AsSpan());
    }

    internal static void ReverseBytes(float[] values)
    {
        Span<uint> words = MemoryMarshal.Cast<float, uint>(values.AsSpan());
        BinaryPrimitives.ReverseEndianness(words, words);
    }
}
