using System.Buffers.Binary;

namespace FeedbackKernels.Data;

/// <summary>A file of the idx format: a magic number, the sizes of the dimensions, then one byte an element.</summary>
/// <param name="Path">The file, for error messages.</param>
/// <param name="Sizes">Sizes of the dimensions.</param>
/// <param name="Content">The elements, the last dimension fastest.</param>
internal sealed record IdxFile(string Path, IReadOnlyList<int> Sizes, byte[] Content)
{
    private const int ImageMagic = 0x803, LabelMagic = 0x801, FirstPiece = 64 * 1024;

    /// <summary>Bytes before the elements.</summary>
    public int ContentOffset => HeaderBytes(Sizes.Count);

    /// <summary>Reads a file of images.</summary>
    /// <exception cref="IOException">The file does not exist or cannot be read.</exception>
    /// <exception cref="InvalidDataException">It is not a complete idx file of images.</exception>
    public static IdxFile ReadImages(string path) => Read(path, ImageMagic, dimensions: 3);

    /// <summary>Reads a file of labels.</summary>
    /// <exception cref="IOException">The file does not exist or cannot be read.</exception>
    /// <exception cref="InvalidDataException">It is not a complete idx file of labels.</exception>
    public static IdxFile ReadLabels(string path) => Read(path, LabelMagic, dimensions: 1);

    private static IdxFile Read(string path, int magic, int dimensions)
    {
        using FileStream file = DataFiles.Open(path);
        byte[] head = ReadHead(file);
        // The content decides whether the file is compressed, not its name.
        if (!GzipReader.IsGzip(head))
        {
            string plain = path.EndsWith(".gz", StringComparison.OrdinalIgnoreCase) ? path + " (not compressed by gzip)" : path;
            return Read(plain, file, head, file.Length, magic, dimensions);
        }

        file.Position = 0;
        using var gzip = new GzipReader(file, path);
        return Read(path + " (decompressed)", gzip, ReadHead(gzip), null, magic, dimensions);
    }

    /// <param name="path">The file, for error messages.</param>
    /// <param name="rest">What follows the head.</param>
    /// <param name="head">The beginning.</param>
    /// <param name="length">Length of head and rest; null if it is not known before reading.</param>
    /// <param name="magic">The expected magic number.</param>
    /// <param name="dimensions">Number of dimensions.</param>
    private static IdxFile Read(string path, Stream rest, byte[] head, long? length, int magic, int dimensions)
    {
        int[] sizes = ReadHeader(head, path, magic, dimensions);
        Int128 bytes = sizes.Aggregate(Int128.One, (product, size) => product * size), whole = bytes + HeaderBytes(dimensions);
        string form = $"expected {whole} bytes ({string.Join(" x ", sizes)} after the header)";
        if (length < whole) throw new InvalidDataException($"{path}, offset {length}: the file ends here, {form}");
        if (length > whole) throw new InvalidDataException($"{path}, offset {whole}: {length - whole} bytes follow, {form}");
        if (bytes > Array.MaxLength)
            throw new InvalidDataException($"{path}, offset 4: {string.Join(" x ", sizes)} is {bytes} bytes, the limit is {Array.MaxLength} bytes");
        byte[] start = head[HeaderBytes(dimensions)..];
        byte[] content = length is null ? ReadGrowing(rest, start, (int)bytes) : ReadWhole(rest, start, (int)bytes);
        if (content.Length < bytes)
            throw new InvalidDataException($"{path}, offset {HeaderBytes(dimensions) + content.Length}: the data ends here, {form}");
        if (start.Length > bytes || rest.ReadByte() >= 0) throw new InvalidDataException($"{path}, offset {whole}: more bytes follow, {form}");
        return new IdxFile(path, sizes, content);
    }

    private static int[] ReadHeader(byte[] head, string path, int magic, int dimensions)
    {
        string kind = dimensions == 1 ? "an idx file of labels" : "an idx file of images";
        if (FoundInstead.Error(path, head, kind) is { } error) throw error;
        if (head.Length < HeaderBytes(dimensions))
            throw new InvalidDataException($"{path}, offset {head.Length}: the file ends here, expected a header of {HeaderBytes(dimensions)} bytes");
        int found = BinaryPrimitives.ReadInt32BigEndian(head);
        if (found != magic) throw new InvalidDataException($"{path}, offset 0: magic number 0x{found:X8}, expected 0x{magic:X8} ({kind})");
        var sizes = new int[dimensions];
        for (int i = 0; i < dimensions; i++)
        {
            int offset = 4 + 4 * i;
            uint size = BinaryPrimitives.ReadUInt32BigEndian(head.AsSpan(offset));
            if (size is 0 or > int.MaxValue)
                throw new InvalidDataException($"{path}, offset {offset}: {SizeName(i)} {size}, expected a positive number below 2^31");
            sizes[i] = (int)size;
        }

        return sizes;
    }

    private static string SizeName(int dimension) => dimension switch { 0 => "number of images", 1 => "number of rows", _ => "number of columns" };

    private static int HeaderBytes(int dimensions) => 4 + 4 * dimensions;

    private static byte[] ReadHead(Stream stream)
    {
        var head = new byte[FoundInstead.HeadBytes];
        return head[..stream.ReadAtLeast(head, head.Length, throwOnEndOfStream: false)];
    }

    private static byte[] ReadWhole(Stream rest, byte[] start, int bytes)
    {
        var content = new byte[bytes];
        start.CopyTo(content, 0);
        int read = rest.ReadAtLeast(content.AsSpan(start.Length), bytes - start.Length, throwOnEndOfStream: false);
        return start.Length + read == bytes ? content : content[..(start.Length + read)];
    }

    /// <summary>Allocates memory as bytes arrive, because a damaged header may announce far more than the file holds.</summary>
    private static byte[] ReadGrowing(Stream rest, byte[] start, int bytes)
    {
        if (start.Length >= bytes) return start[..bytes];
        var content = new byte[Math.Min(bytes, FirstPiece)];
        int filled = start.Length;
        start.CopyTo(content, 0);
        while (true)
        {
            int read = rest.ReadAtLeast(content.AsSpan(filled), content.Length - filled, throwOnEndOfStream: false);
            filled += read;
            if (filled < content.Length) return content[..filled];
            if (filled == bytes) return content;
            Array.Resize(ref content, (int)Math.Min(bytes, 2L * content.Length));
        }
    }
}
