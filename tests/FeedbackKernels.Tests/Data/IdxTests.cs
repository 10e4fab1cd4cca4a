using FeedbackKernels.Data;
using FeedbackKernels.Interop;

namespace FeedbackKernels.Tests.Data;

/// <summary>idx sets: file names, number of classes, and what is special about EMNIST.</summary>
public sealed class IdxTests : FolderTests
{
    private string Source => $"mnist:{Folder}";

    [Theory]
    [InlineData("-", "", false)]
    [InlineData("-", ".gz", true)]
    [InlineData(".", "", false)]
    [InlineData(".", ".gz", true)]
    [InlineData("-", ".gz", false)]
    [InlineData(".", ".gz", false)]
    [InlineData("-", "", true)]
    [InlineData(".", "", true)]
    public void Names_with_hyphens_and_dots_are_found_and_the_content_decides_about_gzip(string separator, string ending, bool compressed)
    {
        TestFiles.WriteMnist(Folder);
        DataSet plain = DataSet.Open(Source, 1);
        foreach (string path in Directory.GetFiles(Folder))
        {
            byte[] content = File.ReadAllBytes(path);
            File.Delete(path);
            TestFiles.Write(Folder, Path.GetFileName(path).Replace("-idx", separator + "idx", StringComparison.Ordinal) + ending, compressed ? TestFiles.Gzip(content) : content);
        }

        DataSet data = DataSet.Open(Source, 1);
        Assert.Equal(plain.Train.Pixels, data.Train.Pixels);
        Assert.Equal(plain.Test.Labels, data.Test.Labels);
        Assert.All(data.Fingerprint.Train!.Files, file => Assert.EndsWith($"{separator}idx{(file.Name.Contains("images") ? 3 : 1)}-ubyte{ending}", file.Name));
    }

    [Fact]
    public void A_missing_file_is_named_with_its_other_names()
    {
        TestFiles.WriteMnist(Folder);
        File.Delete(Path.Combine(Folder, "t10k-labels-idx1-ubyte"));
        TestFiles.Complains<FileNotFoundException>(Source, Path.Combine(Folder, "t10k-labels-idx1-ubyte"), "t10k-labels.idx1-ubyte", "t10k-labels-idx1-ubyte.gz", "t10k-labels.idx1-ubyte.gz");
    }

    [Theory]
    [InlineData(new[] { 60000, 5000, 5000 }, "1500000000016 bytes (60000 x 5000 x 5000")]
    [InlineData(new[] { int.MaxValue, int.MaxValue, int.MaxValue }, "2147483647 x 2147483647 x 2147483647")]
    [InlineData(new[] { -1, 6, 5 }, "offset 4: number of images 4294967295")]
    [InlineData(new[] { 30, int.MinValue, 5 }, "offset 8: number of rows 2147483648")]
    [InlineData(new[] { 30, 6, 0 }, "offset 12: number of columns 0")]
    public void Headers_that_announce_too_much_are_refused_without_taking_memory(int[] sizes, string part)
    {
        foreach (bool compressed in (bool[])[false, true])
        {
            byte[] images = TestFiles.Idx(TestFiles.ImageMagic, sizes, new byte[900]);
            TestFiles.WriteMnist(Folder, trainImages: compressed ? TestFiles.Gzip(images) : images);
            long before = GC.GetAllocatedBytesForCurrentThread();
            string message = Assert.Throws<InvalidDataException>(() => DataSet.Open(Source, 1)).Message;
            Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 4 << 20);
            Assert.Contains(compressed && sizes.All(size => size > 0) ? "limit is 2147483591" : part, message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void A_compressed_file_that_announces_more_than_it_holds_takes_no_more_than_it_holds()
    {
        // The header announces 1.9 GB; the file has a few bytes.
        TestFiles.WriteMnist(Folder, trainImages: TestFiles.Gzip(TestFiles.Idx(TestFiles.ImageMagic, [19_000, 1000, 100], new byte[900])));
        long before = GC.GetAllocatedBytesForCurrentThread();
        TestFiles.Complains<InvalidDataException>(Source, "train-images-idx3-ubyte (decompressed), offset 916: the data ends here", "1900000016 bytes");
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 4 << 20);
    }

    [Fact]
    public void A_gzip_bomb_takes_no_more_than_its_header_announces()
    {
        // 64 KB that expand to 64 MB of zeros, though the header announces 900 bytes.
        TestFiles.WriteMnist(Folder, trainImages: TestFiles.Gzip(TestFiles.Idx(TestFiles.ImageMagic, [30, 6, 5], new byte[64 << 20]), System.IO.Compression.CompressionLevel.Optimal));
        long before = GC.GetAllocatedBytesForCurrentThread();
        TestFiles.Complains<InvalidDataException>(Source, "train-images-idx3-ubyte (decompressed), offset 916: more bytes follow", "expected 916 bytes");
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 4 << 20);
    }

    [Fact]
    public void Bytes_after_the_last_element_are_refused()
    {
        TestFiles.WriteMnist(Folder, trainLabels: [.. TestFiles.Digits(30), 0]);
        TestFiles.Complains<InvalidDataException>(Source, "train-labels-idx1-ubyte, offset 38: 1 bytes follow");
        TestFiles.WriteMnist(Folder, trainLabels: TestFiles.Gzip([.. TestFiles.Digits(30), 0]));
        TestFiles.Complains<InvalidDataException>(Source, "train-labels-idx1-ubyte (decompressed), offset 38: more bytes follow");
    }

    [Fact]
    public void Classes_are_counted_over_both_halves()
    {
        // 12 classes; classes 10 and 11 occur in only one of the halves.
        TestFiles.WriteMnist(Folder, trainLabels: TestFiles.IdxLabels(Enumerable.Range(0, 30).Select(i => i % 11)), testLabels: TestFiles.IdxLabels(Enumerable.Range(0, 20).Select(i => i % 12)));
        DataSet data = DataSet.Open(Source, 1);
        Assert.Equal((12, 12), (data.Train.Classes, data.Test.Classes));
        Assert.Equal(["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"], data.ClassNames);
        Assert.Equal(["no training image has class 11 of 12"], data.Notes);

        TestSet test = DataSet.OpenTest(Source, 1);
        Assert.Equal(12, test.Images.Classes);
        Assert.Equal(47, DataSet.OpenTest(Source, 1, classes: 47).Images.Classes);
        TestFiles.Complains<InvalidDataException>(() => DataSet.OpenTest(Source, 1, classes: 11), "t10k-labels-idx1-ubyte, offset 19: label 11, expected 0 to 10");
    }

    [Fact]
    public void Digits_may_lack_some_but_other_labels_may_have_no_gaps()
    {
        byte[] threes = TestFiles.IdxLabels(Enumerable.Range(0, 30).Select(i => i % 2 * 3));
        TestFiles.WriteMnist(Folder, trainLabels: threes, testLabels: TestFiles.IdxLabels(Enumerable.Repeat(3, 20)));
        DataSet data = DataSet.Open(Source, 1);
        Assert.Equal(4, data.Train.Classes);
        Assert.Equal(["no training image has class 1, 2 of 4"], data.Notes);

        TestFiles.WriteMnist(Folder, testLabels: TestFiles.IdxLabels([.. Enumerable.Range(0, 19), 200]));
        TestFiles.Complains<InvalidDataException>(Source, "t10k-labels-idx1-ubyte, offset 27: label 200", "no image has label 19, 20", "and 171 more");
    }

    [Fact]
    public void Emnist_letters_are_moved_to_zero_transposed_and_it_is_said()
    {
        WriteEmnist("emnist-letters", Enumerable.Range(1, 26));
        DataSet data = DataSet.Open(Source, 1);
        Assert.Equal(26, data.Train.Classes);
        Assert.Equal(Enumerable.Range(0, 26), data.Train.Labels);
        Assert.Equal([.. "abcdefghijklmnopqrstuvwxyz".Select(c => c.ToString())], data.ClassNames);
        // The pixel stored at row r, column c is read to row c, column r.
        Assert.Equal(new MapShape(5, 6, 1), data.Train.RequireShape());
        for (int row = 0; row < 6; row++)
        {
            for (int column = 0; column < 5; column++) Assert.Equal(3 + row * 5 + column, data.Train.Image(3)[column * 6 + row]);
        }

        Assert.Equal(2, data.Notes.Count);
        Assert.Contains("transposed", data.Notes[0]);
        Assert.Equal("labels 1 to 26 of emnist-letters were made 0 to 25", data.Notes[1]);
        TestSet test = DataSet.OpenTest(Source, 1, classes: 26);
        Assert.Equal((26, 25), (test.Images.Classes, test.Images.Labels[^1]));
        Assert.Equal(data.Notes, test.Notes);
    }

    [Fact]
    public void Emnist_letters_that_begin_at_zero_are_left_and_labels_beyond_are_refused()
    {
        WriteEmnist("emnist-letters", Enumerable.Range(0, 26));
        DataSet data = DataSet.Open(Source, 1);
        Assert.Equal(Enumerable.Range(0, 26), data.Train.Labels);
        Assert.Single(data.Notes);
        WriteEmnist("emnist-letters", Enumerable.Range(0, 27));
        TestFiles.Complains<InvalidDataException>(Source, "emnist-letters-train-labels-idx1-ubyte, offset 34: label 26, expected 0 to 25");
        WriteEmnist("emnist-letters", Enumerable.Range(1, 27));
        TestFiles.Complains<InvalidDataException>(Source, "emnist-letters-train-labels-idx1-ubyte, offset 34: label 27, expected 1 to 26");
    }

    // The counts of Cohen et al. 2017, table 2; the names of torchvision's EMNIST.classes_split_dict.
    [Theory]
    [InlineData("byclass", 62, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")]
    [InlineData("bymerge", 47, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghnqrt")]
    [InlineData("balanced", 47, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghnqrt")]
    [InlineData("digits", 10, "0123456789")]
    [InlineData("mnist", 10, "0123456789")]
    public void Emnist_splits_have_their_classes_whatever_labels_occur(string split, int classes, string names)
    {
        WriteEmnist($"emnist-{split}", [0, 1, classes - 1]);
        DataSet data = DataSet.Open(Source, 1);
        Assert.Equal(classes, data.Train.Classes);
        Assert.Equal(names.Select(c => c.ToString()), data.ClassNames);
        Assert.Equal(classes - 1, data.Train.Labels[2]);
        Assert.Equal(classes, DataSet.OpenTest(Source, 1).Images.Classes);
        WriteEmnist($"emnist-{split}", [0, 1, classes]);
        TestFiles.Complains<InvalidDataException>(Source, $"emnist-{split}-train-labels-idx1-ubyte, offset 10: label {classes}, expected 0 to {classes - 1}");
    }

    [Fact]
    public void Several_sets_in_a_folder_are_listed_and_chosen_by_name()
    {
        WriteEmnist("emnist-digits", Enumerable.Range(0, 10));
        WriteEmnist("emnist-letters", Enumerable.Range(1, 26));
        TestFiles.Complains<InvalidDataException>(Source, "emnist-digits, emnist-letters", $"mnist:{Path.Combine(Folder, "emnist-digits")}");
        Assert.Equal(26, DataSet.Open($"{Source}/emnist-letters", 1).Train.Classes);
        Assert.Equal(10, DataSet.OpenTest($"{Source}/emnist-digits", 1).Images.Classes);
        Assert.Equal($"{Source}/emnist-digits", DataSet.Absolute($"{Source}/emnist-digits"));
        TestFiles.Complains<DirectoryNotFoundException>($"{Source}/emnist-balanced", "emnist-balanced");

        // mnist:DIR selects the files with MNIST's names, and the note mentions the others.
        TestFiles.WriteMnist(Folder);
        DataSet mnist = DataSet.Open(Source, 1);
        Assert.Equal((10, 30), (mnist.Train.Classes, mnist.Train.Count));
        Assert.Contains("emnist-digits, emnist-letters", Assert.Single(mnist.Notes));
    }

    [Fact]
    public void One_complete_set_beside_parts_of_another_is_taken()
    {
        WriteEmnist("emnist-digits", Enumerable.Range(0, 10));
        WriteEmnist("emnist-letters", Enumerable.Range(1, 26));
        File.Delete(Path.Combine(Folder, "emnist-letters-train-images-idx3-ubyte"));
        Assert.Equal(10, DataSet.Open(Source, 1).Train.Classes);
        foreach (string file in Directory.GetFiles(Folder, "emnist-digits*")) File.Delete(file);
        TestFiles.Complains<FileNotFoundException>(Source, "emnist-letters-train-images-idx3-ubyte");
        Assert.Equal(26, DataSet.OpenTest(Source, 1).Images.Classes);
    }

    private void WriteEmnist(string prefix, IEnumerable<int> labels)
    {
        byte[] images = TestFiles.IdxImages(labels.Count(), 6, 5), numbers = TestFiles.IdxLabels(labels);
        TestFiles.WriteMnist(Folder, images, numbers, images, numbers, prefix);
    }
}
