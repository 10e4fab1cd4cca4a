using System.Buffers.Binary;
using System.Runtime.InteropServices;
using FeedbackKernels.Data;
using FeedbackKernels.Interop;

namespace FeedbackKernels.Storage;

/// <summary>A tensor as the header of a safetensors file describes it.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Type">Its element type, as <c>F32</c>.</param>
/// <param name="Sizes">Sizes of the dimensions; empty for a scalar.</param>
/// <param name="Offset">Where its elements begin, in bytes from the beginning of the file.</param>
/// <param name="Bytes">Length of its elements.</param>
public sealed record TensorEntry(string Name, string Type, IReadOnlyList<long> Sizes, long Offset, long Bytes);

/// <summary>An open safetensors file: its directory, and the tensors that are asked for.</summary>
public sealed class SafeTensorsFile : IDisposable
{
    private readonly FileStream _file;
    private readonly string _path;

    private SafeTensorsFile(FileStream file, string path, SafeTensorsHeader header)
    {
        (_file, _path) = (file, path);
        (Tensors, Metadata) = (header.Tensors, header.Metadata);
    }

    /// <summary>Opens a file and checks all that the format demands of it; no tensor is loaded.</summary>
    /// <exception cref="IOException">The file is not there or cannot be read.</exception>
    /// <exception cref="InvalidDataException">It is not a safetensors file; the message names the file, the offset and the tensor.</exception>
    public static SafeTensorsFile Open(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        FileStream file = DataFiles.Open(path);
        try
        {
            return new SafeTensorsFile(file, path, ReadHeader(file, path));
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>The tensors by name, of any type that the format has.</summary>
    public IReadOnlyDictionary<string, TensorEntry> Tensors { get; }

    /// <summary>The strings that the file carries beside its tensors.</summary>
    public IReadOnlyDictionary<string, string> Metadata { get; }

    /// <summary>Loads a tensor of the type F32.</summary>
    /// <param name="name">Its name.</param>
    /// <exception cref="InvalidDataException">The file does not have it, it has another type, or it is larger than an array.</exception>
    /// <exception cref="IOException">The file cannot be read, or became shorter.</exception>
    public StoredTensor Load(string name)
    {
        ArgumentNullException.ThrowIfNull(name);
        if (!Tensors.TryGetValue(name, out TensorEntry? tensor)) throw new InvalidDataException($"{_path}: tensor '{name}' is missing");
        if (tensor.Type != TensorTypes.Float32)
            throw new InvalidDataException($"{_path}, offset {tensor.Offset}: tensor '{name}' is {tensor.Type}, expected {TensorTypes.Float32}");
        long length = tensor.Bytes / sizeof(float);
        long largest = tensor.Sizes.Append(length).Max();
        if (largest > Array.MaxLength)
            throw new InvalidDataException($"{_path}, offset {tensor.Offset}: tensor '{name}' has a size of {largest}, the limit is {Array.MaxLength}");
        var values = new float[length];
        _file.Position = tensor.Offset;
        _file.ReadExactly(MemoryMarshal.AsBytes(values.AsSpan()));
        if (!BitConverter.IsLittleEndian) SafeTensors.ReverseBytes(values);
        return new StoredTensor([.. tensor.Sizes.Select(size => (int)size)], values);
    }

    /// <summary>Whether <see cref="LoadFloats"/> takes a type.</summary>
    internal static bool IsFloat(string type) => type is TensorTypes.Float32 or TensorTypes.Float16 or TensorTypes.BFloat16;

    /// <summary>Loads the elements of a tensor of the type F32, F16 or BF16, which F32 holds exactly.</summary>
    /// <inheritdoc cref="Load"/>
    internal float[] LoadFloats(string name)
    {
        if (!Tensors.TryGetValue(name, out TensorEntry? tensor) || tensor.Type == TensorTypes.Float32) return Load(name).Values;
        if (!IsFloat(tensor.Type))
            throw new InvalidDataException($"{_path}, offset {tensor.Offset}: tensor '{name}' is {tensor.Type}, expected F32, F16 or BF16");
        if (tensor.Bytes > Array.MaxLength)
            throw new InvalidDataException($"{_path}, offset {tensor.Offset}: tensor '{name}' has {tensor.Bytes} bytes, the limit is {Array.MaxLength}");
        var bytes = new byte[tensor.Bytes];
        _file.Position = tensor.Offset;
        _file.ReadExactly(bytes);
        var values = new float[tensor.Bytes / sizeof(ushort)];
        for (int i = 0; i < values.Length; i++)
        {
            ushort bits = BinaryPrimitives.ReadUInt16LittleEndian(bytes.AsSpan(sizeof(ushort) * i));
            values[i] = tensor.Type == TensorTypes.Float16 ? (float)BitConverter.UInt16BitsToHalf(bits) : BFloat16.FromBits(bits);
        }

        return values;
    }

    /// <summary>Loads a scalar of the type I64.</summary>
    /// <inheritdoc cref="Load"/>
    internal long LoadInteger(string name)
    {
        if (!Tensors.TryGetValue(name, out TensorEntry? tensor)) throw new InvalidDataException($"{_path}: tensor '{name}' is missing");
        if (tensor.Type != TensorTypes.Int64 || tensor.Bytes != sizeof(long))
            throw new InvalidDataException($"{_path}, offset {tensor.Offset}: tensor '{name}' is {tensor.Type} of {tensor.Bytes} bytes, expected one number of the type I64");
        Span<byte> bytes = stackalloc byte[sizeof(long)];
        _file.Position = tensor.Offset;
        _file.ReadExactly(bytes);
        return BinaryPrimitives.ReadInt64LittleEndian(bytes);
    }

    /// <inheritdoc/>
    public void Dispose() => _file.Dispose();

    private static SafeTensorsHeader ReadHeader(FileStream file, string path)
    {
        Span<byte> head = stackalloc byte[FoundInstead.HeadBytes];
        head = head[..file.ReadAtLeast(head, head.Length, throwOnEndOfStream: false)];
        if (head.Length < SafeTensorsHeader.LengthBytes)
        {
            throw FoundInstead.Error(path, head, "a safetensors file") ?? new InvalidDataException(
                $"{path}, offset {head.Length}: the file ends here, expected a header length of {SafeTensorsHeader.LengthBytes} bytes");
        }

        ulong bytes = BinaryPrimitives.ReadUInt64LittleEndian(head);
        long most = Math.Min(SafeTensorsHeader.MostBytes, file.Length - SafeTensorsHeader.LengthBytes);
        if (bytes < 2 || bytes > (ulong)most)
        {
            throw FoundInstead.Error(path, head, "a safetensors file") ?? new InvalidDataException(
                $"{path}, offset 0: a header of {bytes} bytes, expected 2 to {most}");
        }

        var header = new byte[bytes];
        file.Position = SafeTensorsHeader.LengthBytes;
        file.ReadExactly(header);
        return new SafeTensorsHeader(path, header, file.Length);
    }
}
