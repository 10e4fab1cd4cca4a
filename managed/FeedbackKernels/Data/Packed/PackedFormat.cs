using System.IO.Hashing;

namespace FeedbackKernels.Data;

/// <summary>
/// The numbers of the format of packed files. A packed file has three parts without gaps between them; all numbers are little-endian:
/// <list type="number">
/// <item>The header (<see cref="PackedHeader"/>): a multiple of 64 KiB that ends with the XXH3-64 checksum of all bytes before it.</item>
/// <item>The image data: encoded images (JPEG, PNG, WebP or raw pixels as PNM), one after another in a random order, the training
/// images before the test images.</item>
/// <item>The index: an entry (<see cref="PackedEntry"/>) of 32 bytes for each image in the order of the source, the training images before
/// the test images. The header has a checksum for each 64 KiB of it.</item>
/// </list>
/// So each byte of the file is covered by a checksum: the header's by its own, the index's by those in the header, and the images' by those
/// in the index.
/// </summary>
internal static class PackedFormat
{
    /// <summary>Version of the format that is written and read.</summary>
    public const int Version = 1;

    /// <summary>Bytes of a page of the index, and the unit of the header's length.</summary>
    public const int PageBytes = 64 * 1024;

    /// <summary>Bytes of an entry of the index.</summary>
    public const int EntryBytes = 32;

    /// <summary>Entries on a full page.</summary>
    public const int EntriesOnPage = PageBytes / EntryBytes;

    /// <summary>Largest number of rows or columns of an image.</summary>
    public const int MostSide = ushort.MaxValue;

    // As in PNG files: a byte above 127, and both kinds of line ends, so that a transfer as text is noticed.
    /// <summary>The first bytes of a file.</summary>
    public static ReadOnlySpan<byte> Magic => [0x89, (byte)'F', (byte)'B', (byte)'K', (byte)'\r', (byte)'\n', 0x1A, (byte)'\n'];

    /// <summary>The checksum of pages, images and the header: XXH3 with 64 bits and seed 0.</summary>
    public static ulong Checksum(ReadOnlySpan<byte> bytes) => XxHash3.HashToUInt64(bytes);

    /// <summary>Pages of an index.</summary>
    public static long PagesOf(long entries) => (entries + EntriesOnPage - 1) / EntriesOnPage;
}
