using System.Text;
using FeedbackKernels.Data;

namespace FeedbackKernels.Tests.Data;

/// <summary>WebDataset tars: samples, labels, patterns, formats of tar, and what is wrong with tars.</summary>
public sealed class WebDatasetTests : FolderTests
{
    private string Train => Path.Combine(Folder, "train.tar");

    private string Test => Path.Combine(Folder, "val.tar");

    private string Source => $"wds:{Train},{Test}";

    /// <summary>Tars made by GNU tar: short names, names of more than 100 and more than 256 characters, and other files between.</summary>
    [Theory]
    [InlineData("ustar", 150)]
    [InlineData("gnu", 150)]
    [InlineData("gnu", 400)]
    [InlineData("oldgnu", 150)]
    [InlineData("pax", 150)]
    [InlineData("pax", 400)]
    [InlineData("v7", 20)]
    public void Tars_of_all_formats_are_indexed(string format, int nameLength)
    {
        string folder = string.Join('/', Enumerable.Repeat("folder.of.some.length", 30))[..nameLength].TrimEnd('/', '.');
        string[] keys = ["b", "a", $"{folder}/{new string('k', 60)}", "dir/é"];
        string[] names = [.. keys.SelectMany((key, i) => (string[])[$"{key}.cls", $"{key}.json", $"{key}.{(i % 2 == 0 ? "jpg" : "PNG")}", $"{key}.seg.png"])];
        PictureFiles.Write(Folder, names);
        for (int i = 0; i < keys.Length; i++) File.WriteAllText(Path.Combine(Folder, $"{keys[i]}.cls"), $"{2 * i}\n");
        Directory.CreateDirectory(Path.Combine(Folder, "empty.jpg"));
        PictureFiles.Tar(Folder, Train, format, [.. names, "empty.jpg"]);
        File.Copy(Train, Test);
        DataSet data = DataSet.Open(Source, 1);
        Assert.Equal([0, 2, 4, 6], data.Train.Labels);
        Assert.Equal((7, "6", null, 3), (data.Train.Classes, data.ClassNames[6], data.Train.Shape, data.Train.Channels));
        string[] images = ["b.jpg", "a.PNG", $"{keys[2]}.jpg", "dir/é.PNG"];
        for (int i = 0; i < keys.Length; i++)
        {
            byte[] content = File.ReadAllBytes(Path.Combine(Folder, images[i]));
            Assert.Equal(content, data.Train.Image(i).ToArray());
            Assert.StartsWith($"{Train}, {images[i]}, offset ", data.Train.NameOf(i), StringComparison.Ordinal);
            // The offset is that of the content.
            int offset = int.Parse(data.Train.NameOf(i).Split(' ')[^1]);
            Assert.Equal(content, File.ReadAllBytes(Train).AsSpan(offset, content.Length).ToArray());
        }

        Assert.Equal(
            [$"{Train}: left out 8 files that are neither images nor classes (as {Train}, b.json)", "no training image has class 1, 3, 5 of 7", $"{Test}: left out 8 files that are neither images nor classes (as {Test}, b.json)"],
            data.Notes);
    }

    [Fact]
    public void Shards_are_read_in_the_order_of_the_pattern()
    {
        for (int shard = 0; shard < 12; shard++)
            Write(Path.Combine(Folder, $"s-{shard:000}.tar"), PictureFiles.Sample($"{shard}-x", shard % 5), shard == 7 ? [] : PictureFiles.Sample($"{shard}-y", shard % 3));
        Write(Test, PictureFiles.Sample("t", 4));
        DataSet data = DataSet.Open($"wds:{Folder}/s-{{{{011..002}},000}}.tar,{Folder}/{{val,s-001}}.tar", 1);
        int[] shards = [.. Enumerable.Range(2, 10).Reverse(), 0];
        Assert.Equal(
            shards.SelectMany(shard => shard == 7 ? (string[])[$"{shard}-x.jpg"] : [$"{shard}-x.jpg", $"{shard}-y.jpg"]),
            Enumerable.Range(0, data.Train.Count).Select(i => data.Train.NameOf(i).Split(", ")[1]));
        Assert.Equal(shards.SelectMany(shard => shard == 7 ? (int[])[shard % 5] : [shard % 5, shard % 3]), data.Train.Labels);
        Assert.Equal([4, 1, 1], data.Test.Labels);
        Assert.All(Enumerable.Range(0, data.Train.Count), i => Assert.Equal(PictureFiles.Content(data.Train.NameOf(i).Split(", ")[1]), data.Train.Image(i).ToArray()));
        Assert.Equal(["training tars (index)"], data.Fingerprint.Train!.Files.Select(file => file.Name));
    }

    [Fact]
    public void Sources_become_absolute()
    {
        string here = Directory.GetCurrentDirectory();
        Assert.Equal($"wds:{here}/a/{{0..3}}.tar,{here}/../b{{,c}}.tar", DataSet.Absolute("wds:a/{0..3}.tar,../b{,c}.tar"));
        Assert.Equal("wds:/a/{0..3}.tar,{/b,/c}.tar", DataSet.Absolute("wds:/a/{0..3}.tar,{/b,/c}.tar"));
        Assert.Equal(DataSet.Absolute("wds:a,b"), DataSet.Absolute(DataSet.Absolute("wds:a,b")));
        TestFiles.Complains<ArgumentException>(() => DataSet.Absolute("wds:{/a,b}.tar,c"), "absolute and relative");
        TestFiles.Complains<ArgumentException>(() => DataSet.Absolute("wds:a"), "names no test images");
    }

    [Theory]
    [InlineData("wds:train.tar", "names no test images")]
    [InlineData("wds:{a,b}.tar", "names no test images")]
    [InlineData("wds:train.tar,", "has 2 patterns, one of them empty")]
    [InlineData("wds:a,b,c", "has 3 patterns")]
    public void Two_patterns_are_needed(string source, string problem)
    {
        TestFiles.Complains<ArgumentException>(source, $"'{source}' {problem}", "wds:train-{000..146}.tar,val-{00..06}.tar");
        TestFiles.Complains<ArgumentException>(() => DataSet.OpenTest(source, 1), problem);
    }

    [Fact]
    public void Tars_that_are_missing_are_counted()
    {
        Write(Train, PictureFiles.Sample("a", 0));
        TestFiles.Complains<FileNotFoundException>($"wds:{Train},{Folder}/v{{0..3}}.tar", $"'{Folder}/v0.tar' is not there, nor 3 others of the 4 of {Folder}/v{{0..3}}.tar");
        TestFiles.Complains<FileNotFoundException>($"wds:{Folder}/*.tar,{Train}", "is not there; only braces are expanded");
        TestFiles.Complains<DirectoryNotFoundException>($"wds:{Folder}/x/1.tar,{Train}", $"directory '{Folder}/x' of the tar");
        TestFiles.Complains<InvalidDataException>($"wds:{Folder},{Train}", $"{Folder}: found a folder, expected a tar");
    }

    [Fact]
    public void A_sample_has_one_image_and_one_class()
    {
        byte[] good = PictureFiles.Sample("a", 0), jpg = PictureFiles.Member("b.jpg", [1]), png = PictureFiles.Member("b.png", [1]), cls = PictureFiles.Member("b.cls", "1"u8.ToArray());
        Complains("no cls next to it", good, jpg, PictureFiles.Sample("c", 1));
        Complains("no cls next to it", good, jpg);
        Complains("no jpg, png or webp next to it", good, cls);
        Complains("the files of a sample must follow one another", good, jpg, PictureFiles.Sample("c", 1), cls);
        Complains("b.png is a second image of the sample 'b', which has b.jpg", good, jpg, png, cls);
        Complains("b.cls is a second class of the sample 'b', which has b.cls", good, cls, cls, png);
        Write(Train, PictureFiles.Member("readme.md", [1]));
        TestFiles.Complains<InvalidDataException>(Source, $"{Train}: found no samples; expected files KEY.jpg and KEY.cls");

        void Complains(string what, params byte[][] members)
        {
            Write(Train, members);
            // The first member of the bad sample stands after two headers and their contents.
            TestFiles.Complains<InvalidDataException>(Source, $"{Train}, offset ", what);
            Assert.Contains("'b'", Assert.Throws<InvalidDataException>(() => DataSet.Open(Source, 1)).Message, StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData("")]
    [InlineData("x")]
    [InlineData("-1")]
    [InlineData("1.0")]
    [InlineData("100000")]
    [InlineData("99999999999999999999")]
    [InlineData("0x1")]
    public void A_class_is_a_number(string label)
    {
        Write(Train, PictureFiles.Sample("a", 0), PictureFiles.Member("b.jpg", [1]), PictureFiles.Member("b.cls", Encoding.ASCII.GetBytes(label)));
        // Four blocks of the first sample (of 700 bytes at most) and three more.
        TestFiles.Complains<InvalidDataException>(Source, $"{Train}, offset ", $"b.cls is '{label}', expected a class from 0 to 99999");
    }

    [Fact]
    public void A_long_class_is_refused_without_reading_it()
    {
        Write(Train, PictureFiles.Member("b.jpg", [1]), PictureFiles.Member("b.cls", new byte[65]));
        TestFiles.Complains<InvalidDataException>(Source, "b.cls has 65 bytes, the limit is 64");
    }

    [Fact]
    public void Test_classes_are_those_of_training()
    {
        Write(Train, PictureFiles.Sample("a", 1), PictureFiles.Sample("b", 0));
        Write(Test, PictureFiles.Sample("c", 2));
        TestFiles.Complains<InvalidDataException>(Source, $"{Test}, offset 1536: c.cls is '2', expected a class from 0 to 1");
        Assert.Equal(3, DataSet.OpenTest(Source, 1).Images.Classes);
        Assert.Equal(7, DataSet.OpenTest(Source, 1, classes: 7).Images.Classes);
        File.Delete(Train);
        Assert.Equal([2], DataSet.OpenTest(Source, 1, classes: 3).Images.Labels);
        TestFiles.Complains<InvalidDataException>(() => DataSet.OpenTest(Source, 1, classes: 2), "expected a class from 0 to 1");
    }

    [Fact]
    public void Images_are_grouped_if_their_classes_follow_one_another()
    {
        Write(Train, PictureFiles.Sample("a", 1), PictureFiles.Sample("b", 1), PictureFiles.Sample("c", 0));
        Assert.True(DataSet.Open(Source, 1).Train.IsGrouped);
        Write(Train, PictureFiles.Sample("a", 1), PictureFiles.Sample("c", 0), PictureFiles.Sample("b", 1));
        Assert.False(DataSet.Open(Source, 1).Train.IsGrouped);
    }

    [Fact]
    public void Keys_end_at_the_first_dot_of_the_last_part()
    {
        byte[] cls = "0"u8.ToArray();
        Write(
            Train, PictureFiles.Member("v1.0/a.jpg", [1]), PictureFiles.Member("v1.0/a.cls", cls), PictureFiles.Member("w1.0/a.jpg", [2]), PictureFiles.Member("w1.0/a.cls", cls),
            PictureFiles.Member("./b.jpg", [3]), PictureFiles.Member("./b.cls", cls), PictureFiles.Member(".hidden.jpg", [4]), PictureFiles.Member("c.cls", cls), PictureFiles.Member("c.x.jpg", [5]),
            PictureFiles.Member("c.jpeg", [6]), PictureFiles.Member("noextension", [7]));
        Assert.Equal([1, 2, 3, 6], DataSet.Open(Source, 1).Train.Pixels);
    }

    [Fact]
    public void A_fingerprint_notices_other_labels_members_and_lengths()
    {
        Write(Train, PictureFiles.Sample("a", 1), PictureFiles.Sample("b", 0));
        DataFingerprint first = DataSet.Open(Source, 1).Fingerprint;
        Assert.Empty(DataSet.Open(Source, 1).Fingerprint.DifferencesFrom(first));
        Write(Train, PictureFiles.Sample("a", 0), PictureFiles.Sample("b", 1));
        Assert.StartsWith("training tars (index): SHA-256", Assert.Single(DataSet.Open(Source, 1).Fingerprint.DifferencesFrom(first)), StringComparison.Ordinal);
        Write(Train, PictureFiles.Sample("a", 1), PictureFiles.Sample("b", 0), PictureFiles.Sample("c", 0));
        Assert.Equal(2, DataSet.Open(Source, 1).Fingerprint.DifferencesFrom(first).Count);
    }

    [Fact]
    public void A_tar_that_changes_while_it_is_used_is_an_error()
    {
        Write(Train, PictureFiles.Sample("a", 0));
        IImageSource train = DataSet.Open(Source, 1).Train;
        File.AppendAllText(Train, "more");
        TestFiles.Complains<InvalidDataException>(() => train.ReadAll([0]), $"{Train}: {new FileInfo(Train).Length} bytes, but");
        File.Delete(Train);
        TestFiles.Complains<FileNotFoundException>(() => train.ReadAll([0]), $"'{Train}' is not there");
        Assert.Throws<ArgumentOutOfRangeException>(() => train.Label(1));
        Assert.Throws<ArgumentException>(() => train.Read([0], new byte[3]));
    }

    [Fact]
    public void Few_files_are_open_and_all_can_be_read_by_many_threads()
    {
        const int Shards = 40;
        for (int shard = 0; shard < Shards; shard++) Write(Path.Combine(Folder, $"{shard}.tar"), PictureFiles.Sample($"k{shard}", 0));
        var files = new SharedFiles([.. Enumerable.Range(0, Shards).Select(shard => Path.Combine(Folder, $"{shard}.tar")).Select(path => (path, new FileInfo(path).Length))], mostOpen: 6);
        Parallel.For(0, 4000, new ParallelOptions { MaxDegreeOfParallelism = 4 }, i =>
        {
            string name = $"k{i * 7 % Shards}.jpg";
            var content = new byte[PictureFiles.Content(name).Length];
            Assert.Equal(content.Length, files.Read(i * 7 % Shards, 512, content));
            Assert.Equal(PictureFiles.Content(name), content);
        });
        Assert.InRange(files.OpenCount, 1, 6);
    }

    private void Write(string path, params byte[][] members)
    {
        File.WriteAllBytes(path, [.. members.SelectMany(member => member), .. PictureFiles.End]);
        if (path == Train && !File.Exists(Test)) Write(Test, PictureFiles.Sample("t", 0));
    }
}
