using FeedbackKernels.Data;

namespace FeedbackKernels.Tests.Data.Packed;

/// <summary>Packing that was interrupted goes on where it stopped, and never with something else.</summary>
public sealed class PackRestartTests : FolderTests
{
    private const int Train = 60, Test = 12, All = Train + Test;

    private readonly DataSet _data = PackableImages.SmallSet(Train, Test);

    private string Target => Path.Combine(Folder, "x.packed");

    private string Partial => Target + ".partial";

    private string Journal => Target + ".partial.journal";

    [Theory]
    [InlineData(1)]
    [InlineData(13)]
    [InlineData(All - 1)]
    [InlineData(All)]
    public void An_interrupted_pack_goes_on_and_gives_the_same_file(int images)
    {
        byte[] whole = Whole(new PackOptions());
        Stop(images, new PackOptions { Threads = 2 });
        Assert.False(File.Exists(Target));
        var log = new PackLog();
        Run(new PackOptions { Threads = 5 }, log);
        Assert.Equal(whole, File.ReadAllBytes(Target));
        Assert.Contains($"goes on after {images} of {All} images", Assert.Single(log.Notes));
        Assert.Equal(All - images, log.Steps.Count(step => step.Stage == PackStage.Pack));
        Assert.Equal([Target], Directory.GetFileSystemEntries(Folder));
    }

    [Fact]
    public void It_may_be_interrupted_many_times_also_while_it_verifies()
    {
        byte[] whole = Whole(new PackOptions { Preparation = new ImagePreparation { RawShare = 0.5 } });
        var options = new PackOptions { Preparation = new ImagePreparation { RawShare = 0.5 } };
        for (int images = 5; images < All; images += 11) Stop(images, options);
        Stop(0, options, PackStage.Verify);
        Assert.Equal(whole[..8], File.ReadAllBytes(Partial)[..8]);
        Run(options);
        Assert.Equal(whole, File.ReadAllBytes(Target));
    }

    [Fact]
    public void Images_that_were_left_out_are_remembered()
    {
        DataSet data = PackableImages.Set(new PackableImages(1, [.. Enumerable.Range(0, 20).Select(i => (i % 3 == 0 ? [1, 2, (byte)i] : PackableImages.Pnm(1, 1, (byte)i, 2, 3), 0))]), PackableImages.Mixed(3, 1, 0));
        var options = new PackOptions { OnDamage = OnDamage.Skip };
        Packer.Pack(data, Target, options, new PackLog(), TestContext.Current.CancellationToken);
        (byte[] file, byte[] list) = (File.ReadAllBytes(Target), File.ReadAllBytes(Target + ".damaged.csv"));
        File.Delete(Target);
        File.Delete(Target + ".damaged.csv");
        Stop(15, options, data: data);
        // Whoever no longer allows damage is told of the damage that is known.
        Assert.Throws<InvalidDataException>(() => Packer.Pack(data, Target, new PackOptions(), new PackLog(), TestContext.Current.CancellationToken));
        Packer.Pack(data, Target, options, new PackLog(), TestContext.Current.CancellationToken);
        Assert.Equal(file, File.ReadAllBytes(Target));
        Assert.Equal(list, File.ReadAllBytes(Target + ".damaged.csv"));
    }

    [Fact]
    public void After_damage_that_was_fatal_packing_goes_on_without_those_images()
    {
        DataSet data = PackableImages.Set(new PackableImages(1, [.. Enumerable.Range(0, 40).Select(i => (i == 7 ? [1] : PackableImages.Pnm(1, 1, (byte)i, 2, 3), 0))]), PackableImages.Mixed(3, 1, 0));
        Assert.Throws<InvalidDataException>(() => Packer.Pack(data, Target, new PackOptions(), new PackLog(), TestContext.Current.CancellationToken));
        var log = new PackLog();
        Packer.Pack(data, Target, new PackOptions { OnDamage = OnDamage.Skip }, log, TestContext.Current.CancellationToken);
        int place = Array.IndexOf(PackOrder.Of(40, 3, 1), 7);
        if (place > 0) Assert.Contains($"goes on after {place} of 43", log.Notes[0]);
        Assert.Equal(39, PackedImages.Read(Target).Train.Count);
    }

    public static TheoryData<string> OtherPlans => ["encode", "side", "share", "quality", "seed", "count", "classes", "source"];

    [Theory, MemberData(nameof(OtherPlans))]
    public void Other_settings_or_another_source_begin_anew_and_say_so(string change)
    {
        var before = new PackOptions { Preparation = new ImagePreparation { Encode = PackEncoding.Jpeg, Quality = 70 } };
        ImagePreparation preparation = before.Preparation;
        (DataSet data, PackOptions after, string said) = change switch
        {
            "encode" => (_data, before with { Preparation = new ImagePreparation { Encode = PackEncoding.Raw } }, "raw pixels, before encoded as JPEG of quality 70"),
            "side" => (_data, before with { Preparation = preparation with { LongestSide = 9 } }, "longest side at most 9"),
            "share" => (_data, before with { Preparation = preparation with { RawShare = 0.5 } }, "50 % raw"),
            "quality" => (_data, before with { Preparation = preparation with { Quality = 71 } }, "quality 71"),
            "seed" => (_data, before with { Seed = 2 }, "seed 2, before 1"),
            "count" => (PackableImages.SmallSet(Train - 1, Test), before, "59 training"),
            "classes" => (PackableImages.SmallSet(Train, Test, classes: 4), before, "other classes"),
            _ => (_data with { Fingerprint = new DataFingerprint("memory", _data.Fingerprint.Train! with { Files = [new FileFingerprint("a.tar", 5, null)] }, _data.Fingerprint.Test) }, before, "a.tar"),
        };
        Packer.Pack(data, Target, after, new PackLog(), TestContext.Current.CancellationToken);
        byte[] whole = File.ReadAllBytes(Target);
        File.Delete(Target);
        Stop(30, before);
        var log = new PackLog();
        Packer.Pack(data, Target, after, log, TestContext.Current.CancellationToken);
        Assert.Contains("begun anew", log.Notes[0]);
        Assert.Contains(said, log.Notes[0]);
        Assert.Equal(whole, File.ReadAllBytes(Target));
    }

    [Theory]
    [InlineData("no partial")]
    [InlineData("no journal")]
    [InlineData("partial cut")]
    [InlineData("partial changed")]
    [InlineData("partial zeros")]
    [InlineData("journal cut")]
    [InlineData("journal changed")]
    [InlineData("journal of another kind")]
    [InlineData("journal with rubbish")]
    public void What_a_crash_left_behind_is_checked(string damage)
    {
        byte[] whole = Whole(new PackOptions());
        Stop(40, new PackOptions());
        switch (damage)
        {
            case "no partial": File.Delete(Partial); break;
            case "no journal": File.Delete(Journal); break;
            case "partial cut": Change(Partial, bytes => bytes[..^3]); break;
            case "partial changed": Change(Partial, bytes => Flip(bytes, bytes.Length - 1000)); break;
            case "partial zeros": Change(Partial, bytes => [.. bytes[..66000], .. new byte[bytes.Length - 66000]]); break;
            case "journal cut": Change(Journal, bytes => bytes[..^10]); break;
            case "journal changed": Change(Journal, bytes => Flip(bytes, bytes.Length - 500)); break;
            case "journal of another kind": Change(Journal, _ => [.. "hello"u8]); break;
            default: Change(Journal, bytes => [.. bytes, 255, 255, 255, 127, 1, 2, 3]); break;
        }

        Run(new PackOptions());
        Assert.Equal(whole, File.ReadAllBytes(Target));
        Assert.Equal([Target], Directory.GetFileSystemEntries(Folder));
    }

    [Fact]
    public void The_journal_may_be_cut_anywhere()
    {
        byte[] whole = Whole(new PackOptions());
        Stop(5, new PackOptions());
        (byte[] journal, byte[] partial) = (File.ReadAllBytes(Journal), File.ReadAllBytes(Partial));
        for (int length = 0; length < journal.Length; length += 7)
        {
            File.WriteAllBytes(Journal, journal[..length]);
            File.WriteAllBytes(Partial, partial);
            Run(new PackOptions { Overwrite = true });
            Assert.Equal(whole, File.ReadAllBytes(Target));
        }
    }

    [Fact]
    public void Two_processes_cannot_pack_to_the_same_file()
    {
        string said = "";
        Run(new PackOptions(), new PackLog
        {
            Step = (_, done) =>
            {
                if (done == 10) said = Assert.Throws<IOException>(() => Run(new PackOptions())).Message;
            },
        });
        Assert.Contains(Journal, said);
        Assert.Contains("another process", said);
        Assert.Equal(Train, PackedImages.Read(Target).Train.Count);
    }

    [Fact]
    public void A_former_file_stays_until_the_new_one_is_whole()
    {
        byte[] before = Whole(new PackOptions { Seed = 9 });
        File.WriteAllBytes(Target, before);
        Stop(40, new PackOptions { Overwrite = true });
        Stop(0, new PackOptions { Overwrite = true }, PackStage.Verify);
        Assert.Equal(before, File.ReadAllBytes(Target));
        Run(new PackOptions { Overwrite = true });
        Assert.NotEqual(before, File.ReadAllBytes(Target));
    }

    private byte[] Whole(PackOptions options)
    {
        Run(options);
        byte[] file = File.ReadAllBytes(Target);
        File.Delete(Target);
        return file;
    }

    private void Run(PackOptions options, PackLog? log = null) => Packer.Pack(_data, Target, options, log ?? new PackLog(), TestContext.Current.CancellationToken);

    private void Stop(int images, PackOptions options, PackStage stage = PackStage.Pack, DataSet? data = null)
    {
        using var stop = new CancellationTokenSource();
        var log = new PackLog
        {
            Step = (at, done) =>
            {
                if (at == stage && done >= images) stop.Cancel();
            },
        };
        Assert.ThrowsAny<OperationCanceledException>(() => Packer.Pack(data ?? _data, Target, options, log, stop.Token));
    }

    private static void Change(string path, Func<byte[], byte[]> change) => File.WriteAllBytes(path, change(File.ReadAllBytes(path)));

    private static byte[] Flip(byte[] bytes, int at)
    {
        bytes[at] ^= 1;
        return bytes;
    }
}
