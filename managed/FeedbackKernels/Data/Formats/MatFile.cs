using System.Buffers.Binary;
using System.IO.Compression;
using System.Text;

namespace FeedbackKernels.Data;

/// <summary>A struct array of a MATLAB file of version 5 (MathWorks, "MAT-File Format", 2023): its fields that are numbers or texts.</summary>
/// <param name="Fields">Names of the fields.</param>
/// <param name="Elements">For each element, the value of each field: a <see cref="double"/>, a <see cref="string"/>, or null for anything else.</param>
internal sealed record MatStructs(IReadOnlyList<string> Fields, IReadOnlyList<object?[]> Elements)
{
    /// <summary>Number of a field.</summary>
    /// <returns>-1 if there is no such field.</returns>
    public int IndexOf(string field) => Fields.ToList().IndexOf(field);
}

/// <summary>Reads MATLAB files of version 5, as far as ImageNet's <c>meta.mat</c> needs it.</summary>
internal static class MatFile
{
    private const int HeaderBytes = 128, EndianAt = 126, MostVariableBytes = 64 << 20;

    /// <summary>Reads a struct array.</summary>
    /// <param name="name">Name of the file, for messages.</param>
    /// <param name="file">Its content.</param>
    /// <param name="variable">Name of the struct array.</param>
    /// <exception cref="InvalidDataException">The file is damaged, of another version, or has no such struct array.</exception>
    public static MatStructs ReadStructs(string name, byte[] file, string variable)
    {
        if (FoundInstead.Error(name, file, "a MATLAB file of version 5") is { } error) throw error;
        if (file.Length < HeaderBytes || file[EndianAt] != 'I' || file[EndianAt + 1] != 'M')
            throw new InvalidDataException($"{name}, offset {Math.Min(file.Length, EndianAt)}: expected the header of a MATLAB file of version 5, with 'IM' (little-endian) at {EndianAt}");
        var all = new Reader(name, file, HeaderBytes);
        while (!all.IsAtEnd)
        {
            Element element = all.Next();
            ReadOnlySpan<byte> content = element.Content;
            int offset = element.Offset;
            string where = name;
            if (element.Type == ElementType.Compressed)
            {
                where = $"{name} (the variable at {offset}, decompressed)";
                var inner = new Reader(where, Inflate(where, content), 0);
                element = inner.Next();
                content = element.Content;
                offset = element.Offset;
            }

            if (element.Type == ElementType.Matrix && Structs(new Reader(where, content, 0, offset), variable) is { } found) return found;
        }

        throw new InvalidDataException($"{name}: found no struct array '{variable}'");
    }

    private static byte[] Inflate(string name, ReadOnlySpan<byte> compressed)
    {
        using var stream = new ZLibStream(new MemoryStream(compressed.ToArray()), CompressionMode.Decompress);
        using var inflated = new MemoryStream();
        var buffer = new byte[64 * 1024];
        while (true)
        {
            int read = Inflate(name, stream, buffer, inflated.Length);
            if (read == 0) return inflated.ToArray();
            if (inflated.Length + read > MostVariableBytes) throw new InvalidDataException($"{name}: more than {MostVariableBytes} bytes");
            inflated.Write(buffer, 0, read);
        }
    }

    private static int Inflate(string name, ZLibStream stream, byte[] buffer, long offset)
    {
        try
        {
            return stream.Read(buffer);
        }
        catch (InvalidDataException e)
        {
            throw new InvalidDataException($"{name}, offset {offset} of the decompressed data: {e.Message}", e);
        }
    }

    private static MatStructs? Structs(Reader matrix, string variable)
    {
        var type = (ArrayType)(matrix.Next().UInt32(matrix) & 0xFF);
        int count = Count(ref matrix);
        string name = matrix.Next().Text(matrix);
        if (type != ArrayType.Struct || name != variable) return null;
        uint fieldBytes = matrix.Next().UInt32(matrix);
        ReadOnlySpan<byte> names = matrix.Next().Content;
        if (fieldBytes == 0 || names.Length % fieldBytes != 0) throw matrix.Damaged($"{names.Length} bytes of names of fields of {fieldBytes} each");
        var fields = new string[names.Length / fieldBytes];
        for (int i = 0; i < fields.Length; i++) fields[i] = Encoding.ASCII.GetString(names.Slice(i * (int)fieldBytes, (int)fieldBytes)).Split('\0')[0];
        // Each value takes at least the 8 bytes of its tag.
        if ((long)count * fields.Length > matrix.Left / 8) throw matrix.Damaged($"{count} elements of {fields.Length} fields in {matrix.Left} bytes");
        var elements = new object?[count][];
        for (int i = 0; i < count; i++)
        {
            elements[i] = new object?[fields.Length];
            for (int k = 0; k < fields.Length; k++) elements[i][k] = Value(ref matrix);
        }

        return new MatStructs(fields, elements);
    }

    private static object? Value(ref Reader reader)
    {
        Element element = reader.Next();
        if (element.Type != ElementType.Matrix) throw reader.Damaged($"a value of type {element.Type}, expected {ElementType.Matrix}");
        if (element.Content.IsEmpty) return null;
        var matrix = new Reader(reader.Name, element.Content, 0, element.Offset);
        var type = (ArrayType)(matrix.Next().UInt32(matrix) & 0xFF);
        int count = Count(ref matrix);
        matrix.Next();
        if (type == ArrayType.Text) return count == 0 ? "" : matrix.Next().Text(matrix);
        return type is >= ArrayType.Double and <= ArrayType.UInt64 && count == 1 ? matrix.Next().Number(matrix) : null;
    }

    private static int Count(ref Reader matrix)
    {
        ReadOnlySpan<byte> sizes = matrix.Next().Content;
        if (sizes.Length < 8 || sizes.Length % 4 != 0) throw matrix.Damaged($"{sizes.Length} bytes of sizes, expected 4 for each of two or more dimensions");
        Int128 count = 1;
        for (int i = 0; i < sizes.Length; i += 4)
        {
            int size = BinaryPrimitives.ReadInt32LittleEndian(sizes[i..]);
            count *= size >= 0 ? size : throw matrix.Damaged($"size {size}");
            if (count > int.MaxValue) throw matrix.Damaged($"{count} elements");
        }

        return (int)count;
    }

    private enum ElementType : uint
    {
        Int8 = 1,
        UInt8 = 2,
        Int16 = 3,
        UInt16 = 4,
        Int32 = 5,
        UInt32 = 6,
        Single = 7,
        Double = 9,
        Int64 = 12,
        UInt64 = 13,
        Matrix = 14,
        Compressed = 15,
        Utf8 = 16,
        Utf16 = 17,
    }

    private enum ArrayType : uint
    {
        Struct = 2,
        Text = 4,
        Double = 6,
        UInt64 = 15,
    }

    /// <summary>A data element: a type and some bytes.</summary>
    private readonly ref struct Element(ElementType type, int offset, ReadOnlySpan<byte> content)
    {
        public ElementType Type => type;

        public int Offset => offset;

        public ReadOnlySpan<byte> Content { get; } = content;

        public uint UInt32(Reader reader) =>
            Content.Length >= 4 ? BinaryPrimitives.ReadUInt32LittleEndian(Content) : throw reader.Damaged($"{Content.Length} bytes, expected a number of 4");

        public string Text(Reader reader) => type switch
        {
            ElementType.Int8 or ElementType.UInt8 or ElementType.Utf8 => Encoding.UTF8.GetString(Content),
            ElementType.UInt16 or ElementType.Utf16 => Encoding.Unicode.GetString(Content),
            _ => throw reader.Damaged($"a text of type {type}"),
        };

        public double Number(Reader reader)
        {
            try
            {
                return type switch
                {
                    ElementType.Int8 => (sbyte)Content[0],
                    ElementType.UInt8 => Content[0],
                    ElementType.Int16 => BinaryPrimitives.ReadInt16LittleEndian(Content),
                    ElementType.UInt16 => BinaryPrimitives.ReadUInt16LittleEndian(Content),
                    ElementType.Int32 => BinaryPrimitives.ReadInt32LittleEndian(Content),
                    ElementType.UInt32 => BinaryPrimitives.ReadUInt32LittleEndian(Content),
                    ElementType.Single => BinaryPrimitives.ReadSingleLittleEndian(Content),
                    ElementType.Double => BinaryPrimitives.ReadDoubleLittleEndian(Content),
                    ElementType.Int64 => BinaryPrimitives.ReadInt64LittleEndian(Content),
                    ElementType.UInt64 => BinaryPrimitives.ReadUInt64LittleEndian(Content),
                    _ => throw reader.Damaged($"a number of type {type}"),
                };
            }
            catch (Exception e) when (e is ArgumentOutOfRangeException or IndexOutOfRangeException)
            {
                throw reader.Damaged($"{Content.Length} bytes for a number of type {type}");
            }
        }
    }

    /// <summary>Reads data elements one after another.</summary>
    private ref struct Reader(string name, ReadOnlySpan<byte> bytes, int position, int origin = 0)
    {
        private readonly ReadOnlySpan<byte> _bytes = bytes;
        private int _position = position;

        public readonly string Name => name;

        public readonly int Left => _bytes.Length - _position;

        public readonly bool IsAtEnd => _position >= _bytes.Length;

        public Element Next()
        {
            if (Left < 8) throw Damaged("the data end here, expected an element");
            uint first = BinaryPrimitives.ReadUInt32LittleEndian(_bytes[_position..]), second = BinaryPrimitives.ReadUInt32LittleEndian(_bytes[(_position + 4)..]);
            // Up to four bytes fit into the tag; their number is then in the upper half of the type.
            bool isSmall = first >> 16 != 0;
            int start = _position + (isSmall ? 4 : 8);
            uint length = isSmall ? first >> 16 : second;
            if (isSmall ? length > 4 : length > _bytes.Length - start) throw Damaged($"an element of {length} bytes, {(isSmall ? 4 : _bytes.Length - start)} are there");
            var type = (ElementType)(isSmall ? first & 0xFFFF : first);
            // Other elements begin at multiples of 8 bytes.
            long next = isSmall ? start + 4 : start + (type == ElementType.Compressed ? length : (length + 7L) / 8 * 8);
            _position = (int)Math.Min(next, _bytes.Length);
            return new Element(type, origin + start, _bytes.Slice(start, (int)length));
        }

        public readonly InvalidDataException Damaged(string what) => new($"{name}, offset {origin + _position}: {what}");
    }
}
