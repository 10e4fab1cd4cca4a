namespace FeedbackKernels.Data;

/// <summary>What the header of an encoded image says, in the terms of the file: rows and columns before the orientation is applied.</summary>
/// <param name="Format">The format.</param>
/// <param name="Rows">Rows as they are stored.</param>
/// <param name="Columns">Columns as they are stored.</param>
/// <param name="IsGrey">Whether the image has one channel.</param>
internal readonly record struct StoredImage(ImageFormat Format, int Rows, int Columns, bool IsGrey)
{
    /// <summary>How the stored pixels are turned.</summary>
    public Orientation Orientation { get; init; } = Orientation.Upright;

    /// <summary>JPEG: columns of the blocks in which it is decoded.</summary>
    public int BlockColumns { get; init; } = 1;

    /// <summary>Whether the decoder holds the whole image in memory while it decodes: progressive JPEG, interlaced PNG.</summary>
    public bool IsHeldWhole { get; init; }

    /// <summary>Whether the end of the file is missing.</summary>
    public bool IsCutOff { get; init; }

    /// <summary>JPEG: offset of the first scan. PNM: offset of the pixels.</summary>
    public int PixelOffset { get; init; }

    /// <summary>PNM: the value of white.</summary>
    public int Maximum { get; init; } = byte.MaxValue;

    /// <summary>The header as the users of the decoder see it.</summary>
    public ImageHeader Upright => new(Format, Orientation.IsTransposed ? Columns : Rows, Orientation.IsTransposed ? Rows : Columns, IsGrey);

    /// <summary>Reads the header of an encoded image.</summary>
    /// <exception cref="InvalidDataException">The bytes are not an image of a known format, or its header is damaged.</exception>
    public static StoredImage Read(ReadOnlySpan<byte> encoded)
    {
        if (JpegHeader.Matches(encoded)) return JpegHeader.Read(encoded);
        if (PngHeader.Matches(encoded)) return PngHeader.Read(encoded);
        if (WebPHeader.Matches(encoded)) return WebPHeader.Read(encoded);
        if (PnmHeader.Matches(encoded)) return PnmHeader.Read(encoded);
        throw new InvalidDataException(
            encoded.IsEmpty ? "an empty file is no image" : $"not a JPEG, PNG, WebP or PNM image: it begins with {Convert.ToHexString(encoded[..Math.Min(8, encoded.Length)])}");
    }

    /// <summary>A part of the bytes.</summary>
    /// <exception cref="InvalidDataException">There are not that many bytes.</exception>
    public static ReadOnlySpan<byte> Slice(ReadOnlySpan<byte> encoded, long offset, int length, string format) =>
        offset >= 0 && offset <= encoded.Length - length
            ? encoded.Slice((int)offset, length)
            : throw new InvalidDataException($"{format}: the header is cut off: it needs {length} bytes at offset {offset}, there are {encoded.Length}");

    /// <summary>Checks the size that a header gives.</summary>
    /// <exception cref="InvalidDataException">There are no rows or columns, or more than a decoder takes.</exception>
    public static void CheckSize(long rows, long columns, string format)
    {
        const int most = 1 << 24;
        if (rows is < 1 or > most || columns is < 1 or > most)
            throw new InvalidDataException($"{format}: {rows} rows and {columns} columns; wanted 1 to {most} of each");
    }
}
