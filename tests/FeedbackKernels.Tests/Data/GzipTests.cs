using System.IO.Compression;
using FeedbackKernels.Data;

namespace FeedbackKernels.Tests.Data;

/// <summary>gzip files: complete ones of every form, and damaged ones, some of which GZipStream accepts.</summary>
public sealed class GzipTests : FolderTests
{
    private static readonly byte[] Content = Noise(300_000);

    // For empty content, GZipStream writes nothing. This is one block of fixed codes that ends at once, with checksum and length 0.
    private static readonly byte[] Empty = [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0];

    [Fact]
    public void The_checksum_is_that_of_the_standard()
    {
        // The check value of CRC-32/ISO-HDLC in the catalogue of parametrised CRC algorithms.
        Assert.Equal(0xCBF43926u, Crc32.Append(0, "123456789"u8));
        Assert.Equal(0xCBF43926u, Crc32.Append(Crc32.Append(0, "1234"u8), "56789"u8));
        Assert.Equal(0u, Crc32.Append(0, []));
    }

    [Theory]
    [InlineData(1, CompressionLevel.Fastest)]
    [InlineData(20_000, CompressionLevel.NoCompression)]
    [InlineData(300_000, CompressionLevel.Fastest)]
    [InlineData(300_000, CompressionLevel.SmallestSize)]
    public void Whole_files_are_read(int length, CompressionLevel level) =>
        Assert.Equal(Content[..length], Read(TestFiles.Gzip(Content[..length], level)));

    [Fact]
    public void A_file_without_content_is_whole() => Assert.Empty(Read(Empty));

    [Fact]
    public void Several_members_are_one_file()
    {
        byte[] one = TestFiles.Gzip(Content[..100]), two = TestFiles.Gzip(Content[100..200_000]), three = Empty, four = TestFiles.Gzip(Content[200_000..]);
        Assert.Equal(Content, Read([.. one, .. two, .. three, .. four]));
        // Like the output of bgzip: many members, each shorter than the inflater's buffer.
        Assert.Equal(Content, Read([.. Content.Chunk(5000).SelectMany(chunk => TestFiles.Gzip(chunk))]));
    }

    [Fact]
    public void Options_of_the_header_are_read_and_its_checksum_is_checked()
    {
        byte[] plain = TestFiles.Gzip(Content[..50]);
        byte[] header = [0x1F, 0x8B, 8, 2 | 4 | 8 | 16, 0, 0, 0, 0, 0, 3, 3, 0, 1, 2, 3, .. "name"u8, 0, .. "comment"u8, 0];
        uint checksum = Crc32.Append(0, header);
        Assert.Equal(Content[..50], Read([.. header, (byte)checksum, (byte)(checksum >> 8), .. plain[10..]]));
        Damaged([.. header, (byte)~checksum, (byte)(checksum >> 8), .. plain[10..]], $"offset {header.Length}", "header's checksum", $"0x{(ushort)checksum:X4}");
        Damaged(header, $"offset {header.Length}: ", "ends within the header");
        Damaged([.. plain[..3], 0x20, .. plain[4..]], "offset 3", "header flags 0x20");
        Damaged([.. plain[..2], 7, .. plain[3..]], "offset 2", "compression method 7");
        // The name is not terminated.
        Damaged([.. plain[..3], 8, .. plain[4..10], .. Enumerable.Repeat((byte)'n', 100)], "offset 110", "ends within the header");
    }

    [Fact]
    public void Every_truncation_is_refused()
    {
        byte[] whole = TestFiles.Gzip(Content[..300]);
        for (int length = 2; length < whole.Length; length++) Damaged(whole[..length], $"offset {length}", "the file ends within");
        byte[] large = TestFiles.Gzip(Content);
        foreach (int cut in (int[])[1, 8, 9, 5000, 20_000, large.Length / 2]) Damaged(large[..^cut], $"offset {large.Length - cut}", "the file ends within");
        // The last of two members.
        Damaged([.. whole, .. large[..^4]], $"offset {whole.Length + large.Length - 4}", "the file ends within the checksum");
    }

    [Fact]
    public void A_wrong_checksum_and_a_wrong_length_are_told_apart()
    {
        byte[] whole = TestFiles.Gzip(Content);
        uint right = Crc32.Append(0, Content);
        byte[] wrong = [.. whole];
        wrong[^8] ^= 1;
        Damaged(wrong, $"offset {whole.Length - 8}", "CRC-32", $"is 0x{right:X8}", $"says 0x{right ^ 1:X8}");
        wrong = [.. whole];
        wrong[^4] ^= 1;
        Damaged(wrong, $"offset {whole.Length - 4}", "300000 bytes", $"says {300_000 ^ 1}");
    }

    [Fact]
    public void Damage_in_the_middle_is_no_matter_of_compression_methods()
    {
        byte[] whole = TestFiles.Gzip(Content);
        for (int at = 10; at < whole.Length - 8; at += whole.Length / 40)
        {
            byte[] wrong = [.. whole];
            wrong[at] ^= 0x55;
            string message = Assert.Throws<InvalidDataException>(() => Read(wrong)).Message;
            Assert.DoesNotContain("unsupported", message, StringComparison.OrdinalIgnoreCase);
            Assert.Contains("damaged", message);
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(100)]
    [InlineData(40_000)]
    public void Bytes_after_the_data_are_refused(int count)
    {
        foreach (byte[] whole in (byte[][])[TestFiles.Gzip(Content[..500]), TestFiles.Gzip(Content)])
        {
            Assert.Contains("1 bytes follow", Damaged([.. whole, 0], $"offset {whole.Length}"));
            // The content ends in a copy of the real checksum and length, so only the true end of the stream tells the two apart.
            byte[] after = [.. new byte[count], .. whole[^8..]];
            string message = Damaged([.. whole, .. after], $"offset {whole.Length}");
            Assert.Contains($"{after.Length} bytes follow", message);
        }
    }

    private string Damaged(byte[] file, params string[] parts)
    {
        string message = Assert.Throws<InvalidDataException>(() => Read(file)).Message;
        Assert.All(parts.Prepend(Path.Combine(Folder, "file.gz")).Append("gzip"), part => Assert.Contains(part, message, StringComparison.Ordinal));
        return message;
    }

    private byte[] Read(byte[] content)
    {
        string path = TestFiles.Write(Folder, "file.gz", content);
        using FileStream file = DataFiles.Open(path);
        using var gzip = new GzipReader(file, path);
        using var bytes = new MemoryStream();
        gzip.CopyTo(bytes);
        return bytes.ToArray();
    }

    /// <summary>Bytes that compress to about a third.</summary>
    private static byte[] Noise(int length)
    {
        var bytes = new byte[length];
        new Random(1).NextBytes(bytes);
        for (int i = 0; i < length; i++) bytes[i] &= 7;
        return bytes;
    }
}
