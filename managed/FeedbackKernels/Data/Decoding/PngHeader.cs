using System.Buffers.Binary;

namespace FeedbackKernels.Data;

/// <summary>Reads the header of a PNG file: IHDR, and the orientation of its EXIF data.</summary>
internal static class PngHeader
{
    private const string Name = "PNG";
    private const int Grey = 0, GreyAlpha = 4, ChunkHeader = 8, Checksum = 4;

    private static ReadOnlySpan<byte> Signature => [0x89, (byte)'P', (byte)'N', (byte)'G', 0x0D, 0x0A, 0x1A, 0x0A];

    public static bool Matches(ReadOnlySpan<byte> encoded) => encoded.StartsWith(Signature);

    /// <exception cref="InvalidDataException">The header is damaged.</exception>
    public static StoredImage Read(ReadOnlySpan<byte> encoded)
    {
        const int ihdr = 13;
        ReadOnlySpan<byte> head = StoredImage.Slice(encoded, Signature.Length, ChunkHeader + ihdr + Checksum, Name);
        if (BinaryPrimitives.ReadUInt32BigEndian(head) != ihdr || !head[4..].StartsWith("IHDR"u8))
            throw new InvalidDataException($"{Name}: the first chunk is {Convert.ToHexString(head[..ChunkHeader])}; wanted IHDR with {ihdr} bytes");
        head = head[ChunkHeader..];
        uint columns = BinaryPrimitives.ReadUInt32BigEndian(head), rows = BinaryPrimitives.ReadUInt32BigEndian(head[4..]);
        StoredImage.CheckSize(rows, columns, Name);
        int colour = head[9], interlace = head[12];
        if (interlace > 1) throw new InvalidDataException($"{Name}: interlace method {interlace}; wanted 0 or 1");
        (Orientation orientation, bool ends) = ReadChunks(encoded, Signature.Length + ChunkHeader + ihdr + Checksum);
        return new StoredImage(ImageFormat.Png, (int)rows, (int)columns, colour is Grey or GreyAlpha)
        {
            IsHeldWhole = interlace == 1,
            Orientation = orientation,
            IsCutOff = !ends,
        };
    }

    /// <summary>Looks for EXIF data and for the end.</summary>
    private static (Orientation Orientation, bool Ends) ReadChunks(ReadOnlySpan<byte> encoded, long offset)
    {
        var orientation = Orientation.Upright;
        while (offset <= encoded.Length - ChunkHeader)
        {
            ReadOnlySpan<byte> chunk = encoded[(int)offset..];
            uint length = BinaryPrimitives.ReadUInt32BigEndian(chunk);
            if (chunk[4..].StartsWith("IEND"u8)) return (orientation, true);
            if (chunk[4..].StartsWith("eXIf"u8) && length <= chunk.Length - ChunkHeader) orientation = Orientation.Read(chunk.Slice(ChunkHeader, (int)length));
            offset += ChunkHeader + (long)length + Checksum;
        }

        return (orientation, false);
    }
}
