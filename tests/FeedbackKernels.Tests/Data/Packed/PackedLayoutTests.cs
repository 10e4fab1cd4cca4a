using System.Buffers.Binary;
using System.IO.Hashing;
using System.Text.Json;
using FeedbackKernels.Data;

namespace FeedbackKernels.Tests.Data.Packed;

/// <summary>The bytes of a packed file, read by the description of the format alone.</summary>
public sealed class PackedLayoutTests : FolderTests
{
    [Fact]
    public void The_parts_of_a_file_are_where_the_format_says()
    {
        byte[] red = PackableImages.Pnm(1, 2, 255, 0, 0, 255, 0, 0), grey = PackableImages.Pnm(2, 1, 0, 51, 102, 0, 51, 102), white = PackableImages.Pnm(1, 1, 255, 255, 255);
        string path = Path.Combine(Folder, "three.packed");
        Packer.Pack(PackableImages.Set(new PackableImages(2, (red, 1), (grey, 0)), new PackableImages(2, (white, 1))), path, new PackOptions { Seed = 7 }, new PackLog(), TestContext.Current.CancellationToken);

        byte[] file = File.ReadAllBytes(path);
        const int header = 65536;
        int data = red.Length + grey.Length + white.Length;
        Assert.Equal([0x89, 0x46, 0x42, 0x4B, 0x0D, 0x0A, 0x1A, 0x0A], file[..8]);
        Assert.Equal(1, Int32(file, 8));
        Assert.Equal(header, Int32(file, 12));
        Assert.Equal(file.Length, Int64(file, 16));
        Assert.Equal(header + data + 3 * 32, file.Length);
        Assert.Equal((2, 1), (Int64(file, 24), Int64(file, 32)));
        Assert.Equal((header, data), (Int64(file, 40), Int64(file, 48)));
        Assert.Equal((header + data, 3 * 32), (Int64(file, 56), Int64(file, 64)));
        Assert.Equal((65536, 32), (Int32(file, 76), Int32(file, 80)));
        Assert.All(file[84..96], zero => Assert.Equal(0, zero));
        int text = Int32(file, 72);
        JsonElement description = JsonDocument.Parse(file.AsMemory(96, text)).RootElement;
        Assert.Equal(["class 0", "class 1"], description.GetProperty("classNames").EnumerateArray().Select(name => name.GetString()!));
        Assert.Equal("keep", description.GetProperty("preparation").GetProperty("encode").GetString());
        Assert.Equal(7, description.GetProperty("seed").GetInt32());
        // Red: two pixels of 1 and two of 0. Green: two of 0 and two of 0.2. Blue: two of 0 and two of 0.4.
        AssertNumbers([0.5, 0.1, 0.2], description.GetProperty("means"));
        AssertNumbers([0.5, 0.1, 0.2], description.GetProperty("deviations"));
        int pages = (96 + text + 7) / 8 * 8;
        ulong page = BinaryPrimitives.ReadUInt64LittleEndian(file.AsSpan(pages));
        Assert.Equal(XxHash3.HashToUInt64(file.AsSpan(header + data, 3 * 32)), page);
        Assert.All(file[(pages + 8)..(header - 8)], zero => Assert.Equal(0, zero));
        Assert.Equal(XxHash3.HashToUInt64(file.AsSpan(0, header - 8)), BinaryPrimitives.ReadUInt64LittleEndian(file.AsSpan(header - 8)));

        (byte[] Image, int Label, int Rows, int Columns)[] images = [(red, 1, 1, 2), (grey, 0, 2, 1), (white, 1, 1, 1)];
        var ends = new List<(long Start, long End)>();
        for (int i = 0; i < 3; i++)
        {
            ReadOnlySpan<byte> entry = file.AsSpan(header + data + 32 * i, 32);
            (byte[] image, int label, int rows, int columns) = images[i];
            var offset = (int)BinaryPrimitives.ReadInt64LittleEndian(entry);
            Assert.Equal(XxHash3.HashToUInt64(image), BinaryPrimitives.ReadUInt64LittleEndian(entry[8..]));
            Assert.Equal(image.Length, BinaryPrimitives.ReadInt32LittleEndian(entry[16..]));
            Assert.Equal(label, BinaryPrimitives.ReadInt32LittleEndian(entry[20..]));
            Assert.Equal((rows, columns), (BinaryPrimitives.ReadUInt16LittleEndian(entry[24..]), BinaryPrimitives.ReadUInt16LittleEndian(entry[26..])));
            Assert.Equal([3, 0, 0, 0], entry[28..].ToArray());
            Assert.Equal(image, file[offset..(offset + image.Length)]);
            ends.Add((offset, offset + image.Length));
        }

        ends.Sort();
        Assert.Equal([header, ends[0].End, ends[1].End], ends.Select(place => place.Start));
        Assert.Equal(header + data, ends[2].End);
    }

    // The published value of XXH3 with 64 bits for no bytes.
    [Fact]
    public void The_checksum_is_XXH3() => Assert.Equal(0x2D06800538D394C2UL, PackedFormat.Checksum([]));

    [Theory]
    [InlineData(500, 333, 256, null, 256, 170)]
    [InlineData(333, 500, 256, null, 170, 256)]
    [InlineData(500, 333, null, 256, 384, 256)]
    [InlineData(333, 500, null, 256, 256, 384)]
    [InlineData(200, 100, 256, null, 200, 100)]
    [InlineData(200, 100, null, 100, 200, 100)]
    [InlineData(10_000, 3, 100, null, 100, 1)]
    [InlineData(65_535, 65_534, 65_534, null, 65_534, 65_533)]
    // torchvision's Resize(256) of a 375 x 500 image.
    [InlineData(375, 500, null, 256, 256, 341)]
    public void Sides_are_limited_and_rounded_down(int rows, int columns, int? longest, int? shortest, int wantedRows, int wantedColumns) =>
        Assert.Equal((wantedRows, wantedColumns), new ImagePreparation { LongestSide = longest, ShortestSide = shortest }.Resize(rows, columns));

    [Fact]
    public void Many_pages_have_a_checksum_each_and_every_image_is_found()
    {
        byte[][] images = [.. Enumerable.Range(0, 5000).Select(i => PackableImages.Pnm(1, 1, (byte)i, (byte)(i >> 8), 9))];
        var train = new PackableImages(7, [.. images[..4500].Select((image, i) => (image, i % 7))]);
        string path = Path.Combine(Folder, "many.packed");
        Packer.Pack(PackableImages.Set(train, new PackableImages(7, [.. images[4500..].Select(image => (image, 6))])), path, new PackOptions(), new PackLog(), TestContext.Current.CancellationToken);
        using PackedFile file = PackedFile.Open(path);
        Assert.Equal(3, file.Header.PageChecksums.Distinct().Count());
        for (int i = 0; i < 5000; i++)
        {
            (IImageSource half, int index) = i < 4500 ? (file.Train, i) : (file.Test, i - 4500);
            Assert.Equal(i < 4500 ? i % 7 : 6, half.Label(index));
            Assert.Equal(images[i], half.ReadAll([index]));
        }
    }

    private static void AssertNumbers(double[] expected, JsonElement numbers)
    {
        double[] found = [.. numbers.EnumerateArray().Select(number => number.GetDouble())];
        Assert.Equal(expected.Length, found.Length);
        for (int c = 0; c < found.Length; c++) Assert.Equal(expected[c], found[c], 1e-15);
    }

    private static int Int32(byte[] file, int offset) => BinaryPrimitives.ReadInt32LittleEndian(file.AsSpan(offset));

    private static long Int64(byte[] file, int offset) => BinaryPrimitives.ReadInt64LittleEndian(file.AsSpan(offset));
}
