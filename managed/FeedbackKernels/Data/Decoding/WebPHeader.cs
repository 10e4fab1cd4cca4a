using System.Buffers.Binary;

namespace FeedbackKernels.Data;

/// <summary>Reads the header of a WebP file: VP8, VP8L or VP8X, and the orientation of its EXIF data (RFC 9649).</summary>
internal static class WebPHeader
{
    private const string Name = "WebP";
    // The length of the file in its header counts from byte 8 on.
    private const int FirstCounted = 8, FileHeader = 12, ChunkHeader = 8, DimensionMask = 0x3FFF;

    public static bool Matches(ReadOnlySpan<byte> encoded) => encoded.Length >= FileHeader && encoded.StartsWith("RIFF"u8) && encoded[8..].StartsWith("WEBP"u8);

    /// <exception cref="InvalidDataException">The header is damaged.</exception>
    public static StoredImage Read(ReadOnlySpan<byte> encoded)
    {
        ReadOnlySpan<byte> chunk = StoredImage.Slice(encoded, FileHeader, ChunkHeader + 10, Name);
        ReadOnlySpan<byte> content = chunk[ChunkHeader..];
        (int columns, int rows) =
            chunk.StartsWith("VP8X"u8) ? (1 + Read24(content[4..]), 1 + Read24(content[7..]))
            : chunk.StartsWith("VP8L"u8) ? LosslessSize(content)
            : chunk.StartsWith("VP8 "u8) ? LossySize(content)
            : throw new InvalidDataException($"{Name}: the first chunk is {Convert.ToHexString(chunk[..4])}; wanted VP8, VP8L or VP8X");
        StoredImage.CheckSize(rows, columns, Name);
        return new StoredImage(ImageFormat.WebP, rows, columns, IsGrey: false)
        {
            Orientation = chunk.StartsWith("VP8X"u8) ? FindOrientation(encoded) : Orientation.Upright,
            IsCutOff = BinaryPrimitives.ReadUInt32LittleEndian(encoded[4..]) > encoded.Length - FirstCounted,
        };
    }

    private static (int Columns, int Rows) LosslessSize(ReadOnlySpan<byte> content)
    {
        if (content[0] != 0x2F) throw new InvalidDataException($"{Name}: lossless data begin with {content[0]:X2}; wanted 2F");
        uint bits = BinaryPrimitives.ReadUInt32LittleEndian(content[1..]);
        return (1 + (int)(bits & DimensionMask), 1 + (int)(bits >> 14 & DimensionMask));
    }

    private static (int Columns, int Rows) LossySize(ReadOnlySpan<byte> content)
    {
        if (content[3..] is not [0x9D, 0x01, 0x2A, ..]) throw new InvalidDataException($"{Name}: lossy data do not begin with a key frame");
        return (BinaryPrimitives.ReadUInt16LittleEndian(content[6..]) & DimensionMask, BinaryPrimitives.ReadUInt16LittleEndian(content[8..]) & DimensionMask);
    }

    private static Orientation FindOrientation(ReadOnlySpan<byte> encoded)
    {
        long offset = FileHeader;
        while (offset <= encoded.Length - ChunkHeader)
        {
            ReadOnlySpan<byte> chunk = encoded[(int)offset..];
            uint length = BinaryPrimitives.ReadUInt32LittleEndian(chunk[4..]);
            if (chunk.StartsWith("EXIF"u8) && length <= chunk.Length - ChunkHeader) return Orientation.Read(chunk.Slice(ChunkHeader, (int)length));
            offset += ChunkHeader + (long)length + (length & 1);
        }

        return Orientation.Upright;
    }

    private static int Read24(ReadOnlySpan<byte> bytes) => bytes[0] | bytes[1] << 8 | bytes[2] << 16;
}
