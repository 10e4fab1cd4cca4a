using System.Buffers.Binary;
using FeedbackKernels.Data;

namespace FeedbackKernels.Tests.Data.Packed;

/// <summary>Damaged packed files: every changed byte is noticed, and the error says which file, which image and where.</summary>
public sealed class PackedDamageTests : FolderTests
{
    private const int Train = 11, Test = 4, Header = 65536;

    private readonly byte[] _good;
    private readonly string _path;

    public PackedDamageTests()
    {
        _good = PackedFiles.Make(Folder, PackableImages.SmallSet(Train, Test));
        _path = Path.Combine(Folder, "x.packed");
    }

    [Fact]
    public void A_file_that_is_cut_anywhere_is_refused_with_the_place()
    {
        File.WriteAllBytes(_path, _good);
        foreach (int length in Enumerable.Range(0, _good.Length).Reverse().Where(length => length > Header - 30 || length < 600 || length % 997 == 0))
        {
            using (FileStream file = File.OpenWrite(_path)) file.SetLength(length);
            string message = Assert.Throws<InvalidDataException>(() => PackedFile.Open(_path)).Message;
            Assert.StartsWith(_path, message);
            Assert.Matches(length == 0 ? "an empty file" : length < 8 ? "offset 0" : $"offset {length}", message);
        }
    }

    [Fact]
    public void Bytes_behind_the_end_are_noticed()
    {
        File.WriteAllBytes(_path, [.. _good, 0]);
        TestFiles.Complains<InvalidDataException>(() => PackedFile.Open(_path), _path, $"offset {_good.Length}", "too long");
    }

    [Fact]
    public void A_flipped_bit_of_the_header_is_noticed_when_the_file_is_opened()
    {
        foreach (int at in Enumerable.Range(0, Header).Where(at => at is < 1500 or > Header - 20 || at % 97 == 0))
        {
            File.WriteAllBytes(_path, Flipped(_good, at, at % 8));
            string message = Assert.Throws<InvalidDataException>(() => PackedFile.Open(_path)).Message;
            Assert.StartsWith(_path, message);
            Assert.Contains("offset ", message);
        }
    }

    [Fact]
    public void A_flipped_bit_of_an_image_or_of_the_index_is_noticed_at_its_use()
    {
        File.WriteAllBytes(_path, _good);
        long index = PackedFiles.IndexOffset(_good);
        using PackedFile whole = PackedFile.Open(_path);
        PackedEntry[] entries = [.. Enumerable.Range(0, Train + Test).Select(i => whole.Entry(i))];
        string other = Path.Combine(Folder, "flipped.packed");
        for (int at = Header; at < _good.Length; at++)
        {
            File.WriteAllBytes(other, Flipped(_good, at, at % 8));
            using PackedFile file = PackedFile.Open(other);
            if (at >= index)
            {
                foreach (PackedImages half in (PackedImages[])[file.Train, file.Test])
                {
                    string message = Assert.Throws<InvalidDataException>(() => half.Label(0)).Message;
                    Assert.StartsWith($"{other}, page 0 of the index (training image 0 to test image 3), offset {index}: the checksum", message);
                }

                continue;
            }

            int hit = Array.FindIndex(entries, entry => at >= entry.Offset && at < entry.End);
            (PackedImages Half, int Index, string Name) place = hit < Train ? (file.Train, hit, $"training image {hit}") : (file.Test, hit - Train, $"test image {hit - Train}");
            string said = Assert.Throws<InvalidDataException>(() => place.Half.ReadAll([place.Index])).Message;
            Assert.StartsWith($"{other}, {place.Name}, offset {entries[hit].Offset}: the checksum", said);
            Assert.Equal([said], PackedVerification.Verify(file, cancel: TestContext.Current.CancellationToken));
            // The other images can be read.
            int next = (hit + 1) % (Train + Test);
            Assert.NotEmpty((next < Train ? file.Train : file.Test).ReadAll([next < Train ? next : next - Train]));
        }
    }

    [Fact]
    public void Verification_names_every_damaged_image_and_page()
    {
        byte[][] images = [.. Enumerable.Range(0, 5000).Select(i => PackableImages.Pnm(1, 1, (byte)i, (byte)(i >> 8), 9))];
        var source = new PackableImages(1, [.. images.Select(image => (image, 0))]);
        byte[] file = PackedFiles.Make(Folder, PackableImages.Set(source, PackableImages.Mixed(3, 1, 0)));
        File.WriteAllBytes(_path, file);
        var checkedImages = new List<long>();
        using (PackedFile whole = PackedFile.Open(_path))
        {
            Assert.Empty(PackedVerification.Verify(whole, 3, checkedImages.Add, TestContext.Current.CancellationToken));
            Assert.Equal(5003, checkedImages[^1]);
            Assert.Equal(checkedImages.Order(), checkedImages);
            foreach (int number in (int[])[7, 4999, 5002]) file[whole.Entry(number).Offset + 3] ^= 4;
        }

        // The second page of the index, which has the entries from 2048 on.
        file[PackedFiles.IndexOffset(file) + 65536 + 5] ^= 1;
        File.WriteAllBytes(_path, file);
        using PackedFile damaged = PackedFile.Open(_path);
        foreach (int threads in (int[])[1, 4])
        {
            IReadOnlyList<string> faults = PackedVerification.Verify(damaged, threads, cancel: TestContext.Current.CancellationToken);
            Assert.Equal(4, faults.Count);
            Assert.StartsWith($"{_path}, training image 7, offset ", faults[0]);
            Assert.StartsWith($"{_path}, page 1 of the index (training image 2048 to training image 4095), offset ", faults[1]);
            Assert.StartsWith($"{_path}, training image 4999, offset ", faults[2]);
            Assert.StartsWith($"{_path}, test image 2, offset ", faults[3]);
        }
    }

    [Fact]
    public void Verification_can_be_stopped_and_one_thread_is_this_one()
    {
        File.WriteAllBytes(_path, _good);
        using PackedFile file = PackedFile.Open(_path);
        using var stop = new CancellationTokenSource();
        stop.Cancel();
        Assert.ThrowsAny<OperationCanceledException>(() => PackedVerification.Verify(file, cancel: stop.Token));
        int here = Environment.CurrentManagedThreadId;
        PackedVerification.Verify(file, 1, _ => Assert.Equal(here, Environment.CurrentManagedThreadId), TestContext.Current.CancellationToken);
    }

    public static TheoryData<string, int, int, long, string> WrongNumbers => new()
    {
        // Where in the entry of training image 3, bytes, value, and what the error says.
        { "offset", 0, 8, 100, "offset 100, expected a place within the image data" },
        { "offset", 0, 8, -1, "offset -1" },
        { "offset", 0, 8, long.MaxValue, $"offset {long.MaxValue}" },
        { "length", 16, 4, 0, "length 0" },
        { "length", 16, 4, -5, "length -5" },
        { "length", 16, 4, int.MaxValue, $"{int.MaxValue} bytes at offset" },
        { "label", 20, 4, 3, "label 3, expected 0 to 2" },
        { "label", 20, 4, -1, "label -1" },
        { "rows", 24, 2, 0, "an image of 0x" },
        { "columns", 26, 2, 0, "x0, expected" },
        { "format", 28, 1, 4, "format 4" },
    };

    [Theory, MemberData(nameof(WrongNumbers))]
    public void An_entry_with_a_wrong_number_is_refused_even_if_all_checksums_are_right(string what, int at, int bytes, long value, string said)
    {
        Span<byte> entry = PackedFiles.EntryOf(_good, 3);
        for (int i = 0; i < bytes; i++) entry[at + i] = (byte)(value >> 8 * i);
        File.WriteAllBytes(_path, PackedFiles.WithRightChecksums(_good));
        using PackedFile file = PackedFile.Open(_path);
        string message = Assert.Throws<InvalidDataException>(() => file.Train.ReadAll([3])).Message;
        Assert.StartsWith($"{_path}, training image 3, offset {PackedFiles.IndexOffset(_good) + 3 * 32} in the index: ", message);
        Assert.True(message.Contains(said, StringComparison.Ordinal), $"{what}: {message}");
        Assert.NotEmpty(file.Train.ReadAll([2, 4]));
        Assert.Contains(message, PackedVerification.Verify(file, cancel: TestContext.Current.CancellationToken));
    }

    [Fact]
    public void Images_that_overlap_are_found_by_verification()
    {
        PackedFiles.EntryOf(_good, 5).CopyTo(PackedFiles.EntryOf(_good, 6));
        File.WriteAllBytes(_path, PackedFiles.WithRightChecksums(_good));
        using PackedFile file = PackedFile.Open(_path);
        Assert.Contains(PackedVerification.Verify(file, cancel: TestContext.Current.CancellationToken), fault => fault.Contains("where the image before it ends", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData(8, 4, 2, "format version 2, this program reads version 1")]
    [InlineData(12, 4, 100, "a header of 100 bytes")]
    [InlineData(12, 4, -65536, "a header of -65536 bytes")]
    [InlineData(12, 4, 1 << 29, "offset")]
    [InlineData(16, 8, 99, "its header says 99")]
    [InlineData(24, 8, 0, "0 training images")]
    [InlineData(24, 8, -1, "-1 training images")]
    [InlineData(24, 8, long.MaxValue, "training images")]
    [InlineData(24, 8, int.MaxValue, "checksums of pages")]
    [InlineData(32, 8, 0, "0 test images")]
    [InlineData(32, 8, 3, "length of the index")]
    [InlineData(40, 8, 0, "offset of the image data 0")]
    [InlineData(48, 8, -1, "-1 bytes of image data")]
    [InlineData(48, 8, 7, "offset of the index")]
    [InlineData(56, 8, 65536, "offset of the index 65536")]
    [InlineData(64, 8, 0, "length of the index 0")]
    [InlineData(72, 4, -1, "a description of -1 bytes")]
    [InlineData(72, 4, int.MaxValue, "a description of 2147483647 bytes")]
    [InlineData(72, 4, 5, "expected the description")]
    [InlineData(76, 4, 4096, "4096 bytes of a page")]
    [InlineData(80, 4, 64, "64 bytes of an entry")]
    public void A_header_with_a_wrong_number_is_refused_even_if_its_checksum_is_right(int at, int bytes, long value, string said)
    {
        for (int i = 0; i < bytes; i++) _good[at + i] = (byte)(value >> 8 * i);
        File.WriteAllBytes(_path, PackedFiles.WithRightChecksums(_good));
        TestFiles.Complains<InvalidDataException>(() => PackedFile.Open(_path), _path, said);
    }

    [Theory]
    [InlineData("\"means\":[", "\"means\":[1e999,", "expected the ")]
    [InlineData("\"class 1\"", "null", "names of the classes")]
    [InlineData("\"keep\"", "\"bits\"", "expected the description")]
    [InlineData("\"rawShare\":0", "\"rawShare\":7", "rawShare")]
    [InlineData("\"seed\":1", "\"sea\":1", "expected the description")]
    [InlineData("\"deviations\":[0", "\"deviations\":[-0", "standard deviations")]
    public void A_description_with_a_wrong_value_is_refused(string before, string after, string said)
    {
        int length = BinaryPrimitives.ReadInt32LittleEndian(_good.AsSpan(72));
        string text = System.Text.Encoding.UTF8.GetString(_good, 96, length), changed = text.Replace(before, after, StringComparison.Ordinal);
        Assert.NotEqual(text, changed);
        byte[] bytes = System.Text.Encoding.UTF8.GetBytes(changed);
        _good.AsSpan(96, 1000).Clear();
        bytes.CopyTo(_good, 96);
        BinaryPrimitives.WriteInt32LittleEndian(_good.AsSpan(72), bytes.Length);
        File.WriteAllBytes(_path, PackedFiles.WithRightChecksums(_good));
        TestFiles.Complains<InvalidDataException>(() => PackedFile.Open(_path), _path, "offset 96", said);
    }

    [Fact]
    public void Other_files_are_recognised()
    {
        File.WriteAllBytes(_path, [.. "<!DOCTYPE html>"u8]);
        TestFiles.Complains<InvalidDataException>(() => PackedFile.Open(_path), _path, "a web page");
        File.WriteAllBytes(_path, [.. "some other text"u8]);
        TestFiles.Complains<InvalidDataException>(() => PackedFile.Open(_path), _path, "offset 0", "not a packed file");
        TestFiles.Complains<InvalidDataException>(() => PackedFile.Open(Folder), Folder, "a folder");
        TestFiles.Complains<FileNotFoundException>(() => PackedFile.Open(_path + "x"), _path + "x");
        // A transfer as text, which changes the ends of lines.
        File.WriteAllBytes(_path, [.. _good[..4], .. _good[5..]]);
        TestFiles.Complains<InvalidDataException>(() => PackedFile.Open(_path), "not a packed file");
    }

    [Fact]
    public void A_file_that_becomes_shorter_while_it_is_open_is_an_error_and_not_a_crash()
    {
        File.WriteAllBytes(_path, _good);
        using PackedFile file = PackedFile.Open(_path);
        PackedFiles.ReadAll(file);
        foreach (int length in (int[])[_good.Length - 1, Header + 10, 100, 0])
        {
            using (FileStream cut = new(_path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite)) cut.SetLength(length);
            string message = Assert.ThrowsAny<IOException>(() => file.Train.ReadAll([0])).Message;
            Assert.StartsWith($"{_path}, training image 0, offset {length}: the file ends here", message);
            Assert.ThrowsAny<IOException>(() => file.Test.Label(1));
        }
    }

    [Fact]
    public void In_memory_the_checksums_are_checked_too()
    {
        byte[] damaged = Flipped(_good, Header + 5, 2);
        File.WriteAllBytes(_path, damaged);
        using PackedFile file = PackedFile.Open(_path, inMemory: true);
        Assert.Contains("offset 65536: the checksum", Assert.Throws<InvalidDataException>(() => PackedFiles.ReadAll(file)).Message);
    }

    [Fact]
    public void Wrong_requests_are_refused_and_nothing_is_written()
    {
        File.WriteAllBytes(_path, _good);
        PackedFile file = PackedFile.Open(_path);
        Assert.Throws<ArgumentOutOfRangeException>(() => file.Train.Label(Train));
        Assert.Throws<ArgumentOutOfRangeException>(() => file.Test.Label(-1));
        Assert.Throws<ArgumentOutOfRangeException>(() => file.Test.Label(Test));
        var small = new byte[file.Train.Length(0) + file.Train.Length(1) - 1];
        Assert.Contains($"{small.Length} bytes for 2 images, wanted at least {small.Length + 1}", Assert.Throws<ArgumentException>(() => file.Train.Read([0, 1], small)).Message);
        Assert.All(small, value => Assert.Equal(0, value));
        file.Dispose();
        Assert.Throws<ObjectDisposedException>(() => file.Train.Label(0));
        Assert.Throws<ObjectDisposedException>(() => file.Train.Prefetch([0]));
    }

    private static byte[] Flipped(byte[] file, int at, int bit)
    {
        byte[] changed = [.. file];
        changed[at] ^= (byte)(1 << bit);
        return changed;
    }
}
