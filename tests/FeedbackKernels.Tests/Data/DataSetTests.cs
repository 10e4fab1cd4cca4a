using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Serialization;
using FeedbackKernels.Data;
using FeedbackKernels.Interop;

namespace FeedbackKernels.Tests.Data;

/// <summary>Rules that every data set obeys, whatever its format.</summary>
public sealed class DataSetTests : FolderTests
{
    private static ImageSet Images(int h, int w, int c, int classes, int count = 2) => new(new MapShape(h, w, c), classes, new byte[count * h * w * c], new int[count]);

    [Theory]
    [InlineData(20, 40, 1, 10, 40, 20, 1, 10)]
    [InlineData(16, 16, 3, 10, 16, 48, 1, 10)]
    [InlineData(16, 16, 1, 10, 16, 16, 1, 11)]
    [InlineData(16, 16, 1, 11, 16, 16, 1, 10)]
    public void Halves_that_differ_are_refused_and_both_are_named(int h, int w, int c, int classes, int otherH, int otherW, int otherC, int otherClasses)
    {
        ImageSet train = Images(h, w, c, classes), test = Images(otherH, otherW, otherC, otherClasses);
        string[] parts = [$"{h}x{w}x{c}", $"{otherH}x{otherW}x{otherC}", $"{classes} classes", $"{otherClasses} classes"];
        TestFiles.Complains<ArgumentException>(() => new DataSet("d", train, test, Augmentation.None), parts);
        var alike = new DataSet("d", train, train, Augmentation.None);
        TestFiles.Complains<ArgumentException>(() => _ = alike with { Test = test }, parts);
        TestFiles.Complains<ArgumentException>(() => _ = alike with { Train = test }, $"{h}x{w}x{c}", $"{otherH}x{otherW}x{otherC}");
    }

    [Fact]
    public void Idx_halves_that_differ_are_refused_with_their_files()
    {
        TestFiles.WriteMnist(Folder, trainImages: TestFiles.IdxImages(30, 20, 40), testImages: TestFiles.IdxImages(20, 40, 20));
        TestFiles.Complains<InvalidDataException>($"mnist:{Folder}", "train-images-idx3-ubyte", "t10k-images-idx3-ubyte", "20x40x1 with 10 classes", "40x20x1 with 10 classes");
    }

    [Fact]
    public void Sets_without_images_are_refused()
    {
        TestFiles.Complains<ArgumentException>(() => new ImageSet(new MapShape(2, 2, 1), 10, [], []), "no images");
        TestFiles.Complains<ArgumentException>(() => new ImageSet(new MapShape(0, 2, 1), 10, [], [0]), "0x2x1");
        Assert.Throws<ArgumentOutOfRangeException>(() => Images(2, 2, 1, 10).Take(0));
        TestFiles.WriteMnist(Folder, testImages: TestFiles.Idx(TestFiles.ImageMagic, [0, 6, 5], []), testLabels: TestFiles.IdxLabels());
        TestFiles.Complains<InvalidDataException>($"mnist:{Folder}", "t10k-images-idx3-ubyte", "offset 4", "number of images 0");
    }

    [Fact]
    public void Class_names_are_one_for_each_class()
    {
        var data = new DataSet("d", Images(2, 2, 1, 3), Images(2, 2, 1, 3), Augmentation.None);
        Assert.Equal(["0", "1", "2"], data.ClassNames);
        ImageSet named = new(new MapShape(2, 2, 1), 3, new byte[8], [0, 1]) { ClassNames = ["a", "b", "c"] };
        Assert.Equal(["a", "b", "c"], (data with { Train = named }).ClassNames);
        Assert.Equal(["a", "b", "c"], new TestSet("t", named.Take(1), new DataFingerprint("memory", null, null)).ClassNames);
        foreach (string[] wrong in (string[][])[["a", "b"], ["a"], []])
        {
            TestFiles.Complains<ArgumentException>(
                () => _ = new ImageSet(new MapShape(2, 2, 1), 3, new byte[8], [0, 1]) { ClassNames = wrong }, $"{wrong.Length} class names", "3");
        }
    }

    [Theory]
    [InlineData("mnist")]
    [InlineData("cifar10")]
    [InlineData("cifar100")]
    [InlineData("cifar100:coarse")]
    [InlineData("synthetic")]
    public void The_test_half_opens_alone_and_is_that_of_the_whole(string kind)
    {
        DataSet whole = Open(kind);
        foreach (string file in Directory.EnumerateFiles(Folder).Where(file => !Path.GetFileName(file).StartsWith('t') || Path.GetFileName(file).StartsWith("train", StringComparison.Ordinal)))
            File.Delete(file);
        TestSet test = OpenTest(kind);
        Assert.Equal(whole.Test.Pixels, test.Images.Pixels);
        Assert.Equal(whole.Test.Labels, test.Images.Labels);
        Assert.Equal((whole.Test.RequireShape(), whole.Test.Classes), (test.Images.RequireShape(), test.Images.Classes));
        Assert.Equal(whole.ClassNames, test.ClassNames);
        Assert.Equal(whole.Fingerprint with { Train = null }, test.Fingerprint);
        Assert.Empty(test.Fingerprint.DifferencesFrom(whole.Fingerprint));
        if (kind == "synthetic") return;
        // The training files are missing: reading both halves reports that.
        Assert.Throws<FileNotFoundException>(() => Open(kind));
    }

    [Fact]
    public void The_test_half_can_be_limited_and_its_fingerprint_is_the_whole_halfs()
    {
        TestFiles.WriteMnist(Folder);
        TestSet test = DataSet.OpenTest($"mnist:{Folder}", 1, limitTest: 5);
        Assert.Equal((5, 20), (test.Images.Count, test.Fingerprint.Test!.Images));
        Assert.Equal($"mnist:{Folder}", test.Name);
        DataSet both = DataSet.Open($"mnist:{Folder}", 1, limitTrain: 4, limitTest: 5);
        Assert.Equal((4, 5, 30, 20), (both.Train.Count, both.Test.Count, both.Fingerprint.Train!.Images, both.Fingerprint.Test!.Images));
        Assert.Throws<ArgumentOutOfRangeException>(() => DataSet.OpenTest("synthetic", 1, limitTest: 0));
        Assert.Throws<ArgumentOutOfRangeException>(() => DataSet.OpenTest("synthetic", 1, classes: 0));
    }

    [Fact]
    public void Sources_become_absolute()
    {
        Assert.Equal("synthetic", DataSet.Absolute("synthetic"));
        Assert.Equal($"mnist:{Path.GetFullPath("m")}", DataSet.Absolute("mnist:m"));
        Assert.Equal($"cifar10:{Path.GetFullPath("..")}", DataSet.Absolute("cifar10:../"), ignoreCase: false, ignoreWhiteSpaceDifferences: false);
        Assert.Equal($"cifar100:{Path.GetFullPath("a:b")}", DataSet.Absolute("cifar100:a:b"));
        Assert.Equal($"cifar100:{Path.GetFullPath("a")}:coarse", DataSet.Absolute("cifar100:a:coarse"));
        Assert.Equal(DataSet.Absolute("cifar100:a:coarse"), DataSet.Absolute(DataSet.Absolute("cifar100:a:coarse")));
        Assert.Throws<ArgumentException>(() => DataSet.Absolute("mnist"));
    }

    [Theory]
    [InlineData("mnist:")]
    [InlineData("cifar100:")]
    [InlineData("mnist")]
    [InlineData("synthetic:1")]
    [InlineData("cifar1000:/d")]
    public void Sources_of_no_form_are_refused_by_everything(string source)
    {
        TestFiles.Complains<ArgumentException>(() => DataSet.Open(source, 1), $"'{source}'", SourceCatalog.Forms);
        TestFiles.Complains<ArgumentException>(() => DataSet.OpenTest(source, 1), $"'{source}'", SourceCatalog.Forms);
        TestFiles.Complains<ArgumentException>(() => DataSet.Absolute(source), $"'{source}'", SourceCatalog.Forms);
    }

    [Fact]
    public void A_fingerprint_has_names_lengths_and_hashes_of_small_files()
    {
        TestFiles.WriteMnist(Folder);
        SetFingerprint train = DataSet.Open($"mnist:{Folder}", 1).Fingerprint.Train!;
        Assert.Equal(new SetFingerprint(30, 6, 5, 1, 10, train.Files), train);
        Assert.Equal(["train-images-idx3-ubyte", "train-labels-idx1-ubyte"], train.Files.Select(file => file.Name));
        byte[] labels = File.ReadAllBytes(Path.Combine(Folder, "train-labels-idx1-ubyte"));
        Assert.Equal(new FileFingerprint("train-labels-idx1-ubyte", labels.Length, Convert.ToHexString(SHA256.HashData(labels)).ToLowerInvariant()), train.Files[1]);

        // One byte more than 1 MiB: no hash.
        TestFiles.WriteMnist(Folder, trainImages: TestFiles.IdxImages(30, 1, (1 << 20) / 30 + 1));
        byte[] large = File.ReadAllBytes(Path.Combine(Folder, "train-images-idx3-ubyte"));
        Assert.True(large.Length > 1 << 20);
        Assert.Null(DataFiles.Fingerprint(Folder, Path.Combine(Folder, "train-images-idx3-ubyte")).Sha256);
    }

    [Fact]
    public void Differences_of_fingerprints_are_plain_sentences()
    {
        FileFingerprint images = new("train-images-idx3-ubyte", 47040016, null), labels = new("train-labels-idx1-ubyte", 60008, "aa");
        var run = new DataFingerprint("mnist", new SetFingerprint(60000, 28, 28, 1, 10, [images, labels]), new SetFingerprint(10000, 28, 28, 1, 10, []));
        Assert.Empty(run.DifferencesFrom(run));
        Assert.Empty((run with { Train = null }).DifferencesFrom(run));
        Assert.Empty(run.DifferencesFrom(run with { Test = null, Train = null }));
        Assert.Equal(["data of the kind cifar10, the run had mnist"], (run with { Kind = "cifar10" }).DifferencesFrom(run));

        DataFingerprint Train(SetFingerprint train) => run with { Train = train };
        Assert.Equal(["train-images-idx3-ubyte: 4704016 bytes, the run had 47040016"], Train(run.Train! with { Files = [images with { Bytes = 4704016 }, labels] }).DifferencesFrom(run));
        Assert.Equal(["train-images-idx3-ubyte: 47040017 bytes, the run had 47040016"], Train(run.Train! with { Files = [images with { Bytes = 47040017 }, labels] }).DifferencesFrom(run));
        Assert.Equal(["train-labels-idx1-ubyte: SHA-256 bb, the run had aa"], Train(run.Train! with { Files = [images, labels with { Sha256 = "bb" }] }).DifferencesFrom(run));
        Assert.Equal(
            ["no train-labels-idx1-ubyte, the run had it (60008 bytes)", "other, the run did not have it"],
            Train(run.Train! with { Files = [images, labels with { Name = "other" }] }).DifferencesFrom(run));
        Assert.Equal(
            ["5 training images, the run had 60000", "training images of 28x14x2, the run had 28x28x1", "47 classes of training images, the run had 10"],
            Train(new SetFingerprint(5, 28, 14, 2, 47, run.Train!.Files)).DifferencesFrom(run));
        // A packed file is the one file of both halves.
        SetFingerprint half = run.Test! with { Files = [labels] };
        Assert.Equal(
            ["train-labels-idx1-ubyte: SHA-256 bb, the run had aa"],
            new DataFingerprint("packed", half with { Files = [labels with { Sha256 = "bb" }] }, half with { Files = [labels with { Sha256 = "bb" }] }).DifferencesFrom(new DataFingerprint("packed", half, half)));
        Assert.Equal(["9 test images, the run had 10000"], (run with { Test = run.Test! with { Images = 9 } }).DifferencesFrom(run));
    }

    [Fact]
    public void Fingerprints_come_back_from_json_equal_and_none_comes_back_in_part()
    {
        TestFiles.WriteMnist(Folder);
        DataFingerprint print = DataSet.Open($"mnist:{Folder}", 1).Fingerprint;
        string json = JsonSerializer.Serialize(print, FingerprintJson.Default.DataFingerprint);
        Assert.Equal(print, JsonSerializer.Deserialize(json, FingerprintJson.Default.DataFingerprint));
        // A missing value is not read as zero.
        string[] wrong =
        [
            """{"Test":null}""", """{"Kind":"mnist","Test":{"Images":3}}""", """{"Kind":"m","Train":{"Images":1,"H":1,"W":1,"C":1,"Classes":1,"Files":[{"Name":"a"}]}}""",
            """{"Kind":"m","Train":{"Images":1,"H":1,"W":1,"C":1,"Classes":1}}""",
        ];
        Assert.All(wrong, text => Assert.Throws<JsonException>(() => JsonSerializer.Deserialize(text, FingerprintJson.Default.DataFingerprint)));
        string nothing = """{"Kind":"m","Train":{"Images":1,"H":1,"W":1,"C":1,"Classes":1,"Files":[null]}}""";
        Assert.Throws<ArgumentException>(() => JsonSerializer.Deserialize(nothing, FingerprintJson.Default.DataFingerprint));
    }

    [Fact]
    public void Synthetic_images_beyond_an_array_are_refused_with_the_limit()
    {
        // 2^31 - 57 bytes, the longest array of .NET, at 3072 bytes per image.
        TestFiles.Complains<ArgumentOutOfRangeException>(() => DataSet.Open("synthetic", 1, limitTrain: 700_000), "700000 images of 32x32x3", "2150400000 bytes", "2147483591", "699050 images");
        TestFiles.Complains<ArgumentOutOfRangeException>(() => DataSet.Open("synthetic", 1, limitTrain: 10, limitTest: int.MaxValue), "limit is 2147483591");
        TestFiles.Complains<ArgumentOutOfRangeException>(() => DataSet.OpenTest("synthetic", 1, limitTest: 699_051), "limit is 2147483591");
        Assert.Throws<ArgumentOutOfRangeException>(() => SyntheticImages.Create(1, 0));
    }

    private DataSet Open(string kind)
    {
        switch (kind)
        {
            case "mnist":
                if (!Directory.EnumerateFiles(Folder).Any()) TestFiles.WriteMnist(Folder);
                return DataSet.Open($"mnist:{Folder}", 1);
            case "cifar10":
                if (!Directory.EnumerateFiles(Folder).Any()) TestFiles.WriteCifar10(Folder, 12);
                return Cifar10.Format(12).Read(Folder);
            case "cifar100" or "cifar100:coarse":
                if (!Directory.EnumerateFiles(Folder).Any()) TestFiles.WriteCifar100(Folder, 30, 20);
                return Cifar100.Format(kind != "cifar100", 30, 20).Read(Folder);
            default:
                return DataSet.Open("synthetic", 1, 20, 30);
        }
    }

    private TestSet OpenTest(string kind) => kind switch
    {
        "mnist" => DataSet.OpenTest($"mnist:{Folder}", 1),
        "cifar10" => Cifar10.Format(12).ReadTest(Folder),
        "synthetic" => DataSet.OpenTest("synthetic", 1, 30),
        _ => Cifar100.Format(kind != "cifar100", 30, 20).ReadTest(Folder),
    };
}

[JsonSerializable(typeof(DataFingerprint))]
internal sealed partial class FingerprintJson : JsonSerializerContext;
