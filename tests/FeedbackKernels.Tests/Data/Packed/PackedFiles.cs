using System.Buffers.Binary;
using FeedbackKernels.Data;

namespace FeedbackKernels.Tests.Data.Packed;

/// <summary>The bytes of packed files, to change them.</summary>
internal static class PackedFiles
{
    private const int Page = 65536, Entry = 32;

    public static byte[] Make(string folder, DataSet data, PackOptions? options = null)
    {
        string path = Path.Combine(folder, "made.packed");
        Packer.Pack(data, path, options ?? new PackOptions { Overwrite = true }, new PackLog(), TestContext.Current.CancellationToken);
        byte[] file = File.ReadAllBytes(path);
        File.Delete(path);
        return file;
    }

    public static long IndexOffset(byte[] file) => BinaryPrimitives.ReadInt64LittleEndian(file.AsSpan(56));

    /// <summary>The entry of an image.</summary>
    public static Span<byte> EntryOf(byte[] file, int number) => file.AsSpan((int)IndexOffset(file) + number * Entry, Entry);

    /// <summary>Makes the checksums of the index's pages and of the header right again, as far as the header says where these are.</summary>
    public static byte[] WithRightChecksums(byte[] file)
    {
        if (file.Length < Page) return file;
        long length = BinaryPrimitives.ReadUInt32LittleEndian(file.AsSpan(12)), index = IndexOffset(file), bytes = BinaryPrimitives.ReadInt64LittleEndian(file.AsSpan(64));
        long checksums = (96 + (long)BinaryPrimitives.ReadInt32LittleEndian(file.AsSpan(72)) + 7) / 8 * 8;
        if (length < 104 || length > file.Length) return file;
        if (index >= 0 && bytes >= 0 && index <= file.Length && bytes <= file.Length - index)
        {
            for (long page = 0; page * Page < bytes; page++)
            {
                ulong checksum = PackedFormat.Checksum(file.AsSpan((int)(index + page * Page), (int)Math.Min(Page, bytes - page * Page)));
                if (checksums >= 96 && checksums + 8 * page + 8 <= length - 8) BinaryPrimitives.WriteUInt64LittleEndian(file.AsSpan((int)(checksums + 8 * page)), checksum);
            }
        }

        BinaryPrimitives.WriteUInt64LittleEndian(file.AsSpan((int)length - 8), PackedFormat.Checksum(file.AsSpan(0, (int)length - 8)));
        return file;
    }

    /// <summary>Reads every image of both halves.</summary>
    public static void ReadAll(PackedFile file)
    {
        foreach (PackedImages half in (PackedImages[])[file.Train, file.Test])
        {
            for (int i = 0; i < half.Count; i++)
            {
                half.ReadAll([i]);
                Assert.InRange(half.Label(i), 0, file.ClassNames.Count - 1);
            }
        }
    }
}
