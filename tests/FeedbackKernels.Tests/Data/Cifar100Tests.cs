using FeedbackKernels.Data;
using FeedbackKernels.Interop;

namespace FeedbackKernels.Tests.Data;

/// <summary>CIFAR-100's two labels, and the names of CIFAR's classes.</summary>
public sealed class Cifar100Tests : FolderTests
{
    private const int Record = 3074;

    [Theory]
    [InlineData(false, 100, "apple", "worm")]
    [InlineData(true, 20, "aquatic_mammals", "vehicles_2")]
    public void Both_labels_are_read(bool coarse, int classes, string first, string last)
    {
        TestFiles.WriteCifar100(Folder, 40, 25);
        DataSet data = Cifar100.Format(coarse, 40, 25).Read(Folder);
        Assert.Equal((40, 25, classes, classes), (data.Train.Count, data.Test.Count, data.Train.Classes, data.Test.Classes));
        Assert.Equal(new MapShape(32, 32, 3), data.Train.RequireShape());
        Assert.Equal(Enumerable.Range(0, 40).Select(i => coarse ? i % 20 : 99 - i), data.Train.Labels);
        Assert.Equal([1, 37, 35], data.Train.Image(37).Slice(35 * 3, 3).ToArray());
        Assert.Equal((first, last), (data.ClassNames[0], data.ClassNames[^1]));
        Assert.Equal(data.ClassNames.Order(StringComparer.Ordinal), data.ClassNames);
        Assert.Equal(classes, data.ClassNames.Distinct().Count());
        Assert.Equal(Augmentation.CropFlip, data.Augmentation);
        Assert.Equal(("cifar100", "train.bin", 40L * Record), (data.Fingerprint.Kind, data.Fingerprint.Train!.Files[0].Name, data.Fingerprint.Train.Files[0].Bytes));
    }

    [Fact]
    public void The_source_says_which_labels_and_the_nested_folder_is_found()
    {
        string nested = Directory.CreateDirectory(Path.Combine(Folder, "cifar-100-binary")).FullName;
        TestFiles.WriteCifar100(nested, 1, 1);
        // The official files have 50,000 and 10,000 records of 3074 bytes.
        foreach (string source in (string[])[$"cifar100:{Folder}", $"cifar100:{nested}:coarse", $"cifar100:{Folder}:fine"])
            TestFiles.Complains<InvalidDataException>(source, Path.Combine(nested, "train.bin"), "offset 3074: the file ends here", "50000 records of 3074 bytes, 153700000 in all");
        TestFiles.Complains<InvalidDataException>(() => DataSet.OpenTest($"cifar100:{Folder}", 1), "test.bin", "10000 records", "30740000");
        Assert.Equal("cifar100", DataSource.Parse($"cifar100:{Folder}:coarse").Kind.Name);
        Assert.Equal((Folder, "coarse"), (DataSource.Parse($"cifar100:{Folder}:coarse").Place, DataSource.Parse($"cifar100:{Folder}:coarse").Variant));
    }

    [Theory]
    [InlineData(0, 20, "label 20, expected 0 to 19")]
    [InlineData(1, 100, "label 100, expected 0 to 99")]
    public void Labels_that_are_no_classes_are_refused_whichever_are_used(int place, byte label, string part)
    {
        TestFiles.WriteCifar100(Folder, 10, 5);
        string test = Path.Combine(Folder, "test.bin");
        byte[] bytes = File.ReadAllBytes(test);
        bytes[3 * Record + place] = label;
        File.WriteAllBytes(test, bytes);
        foreach (bool coarse in (bool[])[false, true])
        {
            TestFiles.Complains<InvalidDataException>(() => Cifar100.Format(coarse, 10, 5).Read(Folder), test, $"offset {3 * Record + place}", part);
            TestFiles.Complains<InvalidDataException>(() => Cifar100.Format(coarse, 10, 5).ReadTest(Folder), test, part);
        }
    }

    [Fact]
    public void More_bytes_than_the_records_are_refused()
    {
        TestFiles.WriteCifar100(Folder, 10, 5);
        TestFiles.Complains<InvalidDataException>(() => Cifar100.Format(false, 9, 5).Read(Folder), "train.bin", $"offset {9 * Record}: 3074 bytes follow");
    }

    [Fact]
    public void Names_of_classes_come_from_the_file_where_it_is_there()
    {
        Assert.Equal(["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"], Cifar10.Format().Names);
        TestFiles.WriteCifar10(Folder, 2);
        Assert.Equal(Cifar10.Format().Names, Cifar10.Format(2).Read(Folder).ClassNames);
        string names = TestFiles.Write(Folder, "batches.meta.txt", [.. "a\r\nb\nc\nd\ne\nf\ng\nh\ni\n j \n\n"u8]);
        Assert.Equal(["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"], Cifar10.Format(2).Read(Folder).ClassNames);
        Assert.Equal(["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"], Cifar10.Format(2).ReadTest(Folder).ClassNames);
        File.WriteAllText(names, "a\nb\n");
        TestFiles.Complains<InvalidDataException>(() => Cifar10.Format(2).Read(Folder), names, "2 names of classes, expected 10");
        File.WriteAllText(names, "<html></html>");
        TestFiles.Complains<InvalidDataException>(() => Cifar10.Format(2).Read(Folder), names, "found a web page");
        File.WriteAllBytes(names, new byte[70_000]);
        TestFiles.Complains<InvalidDataException>(() => Cifar10.Format(2).Read(Folder), names, "70000 bytes");
    }

    [Fact]
    public void Real_cifar10_names_its_classes_as_the_code_does()
    {
        string directory = RealData.Require("cifar-10-batches-bin");
        Assert.Equal(Cifar10.Format().Names, DataSet.OpenTest($"cifar10:{directory}", 1).ClassNames);
    }
}
