using System.Buffers.Binary;

namespace FeedbackKernels.Data;

/// <summary>What the index of a packed file says about an image. Layout: offset (8 bytes), checksum (8), length (4), label (4), rows (2),
/// columns (2), format (1), three zero bytes.</summary>
/// <param name="Offset">Position of its first byte in the file.</param>
/// <param name="Checksum">XXH3-64 of its bytes.</param>
/// <param name="Length">Its bytes.</param>
/// <param name="Label">Its class.</param>
/// <param name="Rows">Rows of the upright image.</param>
/// <param name="Columns">Columns of the upright image.</param>
/// <param name="Format">Its encoding.</param>
internal readonly record struct PackedEntry(long Offset, ulong Checksum, int Length, int Label, int Rows, int Columns, ImageFormat Format)
{
    private const int ChecksumAt = 8, LengthAt = 16, LabelAt = 20, RowsAt = 24, ColumnsAt = 26, FormatAt = 28, ZerosAt = 29;

    /// <summary>Position after its last byte.</summary>
    public long End => Offset + Length;

    /// <summary>Writes the entry.</summary>
    public void Write(Span<byte> bytes)
    {
        BinaryPrimitives.WriteInt64LittleEndian(bytes, Offset);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes[ChecksumAt..], Checksum);
        BinaryPrimitives.WriteInt32LittleEndian(bytes[LengthAt..], Length);
        BinaryPrimitives.WriteInt32LittleEndian(bytes[LabelAt..], Label);
        BinaryPrimitives.WriteUInt16LittleEndian(bytes[RowsAt..], checked((ushort)Rows));
        BinaryPrimitives.WriteUInt16LittleEndian(bytes[ColumnsAt..], checked((ushort)Columns));
        bytes[FormatAt] = (byte)Format;
        bytes[ZerosAt..PackedFormat.EntryBytes].Clear();
    }

    /// <summary>Reads an entry without a check of its values.</summary>
    public static PackedEntry Read(ReadOnlySpan<byte> bytes) => new(
        BinaryPrimitives.ReadInt64LittleEndian(bytes),
        BinaryPrimitives.ReadUInt64LittleEndian(bytes[ChecksumAt..]),
        BinaryPrimitives.ReadInt32LittleEndian(bytes[LengthAt..]),
        BinaryPrimitives.ReadInt32LittleEndian(bytes[LabelAt..]),
        BinaryPrimitives.ReadUInt16LittleEndian(bytes[RowsAt..]),
        BinaryPrimitives.ReadUInt16LittleEndian(bytes[ColumnsAt..]),
        (ImageFormat)bytes[FormatAt]);

    /// <summary>What is wrong with the values; null if nothing is.</summary>
    /// <param name="dataStart">Where the image data begin.</param>
    /// <param name="dataEnd">Where they end.</param>
    /// <param name="classes">Number of classes.</param>
    public string? Fault(long dataStart, long dataEnd, int classes)
    {
        if (Length <= 0) return $"length {Length}, expected a positive number";
        if (Offset < dataStart || Offset > dataEnd - Length)
            return $"{Length} bytes at offset {Offset}, expected a place within the image data, {dataStart} to {dataEnd}";
        if ((uint)Label >= (uint)classes) return $"label {Label}, expected 0 to {classes - 1}";
        if (Rows == 0 || Columns == 0) return $"an image of {Rows}x{Columns}, expected at least 1x1";
        return Format is >= ImageFormat.Jpeg and <= ImageFormat.Pnm ? null : $"format {(int)Format}, expected 0 to {(int)ImageFormat.Pnm}";
    }
}
