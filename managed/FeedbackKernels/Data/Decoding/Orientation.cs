using System.Buffers.Binary;

namespace FeedbackKernels.Data;

/// <summary>
/// The orientation tag of EXIF: how the stored pixels must be turned to be upright. Stored columns are upright columns, or upright rows if
/// <see cref="IsTransposed"/>; either may run backwards.
/// </summary>
/// <param name="Value">1 to 8; 1 is upright.</param>
internal readonly record struct Orientation(int Value)
{
    private const int Tag = 0x112, ShortType = 3;

    public static Orientation Upright => new(1);

    /// <summary>Whether stored columns are upright rows.</summary>
    public bool IsTransposed => Value >= 5;

    /// <summary>Whether the stored columns run backwards.</summary>
    public bool ReversesColumns => Value is 2 or 3 or 7 or 8;

    /// <summary>Whether the stored rows run backwards.</summary>
    public bool ReversesRows => Value is 3 or 4 or 6 or 7;

    /// <summary>Looks for the tag in the EXIF data (a TIFF header and its first directory). Damaged EXIF data do not make an image unusable: upright.</summary>
    public static Orientation Read(ReadOnlySpan<byte> exif)
    {
        ReadOnlySpan<byte> prefix = "Exif\0\0"u8;
        if (exif.StartsWith(prefix)) exif = exif[prefix.Length..];
        if (exif.Length < 8) return Upright;
        bool little = exif.StartsWith("II*\0"u8);
        if (!little && !exif.StartsWith("MM\0*"u8)) return Upright;
        uint directory = little ? BinaryPrimitives.ReadUInt32LittleEndian(exif[4..]) : BinaryPrimitives.ReadUInt32BigEndian(exif[4..]);
        if (directory > exif.Length - 2) return Upright;
        int entries = Short(exif[(int)directory..], little);
        ReadOnlySpan<byte> entry = exif[((int)directory + 2)..];
        for (; entries > 0 && entry.Length >= 12; entries--, entry = entry[12..])
        {
            if (Short(entry, little) != Tag) continue;
            int value = Short(entry[8..], little);
            return Short(entry[2..], little) == ShortType && value is >= 1 and <= 8 ? new(value) : Upright;
        }

        return Upright;
    }

    private static int Short(ReadOnlySpan<byte> bytes, bool little) =>
        little ? BinaryPrimitives.ReadUInt16LittleEndian(bytes) : BinaryPrimitives.ReadUInt16BigEndian(bytes);
}
