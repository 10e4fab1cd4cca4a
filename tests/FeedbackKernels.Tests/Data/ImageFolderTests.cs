using System.Security.Cryptography;
using CsCheck;
using FeedbackKernels.Data;

namespace FeedbackKernels.Tests.Data;

/// <summary>Folders of image files: classes, order, layouts, links, and what is wrong with folders.</summary>
public sealed class ImageFolderTests : FolderTests
{
    private static readonly string[] Small = ["train/b/2.jpg", "train/b/10.JPEG", "train/a/x.png", "train/B/1.webp", "val/b/v.jpg", "val/a/w.Jpg"];

    private string Source => $"imagefolder:{Folder}";

    [Fact]
    public void Images_are_sorted_by_class_and_path()
    {
        PictureFiles.Write(Folder, [.. Small, "train/a/sub/y.ppm", "train/a/sub.pgm", "train/a/deep/er/z.jpeg"]);
        DataSet data = DataSet.Open(Source, 1);
        // Ordinal order: capitals first, '.' before '/'.
        Assert.Equal(["B", "a", "b"], data.ClassNames);
        Assert.Equal(
            ["B/1.webp", "a/deep/er/z.jpeg", "a/sub.pgm", "a/sub/y.ppm", "a/x.png", "b/10.JPEG", "b/2.jpg"],
            Enumerable.Range(0, data.Train.Count).Select(i => Path.GetRelativePath(Path.Combine(Folder, "train"), data.Train.NameOf(i))));
        Assert.Equal([0, 1, 1, 1, 1, 2, 2], data.Train.Labels);
        Assert.Equal([1, 2], data.Test.Labels);
        Assert.Equal((null, 3, 3, true, Augmentation.CropFlip), (data.Train.Shape, data.Train.Channels, data.Train.Classes, data.Train.IsGrouped, data.Augmentation));
        for (int i = 0; i < data.Train.Count; i++) Assert.Equal(PictureFiles.Content(Path.GetFileName(data.Train.NameOf(i))), data.Train.Image(i).ToArray());
        Assert.Equal([.. PictureFiles.Content("2.jpg"), .. PictureFiles.Content("1.webp"), .. PictureFiles.Content("2.jpg")], data.Train.ReadAll([6, 0, 6]));
        Assert.Equal(["1 of 3 classes have no test images (as B)"], data.Notes);
    }

    [Fact]
    public void Other_and_hidden_files_are_left_out_and_counted()
    {
        PictureFiles.Write(Folder, [.. Small, "train/a/notes.txt", "train/a/b.gif", "train/top.jpg", "train/a/.x.jpg", "train/.cache/1.jpg", "train/a/.d/2.jpg", "train/B/Thumbs.db", "val/B/q.jpg", "train/a/jpg"]);
        DataSet data = DataSet.Open(Source, 1);
        Assert.Equal(4, data.Train.Count);
        string note = Assert.Single(data.Notes);
        Assert.Contains($"{Path.Combine(Folder, "train")}: left out 5 files that are not images of a class (as top.jpg), 3 hidden entries (as .cache)", note, StringComparison.Ordinal);
    }

    [Fact]
    public void A_fingerprint_is_of_the_sorted_names()
    {
        PictureFiles.Write(Folder, Small);
        DataFingerprint fingerprint = DataSet.Open(Source, 1).Fingerprint;
        byte[] names = "B/1.webp\na/x.png\nb/10.JPEG\nb/2.jpg\n"u8.ToArray();
        Assert.Equal(new SetFingerprint(4, 0, 0, 3, 3, [new FileFingerprint("train/ (listing)", names.Length, Convert.ToHexStringLower(SHA256.HashData(names)))]), fingerprint.Train);
        Assert.Equal("val/ (listing)", Assert.Single(fingerprint.Test!.Files).Name);
        Assert.Empty(DataSet.Open(Source, 1).Fingerprint.DifferencesFrom(fingerprint));

        File.Move(Path.Combine(Folder, "train/b/2.jpg"), Path.Combine(Folder, "train/b/3.jpg"));
        Assert.Contains("train/ (listing): SHA-256", Assert.Single(DataSet.Open(Source, 1).Fingerprint.DifferencesFrom(fingerprint)), StringComparison.Ordinal);
        File.Delete(Path.Combine(Folder, "val/b/v.jpg"));
        Assert.Contains("1 test images, the run had 2", DataSet.Open(Source, 1).Fingerprint.DifferencesFrom(fingerprint));
    }

    [Fact]
    public void Validation_and_test_serve_where_there_is_no_val()
    {
        PictureFiles.Write(Folder, "train/a/1.jpg", "test/a/2.jpg");
        Assert.Equal(Path.Combine(Folder, "test/a/2.jpg"), DataSet.Open(Source, 1).Test.NameOf(0));
        PictureFiles.Write(Folder, "validation/a/3.jpg");
        DataSet data = DataSet.Open(Source, 1);
        Assert.Equal(Path.Combine(Folder, "validation/a/3.jpg"), data.Test.NameOf(0));
        Assert.Equal([$"the test images are those of {Path.Combine(Folder, "validation")}; {Path.Combine(Folder, "test")} is not used"], data.Notes);
        Assert.Equal(data.Notes, DataSet.OpenTest(Source, 1).Notes);
    }

    [Fact]
    public void The_layout_of_tiny_imagenet_is_read()
    {
        WriteTiny();
        DataSet data = DataSet.Open(Source, 1);
        Assert.Equal(["n01", "n02", "n03"], data.ClassNames);
        Assert.Equal([0, 0, 1, 2], data.Train.Labels);
        Assert.Equal(Path.Combine(Folder, "train/n01/images/n01_1.JPEG"), data.Train.NameOf(1));
        // By class, then by name.
        Assert.Equal(["val_1.JPEG", "val_2.JPEG", "val_0.JPEG", "val_10.JPEG"], Enumerable.Range(0, 4).Select(i => Path.GetFileName(data.Test.NameOf(i))));
        Assert.Equal([0, 1, 2, 2], data.Test.Labels);
        Assert.Equal(PictureFiles.Content("val_0.JPEG"), data.Test.Image(2).ToArray());
        Assert.Equal(["val/images/ (listing)", "val/val_annotations.txt"], data.Fingerprint.Test!.Files.Select(file => file.Name));
        Assert.Equal(data.Test.Labels, DataSet.OpenTest(Source, 1).Images.Labels);

        // With only the test half, its own classes are numbered.
        Directory.Delete(Path.Combine(Folder, "train"), recursive: true);
        Assert.Equal(data.Test.Labels, DataSet.OpenTest(Source, 1, classes: 3).Images.Labels);
    }

    [Fact]
    public void Annotations_and_images_must_fit()
    {
        WriteTiny();
        string file = Path.Combine(Folder, "val/val_annotations.txt");
        PictureFiles.Write(Folder, "val/images/val_11.JPEG");
        TestFiles.Complains<InvalidDataException>(Source, "val_11.JPEG", $"{file} has no line for this image");
        File.AppendAllText(file, "val_11.JPEG\tn07\n");
        TestFiles.Complains<InvalidDataException>(Source, file, "val_11.JPEG has class 'n07', which is not one of training");
        File.Delete(Path.Combine(Folder, "val/images/val_11.JPEG"));
        TestFiles.Complains<InvalidDataException>(Source, file, "1 images are not in", "val_11.JPEG");
        WriteTiny();
        File.AppendAllText(file, "val_0.JPEG\tn01\n");
        TestFiles.Complains<InvalidDataException>(Source, $"{file}, line 5: a second line for val_0.JPEG");
        File.WriteAllText(file, "val_0.JPEG n01\n");
        TestFiles.Complains<InvalidDataException>(Source, $"{file}, line 1: expected the name of an image, a tab and its class");
    }

    [Fact]
    public void Links_are_followed_and_their_loops_end()
    {
        PictureFiles.Write(Folder, [.. Small, "elsewhere/far.jpg", "elsewhere/c/1.jpg", "elsewhere/c/sub/2.jpg"]);
        Link("train/c", "elsewhere/c");
        File.CreateSymbolicLink(Path.Combine(Folder, "train/a/near.jpg"), Path.Combine(Folder, "elsewhere/far.jpg"));
        // To itself, to the class, above the class, and two ways to the same folder.
        Link("elsewhere/c/sub/self", "elsewhere/c/sub");
        Link("elsewhere/c/sub/class", "train/c");
        Link("elsewhere/c/sub/above", "train");
        Link("elsewhere/c/sub/root", "elsewhere");
        Link("elsewhere/c/again", "elsewhere/c/sub");
        DataSet data = DataSet.Open(Source, 1);
        Assert.Equal(
            ["B/1.webp", "a/near.jpg", "a/x.png", "b/10.JPEG", "b/2.jpg", "c/1.jpg", "c/again/2.jpg"],
            Enumerable.Range(0, data.Train.Count).Select(i => Path.GetRelativePath(Path.Combine(Folder, "train"), data.Train.NameOf(i))).Where(name => !name.Contains("above", StringComparison.Ordinal)));
        Assert.Equal(PictureFiles.Content("far.jpg"), data.Train.Image(1).ToArray());
        Assert.Contains("links to folders that are listed elsewhere (as c/", string.Concat(data.Notes), StringComparison.Ordinal);
    }

    [Fact]
    public void Links_that_branch_end()
    {
        PictureFiles.Write(Folder, Small);
        for (int i = 0; i < 30; i++)
        {
            string folder = Directory.CreateDirectory(Path.Combine(Folder, $"tree/{i}")).FullName;
            Link($"tree/{i}/left", $"tree/{i + 1}");
            Link($"tree/{i}/right", $"tree/{i + 1}");
        }

        PictureFiles.Write(Folder, "tree/30/end.jpg");
        Link("train/b/tree", "tree/0");
        Assert.Equal(5, DataSet.Open(Source, 1).Train.Count);
    }

    /// <summary>Random trees of folders, files and links between folders: listing ends, and finds every file of the class.</summary>
    [Fact]
    public void Random_links_end()
    {
        int tree = 0;
        Gen.Select(Gen.Int[0, 100], Gen.Int[0, 100], Gen.Int[0, 2]).Array[1, 40].Sample(
            steps =>
            {
                string root = Directory.CreateDirectory(Path.Combine(Folder, $"{++tree}")).FullName;
                var folders = new List<string> { Directory.CreateDirectory(Path.Combine(root, "train/a")).FullName, Directory.CreateDirectory(Path.Combine(root, "away")).FullName, root };
                PictureFiles.Write(root, "train/a/1.jpg", "val/a/1.jpg");
                int files = 1;
                for (int i = 0; i < steps.Length; i++)
                {
                    (int from, int to, int kind) = steps[i];
                    // Everything new is put below the class or away from it.
                    string path = Path.Combine(folders[from % folders.Count] is var place && place == root ? folders[0] : place, $"{i}");
                    if (kind == 0) folders.Add(Directory.CreateDirectory(path).FullName);
                    else if (kind == 1) Directory.CreateSymbolicLink(path, folders[to % folders.Count]);
                    else PictureFiles.Write(path[..path.LastIndexOf('/')], $"f{i}.jpg");
                    if (kind == 2 && path.StartsWith(folders[0], StringComparison.Ordinal)) files++;
                }

                IImageSource train = DataSet.Open($"imagefolder:{root}", 1).Train;
                Assert.InRange(train.Count, files, 2 * steps.Length + 4);
                Assert.Equal(train.Count, Enumerable.Range(0, train.Count).Select(train.NameOf).Distinct().Count());
                Directory.Delete(root, recursive: true);
            },
            iter: 200, threads: 1);
    }

    [Fact]
    public void A_link_that_leads_nowhere_is_found_when_it_is_read()
    {
        PictureFiles.Write(Folder, Small);
        string link = Path.Combine(Folder, "train/a/broken.jpg");
        File.CreateSymbolicLink(link, Path.Combine(Folder, "nowhere.jpg"));
        IImageSource train = DataSet.Open(Source, 1).Train;
        TestFiles.Complains<FileNotFoundException>(() => train.Length(1), $"file '{link}' is not there");
    }

    [Fact]
    public void Classes_without_test_images_keep_their_numbers()
    {
        PictureFiles.Write(Folder, "abcdefghij".Select(label => $"train/{label}/1.jpg"));
        PictureFiles.Write(Folder, "val/c/1.jpg", "val/c/2.jpg", "val/g/1.jpg", "val/h/1.jpg");
        Assert.Equal([2, 2, 6, 7], DataSet.Open(Source, 1).Test.Labels);
        // A folder of the test half alone is refused even if it is the only one.
        PictureFiles.Write(Folder, "val/x/1.jpg");
        TestFiles.Complains<InvalidDataException>(Source, $"{Path.Combine(Folder, "val/x")}: {Path.Combine(Folder, "train")} has no such class; expected");
    }

    [Fact]
    public void Errors_say_what_was_found_and_wanted()
    {
        TestFiles.Complains<DirectoryNotFoundException>(Source, $"'{Path.Combine(Folder, "train")}' is not there", "the folder is empty", "expected train/CLASS/ and val/CLASS/ (or validation or test)");
        PictureFiles.Write(Folder, "train/a/1.jpg");
        TestFiles.Complains<DirectoryNotFoundException>(Source, $"'{Path.Combine(Folder, "val")}' is not there; found train;");
        TestFiles.Complains<DirectoryNotFoundException>($"imagefolder:{Folder}/train", "give the folder above");
        PictureFiles.Write(Folder, "val/1.jpg", "val/notes.txt");
        TestFiles.Complains<InvalidDataException>(Source, $"{Path.Combine(Folder, "val")}: found no images; found 1.jpg, notes.txt; expected .jpg .jpeg .png .webp .ppm .pgm in folders of classes");
        PictureFiles.Write(Folder, "val/z/1.jpg", "val/y/1.jpg");
        TestFiles.Complains<InvalidDataException>(Source, $"{Path.Combine(Folder, "val/y")}: {Path.Combine(Folder, "train")} has no such class, nor 1 others");
        Directory.Delete(Path.Combine(Folder, "val"), recursive: true);
        PictureFiles.Write(Folder, "val/a/1.jpg", "train/c/1.txt", "train/d/.1.jpg");
        TestFiles.Complains<InvalidDataException>(Source, $"{Path.Combine(Folder, "train/c")}: found no images, nor in 1 other folders");
        Directory.Delete(Path.Combine(Folder, "train"), recursive: true);
        Directory.CreateDirectory(Path.Combine(Folder, "train"));
        TestFiles.Complains<InvalidDataException>(Source, $"{Path.Combine(Folder, "train")}: found no folders", "a folder for each class");
        File.WriteAllBytes(Path.Combine(Folder, ImageNetTars.ValFile), []);
        Directory.Delete(Path.Combine(Folder, "train"), recursive: true);
        TestFiles.Complains<DirectoryNotFoundException>(Source, $"use imagenet:{Folder}");
    }

    [Fact]
    public void The_test_half_needs_no_training_images_if_its_classes_are_known()
    {
        PictureFiles.Write(Folder, Small);
        Assert.Equal([1, 2], DataSet.OpenTest(Source, 1, classes: 3).Images.Labels);
        Assert.Null(DataSet.OpenTest(Source, 1).Fingerprint.Train);
        Directory.Delete(Path.Combine(Folder, "train"), recursive: true);
        Assert.Equal([0, 1], DataSet.OpenTest(Source, 1, classes: 2).Images.Labels);
        TestFiles.Complains<InvalidDataException>(() => DataSet.OpenTest(Source, 1, classes: 3), "images of 2 classes, expected 3", "the numbers of the classes are not known");
        Assert.Throws<DirectoryNotFoundException>(() => DataSet.Open(Source, 1));
    }

    [Fact]
    public void A_file_that_changes_while_it_is_used_is_an_error()
    {
        PictureFiles.Write(Folder, Small);
        IImageSource train = DataSet.Open(Source, 1).Train;
        string path = train.NameOf(1);
        int length = train.Length(1);
        File.AppendAllText(path, "more");
        TestFiles.Complains<InvalidDataException>(() => train.ReadAll([0, 1]), $"{path}: {length + 4} bytes, but {length} when its length was first asked for");
        File.WriteAllBytes(path, new byte[length - 1]);
        TestFiles.Complains<InvalidDataException>(() => train.ReadAll([1]), $"{path}: {length - 1} bytes, but {length}");
        File.Delete(path);
        TestFiles.Complains<FileNotFoundException>(() => train.ReadAll([1]), $"file '{path}' is not there");
        Assert.Throws<ArgumentException>(() => train.Read([0], new byte[3]));
        Assert.Throws<ArgumentOutOfRangeException>(() => train.Label(4));
        Assert.Throws<ArgumentOutOfRangeException>(() => train.Length(-1));
    }

    [Fact]
    public void Names_that_are_not_utf8_are_refused()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "file names are bytes on Linux");
        PictureFiles.Write(Folder, Small);
        PictureFiles.Run(Folder, "bash", "-c", "touch train/a/$'\\xff'.jpg");
        TestFiles.Complains<InvalidDataException>(Source, Path.Combine(Folder, "train/a"), "the name is not UTF-8");
        // .NET cannot delete it.
        PictureFiles.Run(Folder, "rm", "-r", "train");
    }

    [Fact]
    public void Names_of_any_script_are_read()
    {
        PictureFiles.Write(Folder, [.. Small, "train/écureuil 🐿/größe 1.jpg"]);
        IImageSource train = DataSet.Open(Source, 1).Train;
        Assert.Equal(PictureFiles.Content("größe 1.jpg"), train.Image(train.Count - 1).ToArray());
    }

    /// <summary>Imagenette, in the order of Python's sorted().</summary>
    [Fact]
    public void Imagenette_is_listed_as_python_sorts_it()
    {
        string folder = RealData.Require("imagenette2-224");
        DataSet data = DataSet.Open($"imagefolder:{folder}", 1);
        Assert.Equal(10, data.Train.Classes);
        string listing = PictureFiles.Run(
            folder, "python3", "-c",
            "import os\nfor c in sorted(os.listdir('train')):\n for f in sorted(os.listdir('train/' + c)): print(c + '/' + f)");
        Assert.Equal(listing.TrimEnd().Split('\n'), Enumerable.Range(0, data.Train.Count).Select(i => Path.GetRelativePath(Path.Combine(folder, "train"), data.Train.NameOf(i))));
        Assert.Equal(File.ReadAllBytes(data.Train.NameOf(4321)), data.Train.Image(4321).ToArray());
    }

    private void WriteTiny()
    {
        PictureFiles.Write(
            Folder, "train/n01/images/n01_0.JPEG", "train/n01/images/n01_1.JPEG", "train/n02/images/n02_0.JPEG", "train/n03/images/n03_0.JPEG",
            "val/images/val_0.JPEG", "val/images/val_1.JPEG", "val/images/val_10.JPEG", "val/images/val_2.JPEG", "test/images/test_0.JPEG");
        PictureFiles.WriteText(Folder, "train/n01/n01_boxes.txt", "n01_0.JPEG\t0\t0\t63\t63\n");
        PictureFiles.WriteText(
            Folder, "val/val_annotations.txt",
            "val_0.JPEG\tn03\t0\t32\t44\t62\nval_1.JPEG\tn01\t52\t55\t57\t59\nval_2.JPEG\tn02\t4\t0\t60\t55\nval_10.JPEG\tn03\t1\t1\t2\t2\n");
    }

    private void Link(string from, string to) => Directory.CreateSymbolicLink(Path.Combine(Folder, from), Path.Combine(Folder, to));
}
