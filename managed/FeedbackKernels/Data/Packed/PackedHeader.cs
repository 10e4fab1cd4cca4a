using System.Buffers.Binary;
using System.Security.Cryptography;
using Microsoft.Win32.SafeHandles;

namespace FeedbackKernels.Data;

/// <summary>
/// The header of a packed file. Layout: magic (8 bytes), format version (4), length of the header (4), length of the file (8), number of
/// training images (8), number of test images (8), offset and length of the image data (8, 8), offset and length of the index (8, 8),
/// length of the description (4), bytes of a page (4), bytes of an entry (4), zeros (4), bytes 88 to 95 zero; from byte 96 on the
/// description (<see cref="PackedDescription"/>, JSON in UTF-8); from the next multiple of 8 on the checksums of the index's pages (8 each);
/// zeros; in the last 8 bytes the checksum of all bytes before.
/// </summary>
/// <param name="Description">Class names, statistics, preparation.</param>
/// <param name="Length">Bytes of the header.</param>
/// <param name="TrainCount">Training images.</param>
/// <param name="TestCount">Test images.</param>
/// <param name="DataLength">Bytes of all images.</param>
/// <param name="PageChecksums">The checksum of each page of the index.</param>
internal sealed record PackedHeader(
    PackedDescription Description, int Length, int TrainCount, int TestCount, long DataLength, IReadOnlyList<ulong> PageChecksums)
{
    private const int DescriptionAt = 96, ChecksumBytes = 8, MostBytes = 1 << 30;
    private const int VersionAt = 8, LengthAt = 12, FileLengthAt = 16, TrainAt = 24, TestAt = 32, DataAt = 40, DataLengthAt = 48, IndexAt = 56,
        IndexLengthAt = 64, DescriptionLengthAt = 72, PageBytesAt = 76, EntryBytesAt = 80;

    // Room for the numbers of the description, which are not known when the header's length is chosen.
    private const int NumbersBytes = 4096;

    /// <summary>All images.</summary>
    public long Count => (long)TrainCount + TestCount;

    /// <summary>Where the image data begin.</summary>
    public long DataOffset => Length;

    /// <summary>Where the index begins.</summary>
    public long IndexOffset => DataOffset + DataLength;

    /// <summary>Bytes of the index.</summary>
    public long IndexLength => Count * PackedFormat.EntryBytes;

    /// <summary>Bytes of the file.</summary>
    public long FileLength => IndexOffset + IndexLength;

    /// <summary>SHA-256 of the header, in lower-case hexadecimal. As the header has the checksums of all that follows, it identifies the
    /// content of the file.</summary>
    public string Sha256 { get; private init; } = "";

    /// <summary>A length that suffices for the header of a file.</summary>
    /// <param name="description">The description; its means and deviations may still be unknown.</param>
    /// <param name="images">Images that the file will have at most.</param>
    /// <exception cref="ArgumentException">There are too many.</exception>
    public static int LengthFor(PackedDescription description, long images)
    {
        long bytes = DescriptionAt + description.ToJson().LongLength + NumbersBytes + PackedFormat.PagesOf(images) * ChecksumBytes + ChecksumBytes;
        long length = RoundUp(bytes, PackedFormat.PageBytes);
        return length <= MostBytes ? (int)length : throw new ArgumentException($"{images} images need a header of {length} bytes, at most {MostBytes} are possible", nameof(images));
    }

    /// <summary>The bytes of the header.</summary>
    public byte[] ToBytes()
    {
        var bytes = new byte[Length];
        PackedFormat.Magic.CopyTo(bytes);
        byte[] description = Description.ToJson();
        Write32(VersionAt, PackedFormat.Version);
        Write32(LengthAt, Length);
        Write64(FileLengthAt, FileLength);
        Write64(TrainAt, TrainCount);
        Write64(TestAt, TestCount);
        Write64(DataAt, DataOffset);
        Write64(DataLengthAt, DataLength);
        Write64(IndexAt, IndexOffset);
        Write64(IndexLengthAt, IndexLength);
        Write32(DescriptionLengthAt, description.Length);
        Write32(PageBytesAt, PackedFormat.PageBytes);
        Write32(EntryBytesAt, PackedFormat.EntryBytes);
        description.CopyTo(bytes, DescriptionAt);
        int at = ChecksumsAt(description.Length);
        for (int page = 0; page < PageChecksums.Count; page++)
            BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(at + page * ChecksumBytes, ChecksumBytes), PageChecksums[page]);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(Length - ChecksumBytes), PackedFormat.Checksum(bytes.AsSpan(0, Length - ChecksumBytes)));
        return bytes;

        void Write32(int offset, int value) => BinaryPrimitives.WriteInt32LittleEndian(bytes.AsSpan(offset), value);
        void Write64(int offset, long value) => BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(offset), value);
    }

    /// <summary>Reads the header of a file and checks it.</summary>
    /// <param name="file">The file.</param>
    /// <param name="path">Its name, for messages.</param>
    /// <exception cref="IOException">The file cannot be read.</exception>
    /// <exception cref="InvalidDataException">The file is not a packed file, is damaged or truncated, or is of a newer version.</exception>
    public static PackedHeader Read(SafeFileHandle file, string path)
    {
        byte[] bytes = ReadBytes(file, path);
        RequireChecksum(bytes, path);
        long fileLength = Number(FileLengthAt), found = RandomAccess.GetLength(file);
        if (found != fileLength)
            throw new InvalidDataException($"{path}, offset {Math.Min(found, fileLength)}: the file has {found} bytes, its header says {fileLength}: it is {(found < fileLength ? "truncated" : "too long")}");
        int descriptionLength = BinaryPrimitives.ReadInt32LittleEndian(bytes.AsSpan(DescriptionLengthAt));
        (int train, int test) = (Count(TrainAt, "training images"), Count(TestAt, "test images"));
        int pages = (int)PackedFormat.PagesOf((long)train + test);
        long needed = descriptionLength < 0 ? long.MaxValue : ChecksumsAt((long)descriptionLength) + (long)pages * ChecksumBytes + ChecksumBytes;
        if (needed > bytes.Length)
            throw new InvalidDataException($"{path}, offset {DescriptionLengthAt}: a description of {descriptionLength} bytes and {pages} checksums of pages, expected such as fit into the header of {bytes.Length} bytes");
        RequireConstant(PageBytesAt, PackedFormat.PageBytes, "bytes of a page");
        RequireConstant(EntryBytesAt, PackedFormat.EntryBytes, "bytes of an entry");
        var description = PackedDescription.Parse(bytes.AsSpan(DescriptionAt, descriptionLength), $"{path}, offset {DescriptionAt}");
        var checksums = new ulong[pages];
        for (int page = 0; page < pages; page++)
            checksums[page] = BinaryPrimitives.ReadUInt64LittleEndian(bytes.AsSpan(ChecksumsAt(descriptionLength) + page * ChecksumBytes));
        long dataLength = Number(DataLengthAt);
        if (dataLength < 0 || dataLength > fileLength)
            throw new InvalidDataException($"{path}, offset {DataLengthAt}: {dataLength} bytes of image data, expected 0 to {fileLength}");
        var header = new PackedHeader(description, bytes.Length, train, test, dataLength, checksums) { Sha256 = Convert.ToHexStringLower(SHA256.HashData(bytes)) };
        Require(DataAt, header.DataOffset, "offset of the image data");
        Require(IndexAt, header.IndexOffset, "offset of the index");
        Require(IndexLengthAt, header.IndexLength, "length of the index");
        Require(FileLengthAt, header.FileLength, "length of the file");
        return header;

        long Number(int at) => BinaryPrimitives.ReadInt64LittleEndian(bytes.AsSpan(at));
        int Count(int at, string what) => Number(at) is > 0 and <= int.MaxValue and var count
            ? (int)count
            : throw new InvalidDataException($"{path}, offset {at}: {Number(at)} {what}, expected 1 to {int.MaxValue}");
        void Require(int at, long expected, string what)
        {
            if (Number(at) != expected) throw new InvalidDataException($"{path}, offset {at}: {what} {Number(at)}, expected {expected}");
        }

        void RequireConstant(int at, int expected, string what)
        {
            int value = BinaryPrimitives.ReadInt32LittleEndian(bytes.AsSpan(at));
            if (value != expected) throw new InvalidDataException($"{path}, offset {at}: {value} {what}, expected {expected}");
        }
    }

    private static byte[] ReadBytes(SafeFileHandle file, string path)
    {
        long fileLength = RandomAccess.GetLength(file);
        var head = new byte[Math.Min(fileLength, FoundInstead.HeadBytes)];
        PackedRead.Exactly(file, head, 0, () => $"{path}, header");
        if (!head.AsSpan().StartsWith(PackedFormat.Magic))
        {
            throw FoundInstead.Error(path, head, "a packed file, as `feedback pack` writes it")
                ?? new InvalidDataException($"{path}, offset 0: this is not a packed file, as `feedback pack` writes it");
        }

        if (fileLength < DescriptionAt) throw new InvalidDataException($"{path}, offset {fileLength}: the file ends within its header");
        int version = BinaryPrimitives.ReadInt32LittleEndian(head.AsSpan(VersionAt)), length = BinaryPrimitives.ReadInt32LittleEndian(head.AsSpan(LengthAt));
        if (version != PackedFormat.Version)
            throw new InvalidDataException($"{path}, offset {VersionAt}: format version {version}, this program reads version {PackedFormat.Version}");
        if (length <= 0 || length % PackedFormat.PageBytes != 0 || length > MostBytes)
            throw new InvalidDataException($"{path}, offset {LengthAt}: a header of {length} bytes, expected a multiple of {PackedFormat.PageBytes} up to {MostBytes}");
        if (length > fileLength)
            throw new InvalidDataException($"{path}, offset {fileLength}: the file ends within its header, which has {length} bytes");
        var bytes = new byte[length];
        PackedRead.Exactly(file, bytes, 0, () => $"{path}, header");
        return bytes;
    }

    private static void RequireChecksum(byte[] bytes, string path)
    {
        int at = bytes.Length - ChecksumBytes;
        ulong expected = BinaryPrimitives.ReadUInt64LittleEndian(bytes.AsSpan(at)), found = PackedFormat.Checksum(bytes.AsSpan(0, at));
        if (found != expected)
            throw new InvalidDataException($"{path}, offset 0: the header is damaged: its checksum is {found:x16}, expected {expected:x16}");
    }

    private static int ChecksumsAt(int descriptionLength) => (int)ChecksumsAt((long)descriptionLength);

    private static long ChecksumsAt(long descriptionLength) => RoundUp(DescriptionAt + descriptionLength, ChecksumBytes);

    private static long RoundUp(long value, long unit) => (value + unit - 1) / unit * unit;
}
