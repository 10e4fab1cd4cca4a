using System.Globalization;
using FeedbackKernels.Data;
using FeedbackKernels.Tests.KnownAnswers;

namespace FeedbackKernels.Tests.Data;

/// <summary>ImageNet's official tars in miniature, made by GNU tar, with each form of the ground truth.</summary>
public sealed class ImageNetTarsTests : FolderTests
{
    private const string Devkit = "ILSVRC2012_devkit_t12";

    // The classes of meta.mat, sorted: ILSVRC2012's numbers 3, 2, 1, 4.
    private static readonly string[] Classes = ["n01440764", "n02100735", "n02119789", "n03000684"];

    // Class of each test image, and the development kit's number for it.
    private static readonly int[] Truth = [2, 0, 3, 3, 1, 0, 2];
    private static readonly int[] Numbers = [1, 3, 4, 4, 2, 3, 1];

    private string Source => $"imagenet:{Folder}";

    private string TrainTar => Path.Combine(Folder, ImageNetTars.TrainFile);

    private string ValTar => Path.Combine(Folder, ImageNetTars.ValFile);

    public static TheoryData<string> Forms => ["synset labels", "any list", "kaggle", "numbers and meta.mat", "numbers and meta-plain.mat", "numbers and map", "unpacked kit", "packed kit", "numbers and packed kit"];

    [Theory]
    [MemberData(nameof(Forms))]
    public void Each_form_of_the_ground_truth_gives_the_same_classes(string form)
    {
        WriteTars();
        string named = WriteTruth(form);
        DataSet data = DataSet.Open(Source, 1);
        Assert.Equal(Classes, data.ClassNames);
        // By class, then by name.
        Assert.Equal([0, 0, 1, 2, 2, 3, 3], data.Test.Labels);
        Assert.Equal([2, 6, 5, 1, 7, 3, 4], Enumerable.Range(0, 7).Select(i => int.Parse(data.Test.NameOf(i).Split("val_")[1][..8], CultureInfo.InvariantCulture)));
        Assert.Contains(data.Notes, note => note.StartsWith("the classes of the test images are those of ", StringComparison.Ordinal) && note.Contains(named, StringComparison.Ordinal));
        Assert.Contains($"{TrainTar}: 9 images; ImageNet has 1,281,167", data.Notes);
        Assert.Contains($"{ValTar}: 7 images; ImageNet has 50,000", data.Notes);
        Assert.Equal(data.Test.Labels, DataSet.OpenTest(Source, 1, classes: 4).Images.Labels);
        File.Delete(TrainTar);
        Assert.Equal(data.Test.Labels, DataSet.OpenTest(Source, 1, classes: 4).Images.Labels);
        TestFiles.Complains<InvalidDataException>(() => DataSet.OpenTest(Source, 1, classes: 5), "the ground truth has 4 classes, expected 5");
    }

    [Fact]
    public void Training_images_are_sorted_by_class_and_name_and_read_from_the_nested_tars()
    {
        WriteTars();
        WriteTruth("synset labels");
        DataSet data = DataSet.Open(Source, 1);
        Assert.Equal([0, 0, 0, 1, 2, 2, 2, 2, 3], data.Train.Labels);
        Assert.Equal((null, 3, true, 4, Augmentation.CropFlip), (data.Train.Shape, data.Train.Channels, data.Train.IsGrouped, data.Train.Classes, data.Augmentation));
        Assert.Equal(
            ["n01440764_1.JPEG", "n01440764_10.JPEG", "n01440764_2.JPEG", "n02100735_5.JPEG", "n02119789_11.JPEG", "n02119789_3.JPEG", "n02119789_30.JPEG", "n02119789_4.JPEG", "n03000684_9.JPEG"],
            Enumerable.Range(0, 9).Select(i => data.Train.NameOf(i).Split(", ")[1]));
        byte[] tar = File.ReadAllBytes(TrainTar);
        for (int i = 0; i < 9; i++)
        {
            byte[] content = PictureFiles.Content(data.Train.NameOf(i).Split(", ")[1]);
            Assert.Equal(content, data.Train.Image(i).ToArray());
            Assert.Equal(content, tar.AsSpan(int.Parse(data.Train.NameOf(i).Split(' ')[^1], CultureInfo.InvariantCulture), content.Length).ToArray());
        }

        Assert.Equal(["ILSVRC2012_img_train.tar (index)", "ILSVRC2012_img_val.tar (index)"], ((SetFingerprint?[])[data.Fingerprint.Train, data.Fingerprint.Test]).SelectMany(half => half!.Files).Select(file => file.Name));
        DataFingerprint first = data.Fingerprint;
        File.WriteAllLines(Path.Combine(Folder, "imagenet_2012_validation_synset_labels.txt"), Truth.Reverse().Select(label => Classes[label]));
        Assert.StartsWith("ILSVRC2012_img_val.tar (index): SHA-256", Assert.Single(DataSet.Open(Source, 1).Fingerprint.DifferencesFrom(first)), StringComparison.Ordinal);
    }

    /// <summary>The same images in folders, in WebDataset tars made from the folders, and in the official tars.</summary>
    [Fact]
    public void Folders_and_tars_number_the_same_images_alike()
    {
        WriteTars();
        WriteTruth("synset labels");
        string unpacked = Path.Combine(Folder, "unpacked");
        foreach (string label in Classes)
        {
            string train = Directory.CreateDirectory(Path.Combine(unpacked, "train", label)).FullName;
            Directory.CreateDirectory(Path.Combine(unpacked, "val", label));
            PictureFiles.Run(train, "bash", "-c", $"tar --extract --to-stdout --file '{TrainTar}' {label}.tar | tar --extract");
        }

        PictureFiles.Run(unpacked, "tar", "--extract", "--file", ValTar);
        for (int i = 0; i < Truth.Length; i++) File.Move(Path.Combine(unpacked, ValName(i + 1)), Path.Combine(unpacked, "val", Classes[Truth[i]], ValName(i + 1)));
        DataSet tars = DataSet.Open(Source, 1), folders = DataSet.Open($"imagefolder:{unpacked}", 1);
        WriteSamples("train.tar", folders.Train);
        WriteSamples("val.tar", folders.Test);
        DataSet samples = DataSet.Open($"wds:{Folder}/train.tar,{Folder}/val.tar", 1);
        Assert.Equal(tars.ClassNames, folders.ClassNames);
        foreach (Func<DataSet, IImageSource> half in (Func<DataSet, IImageSource>[])[data => data.Train, data => data.Test])
        {
            foreach (DataSet other in (DataSet[])[folders, samples])
            {
                Assert.Equal(half(tars).Labels, half(other).Labels);
                Assert.Equal(half(tars).IsGrouped, half(other).IsGrouped);
                for (int i = 0; i < half(tars).Count; i++) Assert.Equal(half(tars).Image(i).ToArray(), half(other).Image(i).ToArray());
                Assert.Equal(half(tars).Pixels, half(other).Pixels);
            }
        }
    }

    [Fact]
    public void Without_ground_truth_all_names_are_listed()
    {
        WriteTars();
        TestFiles.Complains<FileNotFoundException>(
            Source, $"{Folder} has no ground truth of the test images", "imagenet_2012_validation_synset_labels.txt", "LOC_val_solution.csv",
            "ILSVRC2012_validation_ground_truth.txt with meta.mat or map_clsloc.txt", "ILSVRC2012_devkit_t12.tar.gz", "any .txt with 7 or more WordNet ids, one a line");
        PictureFiles.WriteText(Folder, "ILSVRC2012_validation_ground_truth.txt", string.Join('\n', Numbers));
        TestFiles.Complains<FileNotFoundException>(Source, "; found ILSVRC2012_validation_ground_truth.txt; looked for");
        // A list of all classes, as people have it too, is too short to be meant.
        PictureFiles.WriteText(Folder, "synsets.txt", string.Join('\n', Classes));
        Assert.Throws<FileNotFoundException>(() => DataSet.Open(Source, 1));
        PictureFiles.WriteText(Folder, "a.txt", string.Join('\n', Truth.Select(label => Classes[label])));
        Assert.Equal(7, DataSet.Open(Source, 1).Test.Count);
        File.Copy(Path.Combine(Folder, "a.txt"), Path.Combine(Folder, "b.txt"));
        TestFiles.Complains<InvalidDataException>(Source, Path.Combine(Folder, "a.txt"), Path.Combine(Folder, "b.txt"), "both may be the classes");
    }

    [Fact]
    public void Damaged_ground_truth_is_named_with_its_line()
    {
        WriteTars();
        Complains("imagenet_2012_validation_synset_labels.txt", "n01440764\nn0144076\n", "line 2: 'n0144076', expected a WordNet id");
        Complains("imagenet_2012_validation_synset_labels.txt", "n01440764\n", "no class for image 3, which is ILSVRC2012_val_00000003.JPEG of");
        Complains("imagenet_2012_validation_synset_labels.txt", string.Join('\n', Enumerable.Repeat("n09999999", 7)), $"image 3 has class n09999999, which is not one of the 4 of {TrainTar}");
        Complains("imagenet_2012_validation_synset_labels.txt", "<!DOCTYPE html>", "found a web page");
        Complains("LOC_val_solution.csv", "ImageId,PredictionString\nx,n01440764 1 2 3 4\n", "line 2: 'x,n01440764 1 2 3 4', expected as ILSVRC2012_val_00048981,n03995372");
        Complains("LOC_val_solution.csv", "ILSVRC2012_val_00000001,n01440764 \nILSVRC2012_val_00000001,n01440764 ", "line 2: a second line for image 1");
        File.WriteAllBytes(Path.Combine(Folder, "meta.mat"), Known.Bytes("meta.mat"));
        Complains("ILSVRC2012_validation_ground_truth.txt", "1\n2x\n", "line 2: '2x', expected the number of a class");
        // 1001 is a group of classes.
        Complains("ILSVRC2012_validation_ground_truth.txt", "1\n1001\n", "line 2:", "meta.mat has no class 1001");
        File.WriteAllBytes(Path.Combine(Folder, "meta.mat"), [1, 2, 3]);
        PictureFiles.WriteText(Folder, "ILSVRC2012_validation_ground_truth.txt", "1\n");
        TestFiles.Complains<InvalidDataException>(Source, "meta.mat, offset 3: expected the header of a MATLAB file of version 5");
        File.Delete(Path.Combine(Folder, "meta.mat"));
        PictureFiles.WriteText(Folder, "map_clsloc.txt", "n01440764 1 tench\nn02100735 1 setter\n");
        TestFiles.Complains<InvalidDataException>(Source, "map_clsloc.txt: number 1 is n01440764 and n02100735");

        void Complains(string file, string text, params string[] parts)
        {
            string path = PictureFiles.WriteText(Folder, file, text);
            TestFiles.Complains<InvalidDataException>(Source, [file, .. parts]);
            File.Delete(path);
        }
    }

    [Fact]
    public void Tars_of_other_content_are_refused_with_advice()
    {
        TestFiles.Complains<FileNotFoundException>(Source, $"'{TrainTar}' is not there; expected {ImageNetTars.TrainFile} and {ImageNetTars.ValFile} as they are downloaded");
        File.WriteAllBytes(Path.Combine(Folder, "train.tar"), []);
        Directory.CreateDirectory(Path.Combine(Folder, "train"));
        TestFiles.Complains<FileNotFoundException>(Source, "the folder has train.tar", $"for unpacked images use imagefolder:{Folder}");
        WriteTars();
        WriteTruth("synset labels");
        Bad(TrainTar, "n01440764/n01440764_1.JPEG; expected only the tars of classes, as n01440764.tar", PictureFiles.Member("n01440764/n01440764_1.JPEG", [1]));
        Bad(TrainTar, "a second n01440764.tar", Class("n01440764"), Class("n01440764"));
        Bad(TrainTar, "found no tars of classes");
        Bad(TrainTar, $"{TrainTar}, n01440764.tar, offset 512: found no images", PictureFiles.Member("n01440764.tar", PictureFiles.End));
        Bad(TrainTar, $"{TrainTar}, n02100735.tar, offset 4096: the tar ends here", Class("n01440764"), PictureFiles.Member("n02100735.tar", PictureFiles.Member("x.JPEG", [1])));
        Bad(ValTar, "found no images, expected such as ILSVRC2012_val_00000001.JPEG");
        Bad(ValTar, "offset 0: val_1.JPEG; expected names as ILSVRC2012_val_00000001.JPEG", PictureFiles.Member("val_1.JPEG", [1]));
        Bad(ValTar, "offset 1024: a second image 1", PictureFiles.Member(ValName(1), [1]), PictureFiles.Member($"val/{ValName(1)}", [1]));

        static byte[] Class(string id) => PictureFiles.Member($"{id}.tar", [.. PictureFiles.Member($"{id}_1.JPEG", [1]), .. PictureFiles.End]);

        void Bad(string path, string message, params byte[][] members)
        {
            byte[] kept = File.ReadAllBytes(path);
            File.WriteAllBytes(path, [.. members.SelectMany(member => member), .. PictureFiles.End]);
            TestFiles.Complains<InvalidDataException>(Source, path, message);
            File.WriteAllBytes(path, kept);
        }
    }

    [Theory]
    [InlineData("meta.mat")]
    [InlineData("meta-plain.mat")]
    public void Structs_of_matlab_files_are_read_as_scipy_wrote_them(string file)
    {
        MatStructs synsets = MatFile.ReadStructs(file, Known.Bytes(file), "synsets");
        Assert.Equal(["ILSVRC2012_ID", "WNID", "words", "gloss", "num_children", "children", "wordnet_height", "num_train_images"], synsets.Fields);
        Assert.Equal(6, synsets.Elements.Count);
        Assert.Equal([3.0, "n01440764", "tench, Tinca tinca", "freshwater dace-like game fish of Europe", 0.0, null, 0.0, 1300.0], synsets.Elements[2]);
        Assert.Equal([1001.0, "n00001740", "entity", "that which is perceived to have its own distinct existence", 2.0, null, 19.0, 0.0], synsets.Elements[4]);
        TestFiles.Complains<InvalidDataException>(() => MatFile.ReadStructs(file, Known.Bytes(file), "other"), $"{file}: found no struct array 'other'");
        for (int length = 0; length < Known.Bytes(file).Length; length += 7) Assert.Throws<InvalidDataException>(() => MatFile.ReadStructs(file, Known.Bytes(file)[..length], "synsets"));
    }

    private static string ValName(int number) => $"ILSVRC2012_val_{number:00000000}.JPEG";

    private void WriteTars()
    {
        string work = Path.Combine(Folder, "work");
        var numbers = new Dictionary<string, int[]> { ["n02119789"] = [30, 4, 3, 11], ["n01440764"] = [10, 2, 1], ["n03000684"] = [9], ["n02100735"] = [5] };
        foreach ((string label, int[] images) in numbers)
        {
            string[] names = [.. images.Select(i => $"{label}_{i}.JPEG")];
            PictureFiles.Write(work, names);
            PictureFiles.Tar(work, $"{label}.tar", "gnu", names);
        }

        PictureFiles.Tar(work, TrainTar, "gnu", numbers.Keys.Select(label => $"{label}.tar"));
        string[] val = [.. ((int[])[3, 1, 2, 7, 6, 5, 4]).Select(ValName)];
        PictureFiles.Write(work, val);
        PictureFiles.Tar(work, ValTar, "ustar", val);
        Directory.Delete(work, recursive: true);
    }

    /// <summary>Writes the ground truth in one of the forms.</summary>
    /// <returns>The name of the file that has it.</returns>
    private string WriteTruth(string form)
    {
        string ids = string.Join('\n', Truth.Select(label => Classes[label])) + "\n", numbers = string.Join('\n', Numbers) + "\n", list = "ILSVRC2012_validation_ground_truth.txt";
        switch (form)
        {
            case "synset labels":
                PictureFiles.WriteText(Folder, "imagenet_2012_validation_synset_labels.txt", ids.Replace("\n", "\r\n", StringComparison.Ordinal));
                return "imagenet_2012_validation_synset_labels.txt";
            case "any list":
                PictureFiles.WriteText(Folder, "my list.txt", ids);
                PictureFiles.WriteText(Folder, "readme.txt", "something else\n");
                return "my list.txt";
            case "kaggle":
                PictureFiles.WriteText(
                    Folder, "LOC_val_solution.csv",
                    "ImageId,PredictionString\n" + string.Concat(Enumerable.Range(1, 7).Reverse().Select(i => $"ILSVRC2012_val_{i:00000000},{Classes[Truth[i - 1]]} 85 1 499 272 {Classes[Truth[i - 1]]} 1 1 2 2 \n")));
                return "LOC_val_solution.csv";
            case "numbers and meta.mat":
            case "numbers and meta-plain.mat":
                PictureFiles.WriteText(Folder, list, numbers);
                File.WriteAllBytes(Path.Combine(Folder, "meta.mat"), Known.Bytes(form[12..]));
                return $"{list} and {Path.Combine(Folder, "meta.mat")}";
            case "numbers and map":
                PictureFiles.WriteText(Folder, list, numbers);
                PictureFiles.WriteText(Folder, "map_clsloc.txt", "n02119789 1 kit_fox\nn02100735 2 English_setter\nn01440764 3 tench\nn03000684 4 chain_saw\n");
                return $"{list} and {Path.Combine(Folder, "map_clsloc.txt")}";
            case "unpacked kit":
                PictureFiles.WriteText(Folder, $"{Devkit}/data/{list}", numbers);
                File.WriteAllBytes(Path.Combine(Folder, Devkit, "data/meta.mat"), Known.Bytes("meta.mat"));
                return Path.Combine(Devkit, "data", list);
            default:
                PictureFiles.WriteText(Folder, $"{Devkit}/data/{list}", numbers);
                PictureFiles.WriteText(Folder, $"{Devkit}/readme.txt", "kit");
                File.WriteAllBytes(Path.Combine(Folder, Devkit, "data/meta.mat"), Known.Bytes("meta.mat"));
                PictureFiles.Run(Folder, "tar", "--create", "--gzip", "--file", $"{Devkit}.tar.gz", Devkit);
                Directory.Delete(Path.Combine(Folder, Devkit), recursive: true);
                if (form == "packed kit") return $"{Devkit}.tar.gz";
                PictureFiles.WriteText(Folder, list, numbers);
                return $"{list} and {Path.Combine(Folder, Devkit)}.tar.gz, meta.mat";
        }
    }

    /// <summary>Writes a WebDataset tar of a source with GNU tar, in the order of the source.</summary>
    private void WriteSamples(string tar, IImageSource source)
    {
        string work = Directory.CreateDirectory(Path.Combine(Folder, "samples")).FullName;
        var names = new List<string>();
        for (int i = 0; i < source.Count; i++)
        {
            File.WriteAllBytes(Path.Combine(work, $"{i:000000}.jpg"), source.Image(i));
            File.WriteAllText(Path.Combine(work, $"{i:000000}.cls"), source.Label(i).ToString(CultureInfo.InvariantCulture));
            names.AddRange([$"{i:000000}.cls", $"{i:000000}.jpg"]);
        }

        PictureFiles.Tar(work, Path.Combine(Folder, tar), "pax", names);
        Directory.Delete(work, recursive: true);
    }
}
