namespace FeedbackKernels.Data;

/// <summary>Reads the header of a binary Netpbm file: P5 (grey) or P6 (colour), columns, rows, maximum, one white-space byte, then the pixels.</summary>
internal static class PnmHeader
{
    private const string Name = "PNM";

    public static bool Matches(ReadOnlySpan<byte> encoded) => encoded is [(byte)'P', (byte)'5' or (byte)'6', var next, ..] && (IsSpace(next) || next == '#');

    /// <exception cref="InvalidDataException">The header is damaged, or the pixels have more than 8 bits.</exception>
    public static StoredImage Read(ReadOnlySpan<byte> encoded)
    {
        int offset = 2;
        int columns = Number(encoded, ref offset), rows = Number(encoded, ref offset), maximum = Number(encoded, ref offset);
        StoredImage.CheckSize(rows, columns, Name);
        if (maximum is < 1 or > byte.MaxValue) throw new InvalidDataException($"{Name}: maximum {maximum}; wanted 1 to {byte.MaxValue}");
        if (!IsSpace(StoredImage.Slice(encoded, offset, 1, Name)[0])) throw new InvalidDataException($"{Name}: offset {offset}: wanted white space before the pixels");
        return new StoredImage(ImageFormat.Pnm, rows, columns, encoded[1] == '5') { PixelOffset = offset + 1, Maximum = maximum };
    }

    private static int Number(ReadOnlySpan<byte> encoded, ref int offset)
    {
        while (offset < encoded.Length && (IsSpace(encoded[offset]) || encoded[offset] == '#'))
        {
            if (encoded[offset] != '#')
            {
                offset++;
                continue;
            }

            int end = encoded[offset..].IndexOfAny((byte)'\n', (byte)'\r');
            offset = end < 0 ? encoded.Length : offset + end;
        }

        int value = 0, start = offset;
        for (; offset < encoded.Length && offset - start < 9 && encoded[offset] is >= (byte)'0' and <= (byte)'9'; offset++) value = 10 * value + encoded[offset] - '0';
        return offset > start ? value : throw new InvalidDataException($"{Name}: offset {start}: wanted a number");
    }

    private static bool IsSpace(byte value) => value is (byte)' ' or (byte)'\t' or (byte)'\n' or (byte)'\v' or (byte)'\f' or (byte)'\r';
}
