using System.Buffers.Binary;

namespace FeedbackKernels.Data;

/// <summary>Reads the header of a JPEG file: size, components, sampling, process, and the orientation of its EXIF data (ITU-T T.81, annex B).</summary>
internal static class JpegHeader
{
    private const string Name = "JPEG";
    private const byte StartOfImage = 0xD8, EndOfImage = 0xD9, StartOfScan = 0xDA, Exif = 0xE1;
    private const byte FirstFrame = 0xC0, LastFrame = 0xCF, HuffmanTables = 0xC4, Extension = 0xC8, ArithmeticConditioning = 0xCC;
    private const byte Baseline = 0xC0, ExtendedSequential = 0xC1, Progressive = 0xC2;
    private const int BlockSize = 8;

    public static bool Matches(ReadOnlySpan<byte> encoded) => encoded is [0xFF, StartOfImage, 0xFF, ..];

    /// <exception cref="InvalidDataException">The header is damaged, or its process is not supported.</exception>
    public static StoredImage Read(ReadOnlySpan<byte> encoded)
    {
        StoredImage? frame = null;
        var orientation = Orientation.Upright;
        int offset = 2;
        while (true)
        {
            byte marker = NextMarker(encoded, ref offset);
            if (marker is StartOfScan or EndOfImage) break;
            if (marker is 0 or 0x01 or (>= 0xD0 and <= StartOfImage)) continue; // Without content.
            int length = BinaryPrimitives.ReadUInt16BigEndian(StoredImage.Slice(encoded, offset, 2, Name));
            if (length < 2) throw new InvalidDataException($"{Name}: offset {offset}: a segment of {length} bytes; wanted at least 2");
            ReadOnlySpan<byte> segment = StoredImage.Slice(encoded, offset + 2, length - 2, Name);
            if (marker == Exif && segment.StartsWith("Exif\0\0"u8)) orientation = Orientation.Read(segment);
            else if (marker is >= FirstFrame and <= LastFrame and not HuffmanTables and not Extension and not ArithmeticConditioning)
                frame ??= ReadFrame(marker, segment);
            offset += length;
        }

        return frame is { } found
            ? found with { Orientation = orientation, PixelOffset = offset, IsCutOff = encoded[offset..].LastIndexOf([(byte)0xFF, EndOfImage]) < 0 }
            : throw new InvalidDataException($"{Name}: there is no frame header before the first scan, at offset {offset}");
    }

    private static byte NextMarker(ReadOnlySpan<byte> encoded, ref int offset)
    {
        // Bytes between segments are skipped, as libjpeg does.
        int start = offset < encoded.Length ? encoded[offset..].IndexOf((byte)0xFF) : -1;
        if (start >= 0)
        {
            int after = encoded[(offset + start)..].IndexOfAnyExcept((byte)0xFF);
            if (after > 0)
            {
                offset += start + after + 1;
                return encoded[offset - 1];
            }
        }

        throw new InvalidDataException($"{Name}: the header is cut off: there is no marker after offset {offset}, there are {encoded.Length} bytes");
    }

    private static StoredImage ReadFrame(byte marker, ReadOnlySpan<byte> segment)
    {
        if (marker is not (Baseline or ExtendedSequential or Progressive))
            throw new InvalidDataException($"{Name}: process SOF{marker - FirstFrame} is not supported; wanted baseline, extended sequential or progressive with Huffman coding");
        ReadOnlySpan<byte> fixedPart = StoredImage.Slice(segment, 0, 6, $"{Name} frame");
        int precision = fixedPart[0], components = fixedPart[5];
        int rows = BinaryPrimitives.ReadUInt16BigEndian(fixedPart[1..]), columns = BinaryPrimitives.ReadUInt16BigEndian(fixedPart[3..]);
        if (precision != 8) throw new InvalidDataException($"{Name}: {precision} bits a sample; wanted 8");
        if (components is not (1 or 3 or 4)) throw new InvalidDataException($"{Name}: {components} components; wanted 1, 3 or 4");
        StoredImage.CheckSize(rows, columns, Name);
        ReadOnlySpan<byte> samplings = StoredImage.Slice(segment, 6, 3 * components, $"{Name} frame");
        int widest = 1;
        for (int i = 0; i < components; i++) widest = Math.Max(widest, samplings[3 * i + 1] >> 4);
        return new StoredImage(ImageFormat.Jpeg, rows, columns, components == 1)
        {
            BlockColumns = components == 1 ? BlockSize : BlockSize * widest,
            IsHeldWhole = marker == Progressive,
        };
    }
}
