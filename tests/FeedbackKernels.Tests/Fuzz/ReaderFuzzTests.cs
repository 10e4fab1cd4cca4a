using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using System.Text;
using System.Text.Json;
using CsCheck;
using FeedbackKernels.Data;
using FeedbackKernels.Layers;
using FeedbackKernels.Rules;
using FeedbackKernels.Runs;
using FeedbackKernels.Storage;
using FeedbackKernels.Tests.Data;
using FeedbackKernels.Tests.KnownAnswers;

namespace FeedbackKernels.Tests.Fuzz;

/// <summary>
/// Randomly damaged files: a reader returns the content of the file or throws one of the documented exceptions. It does not hang, and
/// needs no more memory than a small multiple of the file. The environment variable FEEDBACK_FUZZ sets the number of files of each format.
/// </summary>
public sealed partial class ReaderFuzzTests : FolderTests
{
    private const int DefaultFiles = 2000, MostMutations = 4;
    private const long MemoryFactor = 64, MemoryConstant = 1 << 20;

    // A damaged class may be the highest that there can be, and each class has a name.
    private const long NumberedClasses = 16 << 20;

    private static readonly TimeSpan TimeLimit = TimeSpan.FromSeconds(20);

    private static readonly long Files = long.TryParse(Environment.GetEnvironmentVariable("FEEDBACK_FUZZ"), CultureInfo.InvariantCulture, out long files) ? files : DefaultFiles;

    private readonly ConcurrentBag<string> _folders = [];
    private readonly ConcurrentDictionary<string, (long Start, byte[] File, string Name)> _reading = [];
    private int _folderCount, _loaded;

    [Fact]
    public void Idx()
    {
        byte[][] images = [TestFiles.IdxImages(30, 6, 5), TestFiles.IdxImages(12, 28, 28), TestFiles.IdxImages(1, 1, 1)];
        byte[][] labels = [TestFiles.Digits(30), TestFiles.Digits(12), TestFiles.IdxLabels(0)];
        Sample(
            Gen.OneOf(
                Mutated(images).Select(file => (file, name: "train-images-idx3-ubyte")),
                Mutated(labels).Select(file => (file, name: "t10k-labels-idx1-ubyte"))),
            folder => TestFiles.WriteMnist(folder),
            ReadIdx);
    }

    [Fact]
    public void Gzip()
    {
        byte[][] plain = [TestFiles.IdxImages(30, 6, 5), TestFiles.IdxImages(12, 28, 28)];
        byte[] options = [0x1F, 0x8B, 8, 4 | 8 | 16, 0, 0, 0, 0, 0, 3, 3, 0, 1, 2, 3, .. "name"u8, 0, .. "comment"u8, 0, .. TestFiles.Gzip(plain[0])[10..]];
        byte[][] compressed = [TestFiles.Gzip(plain[0]), TestFiles.Gzip(plain[1]), [.. TestFiles.Gzip(plain[0][..100]), .. TestFiles.Gzip(plain[0][100..])], options];
        Gen<byte[]> any = Gen.OneOf(Mutated(compressed), Mutated(plain).Select(file => TestFiles.Gzip(file)));
        Sample(any.Select(file => (file, name: "train-images-idx3-ubyte.gz")), WriteWithoutTrainImages, ReadCompressedIdx);

        static void WriteWithoutTrainImages(string folder)
        {
            TestFiles.WriteMnist(folder);
            File.Delete(Path.Combine(folder, "train-images-idx3-ubyte"));
        }
    }

    [Fact]
    public void Cifar10Files()
    {
        byte[][] files = [TestFiles.CifarRecords(1, 1, _ => [3]), TestFiles.CifarRecords(2, 9, i => [(byte)i]), [.. "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n"u8]];
        var names = (string[])["data_batch_2.bin", "test_batch.bin", "batches.meta.txt"];
        Sample(
            Gen.Select(Mutated(files), Gen.Int[0, names.Length - 1], (file, name) => (file, names[name])),
            folder => TestFiles.WriteCifar10(folder, 1),
            (folder, _, _) => RequireWhole(Cifar10.Format(1).Read(folder), 5, 1, 10));
    }

    [Fact]
    public void Cifar100Files()
    {
        byte[][] files = [TestFiles.CifarRecords(2, 1, i => [(byte)i, (byte)(99 - i)]), TestFiles.CifarRecords(1, 9, _ => [19, 99]), [.. Encoding.UTF8.GetBytes(string.Join('\n', Enumerable.Range(0, 20)))]];
        var names = (string[])["train.bin", "test.bin", "coarse_label_names.txt"];
        Sample(
            Gen.Select(Mutated(files), Gen.Int[0, names.Length - 1], (file, name) => (file, names[name])),
            folder => TestFiles.WriteCifar100(folder, 2, 1),
            (folder, _, _) => RequireWhole(Cifar100.Format(coarse: true, 2, 1).Read(folder), 2, 1, 20));
    }

    [Fact]
    public void SafeTensorsFiles()
    {
        byte[][] files = [Tensors([("a", [2, 3]), ("b.c", [1]), ("empty", [0, 4]), ("d", [])]), Tensors([("w", [3, 3, 2, 2])]), Tensors([])];
        Gen<byte[]> headers = Gen.Select(Gen.Int[0, files.Length - 1], JsonMutation.Any.Array[1, 3]).Select((index, mutations) => MutateHeader(files[index], mutations));
        Sample(Gen.OneOf(Mutated(files), headers).Select(file => (file, name: "model.safetensors")), _ => { }, ReadTensors);
    }

    [Fact]
    public void Configurations()
    {
        byte[][] files = [.. Configs().Select((config, i) => { string path = Path.Combine(Folder, $"{i}.json"); config.Write(path); return File.ReadAllBytes(path); })];
        Gen<byte[]> changed = Gen.Select(Gen.Int[0, files.Length - 1], JsonMutation.Any.Array[1, 3])
            .Select((index, mutations) => Encoding.UTF8.GetBytes(mutations.Aggregate(Encoding.UTF8.GetString(files[index]), (text, mutation) => mutation.Apply(text))));
        Sample(Gen.OneOf(Mutated(files), changed).Select(file => (file, name: "config.json")), _ => { }, ReadConfig);

        IEnumerable<RunConfig> Configs() =>
        [
            new RunConfig { DataFingerprint = Fingerprint() },
            new RunConfig { Rule = new WeightMirror(), RuleFor = [new RuleFor("fc*", new KolenPollack())], LimitTest = 5 },
            new RunConfig { Rule = new DirectFeedbackAlignment(), Simd = FeedbackKernels.Interop.SimdLevel.Avx2, NormOrder = Enum.GetValues<NormOrder>()[^1] },
        ];

        DataFingerprint Fingerprint()
        {
            TestFiles.WriteMnist(Folder);
            return Mnist.Read(Folder).Fingerprint;
        }
    }

    /// <summary>WebDataset tars: damaged at random, and with the checksums of the headers made right again.</summary>
    [Fact]
    public void WebDatasetTars()
    {
        byte[][] tars = [HandMadeTar(), .. ((string[])["ustar", "gnu", "pax"]).Select(GnuTar)];
        Gen<byte[]> files = Gen.Select(Gen.OneOf(Mutated(tars), Resummed(tars)), Gen.Int[0, 20], (file, gzip) => gzip == 0 ? TestFiles.Gzip(file) : file);
        Sample(files.Select(file => (file, name: "train.tar")), folder => TestFiles.Write(folder, "val.tar", [.. PictureFiles.Sample("t", 0), .. PictureFiles.End]), ReadSamples, NumberedClasses);

        static void ReadSamples(string folder, string name, byte[] file) => Naming(folder, name, () => RequireContent(DataSet.Open($"wds:{folder}/train.tar,{folder}/val.tar", 1).Train, file));
    }

    [Fact]
    public void ImageNetTarFiles()
    {
        byte[] train = NestedTar(("n02119789", ["a_1.JPEG", "a_2.JPEG"]), ("n01440764", ["b_1.JPEG"]));
        byte[] val = [.. Enumerable.Range(1, 3).SelectMany(i => PictureFiles.Member($"ILSVRC2012_val_{i:00000000}.JPEG", PictureFiles.Content($"{i}"))), .. PictureFiles.End];
        Sample(
            Gen.OneOf(
                Gen.OneOf(Mutated([train]), Resummed([train])).Select(file => (file, name: ImageNetTars.TrainFile)), Gen.OneOf(Mutated([val]), Resummed([val])).Select(file => (file, name: ImageNetTars.ValFile))),
            folder =>
            {
                TestFiles.Write(folder, ImageNetTars.TrainFile, train);
                TestFiles.Write(folder, ImageNetTars.ValFile, val);
                TestFiles.Write(folder, "imagenet_2012_validation_synset_labels.txt", "n01440764\nn02119789\nn01440764\n"u8.ToArray());
            },
            (folder, name, file) => Naming(folder, name, () =>
            {
                DataSet data = DataSet.Open($"imagenet:{folder}", 1);
                RequireContent(name == ImageNetTars.TrainFile ? data.Train : data.Test, file);
            }));
    }

    /// <summary>What says the classes of ImageNet's test images.</summary>
    [Fact]
    public void GroundTruth()
    {
        byte[] numbers = "1\n3\n3\n"u8.ToArray();
        byte[][] kits = [.. ((byte[][])[Known.Bytes("meta.mat"), Known.Bytes("meta-plain.mat")]).Select(meta => (byte[])
            [.. PictureFiles.Member("kit/data/meta.mat", meta), .. PictureFiles.Member("kit/data/ILSVRC2012_validation_ground_truth.txt", numbers), .. PictureFiles.End])];
        Sample(
            Gen.OneOf(
                Mutated([Known.Bytes("meta.mat"), Known.Bytes("meta-plain.mat")]).Select(file => (file, name: "meta.mat")), Mutated([Known.Bytes("meta-plain.mat")]).Select(file => (file, name: "meta.mat")),
                Mutated(["n02119789 1 kit_fox\nn01440764 3 tench\n"u8.ToArray()]).Select(file => (file, name: "map_clsloc.txt")), Mutated([numbers]).Select(file => (file, name: "ILSVRC2012_validation_ground_truth.txt")),
                Mutated(["n02119789\nn01440764\nn01440764\n"u8.ToArray()]).Select(file => (file, name: "imagenet_2012_validation_synset_labels.txt")),
                Mutated(["ImageId,PredictionString\nILSVRC2012_val_00000002,n01440764 1 2\nILSVRC2012_val_00000001,n02119789 1\nILSVRC2012_val_00000003,n01440764 1\n"u8.ToArray()]).Select(file => (file, name: "LOC_val_solution.csv")),
                Gen.OneOf(Mutated(kits), Resummed(kits)).Select(kit => (TestFiles.Gzip(kit), name: "ILSVRC2012_devkit_t12.tar.gz"))),
            folder =>
            {
                TestFiles.Write(folder, ImageNetTars.TrainFile, NestedTar(("n02119789", ["a_1.JPEG"]), ("n01440764", ["b_1.JPEG"])));
                TestFiles.Write(folder, ImageNetTars.ValFile, [.. Enumerable.Range(1, 3).SelectMany(i => PictureFiles.Member($"ILSVRC2012_val_{i:00000000}.JPEG", [1])), .. PictureFiles.End]);
            },
            (folder, name, file) =>
            {
                // These say nothing without the other.
                if (name is "meta.mat" or "map_clsloc.txt") TestFiles.Write(folder, "ILSVRC2012_validation_ground_truth.txt", numbers);
                else if (name is "ILSVRC2012_validation_ground_truth.txt") TestFiles.Write(folder, "meta.mat", Known.Bytes("meta.mat"));
                try
                {
                    Naming(folder, name, () => Assert.Equal(3, DataSet.OpenTest($"imagenet:{folder}", 1).Images.Labels.Length));
                }
                finally
                {
                    foreach (string other in (string[])["meta.mat", "ILSVRC2012_validation_ground_truth.txt"])
                    {
                        if (other != name) File.Delete(Path.Combine(folder, other));
                    }
                }
            },
            // Decompressed texts and matrices.
            memory: 32 << 20);
    }

    [Fact]
    public void Annotations()
    {
        byte[] annotations = "val_0.JPEG\tn02\t0\t32\t44\t62\nval_1.JPEG\tn01\t52\t55\t57\t59\n"u8.ToArray();
        Sample(
            Mutated([annotations]).Select(file => (file, name: "val/val_annotations.txt")),
            folder =>
            {
                PictureFiles.Write(folder, "train/n01/1.jpg", "train/n02/1.jpg", "val/images/val_0.JPEG", "val/images/val_1.JPEG");
                TestFiles.Write(folder, "val/val_annotations.txt", annotations);
            },
            (folder, name, file) => Naming(folder, name, () =>
            {
                DataSet data = DataSet.Open($"imagefolder:{folder}", 1);
                Assert.Equal(2, data.Test.Count);
                Assert.All(data.Test.Labels, label => Assert.InRange(label, 0, 1));
            }));
    }

    /// <summary>Runs a reader; what it complains of names the damaged file, and where in the file or what was found.</summary>
    private static void Naming(string folder, string name, Action read)
    {
        try
        {
            read();
        }
        catch (InvalidDataException e)
        {
            Assert.Contains(Path.Combine(folder, name), e.Message, StringComparison.Ordinal);
            throw;
        }
    }

    /// <summary>All images of a source lie in the file, at the places that their names say.</summary>
    private static void RequireContent(IImageSource source, byte[] file)
    {
        for (int i = 0; i < source.Count; i++)
        {
            int offset = int.Parse(source.NameOf(i).Split(' ')[^1], CultureInfo.InvariantCulture);
            Assert.Equal(file.AsSpan(offset, source.Length(i)), source.Image(i));
            Assert.InRange(source.Label(i), 0, source.Classes - 1);
        }
    }

    private static byte[] HandMadeTar() =>
    [
        .. PictureFiles.Sample("a", 3), .. PictureFiles.Member("a.json", [1]),
        .. PictureFiles.Member("././@LongLink", [.. Encoding.ASCII.GetBytes(new string('l', 120)), .. "/b.cls"u8, 0], 'L', magic: "ustar  \0"), .. PictureFiles.Member("short", "12"u8.ToArray(), magic: "ustar  \0"),
        .. PictureFiles.Member("p", Encoding.ASCII.GetBytes($"137 path={new string('l', 120)}/b.jpg\n10 size=3\n"), 'x'), .. PictureFiles.Member("q", [7, 8, 9], size: "00000000000\0"),
        .. PictureFiles.Member("c.webp", [1, 2], size: "\u0080" + new string('\0', 10) + "\u0002"), .. PictureFiles.Member("c.cls", "0"u8.ToArray(), prefix: ""), .. PictureFiles.End,
    ];

    private byte[] GnuTar(string format)
    {
        string name = $"{new string('d', 60)}/{new string('e', 60)}/k";
        PictureFiles.Write(Folder, $"{name}.jpg", "k2.png");
        PictureFiles.WriteText(Folder, $"{name}.cls", "1\n");
        PictureFiles.WriteText(Folder, "k2.cls", "12");
        return File.ReadAllBytes(Path.Combine(Folder, PictureFiles.Tar(Folder, $"{format}.tar", format, $"{name}.jpg", $"{name}.cls", "k2.cls", "k2.png")));
    }

    private static byte[] NestedTar(params (string Class, string[] Images)[] classes) =>
    [
        .. classes.SelectMany(label => PictureFiles.Member(
            $"{label.Class}.tar", [.. label.Images.SelectMany(image => PictureFiles.Member(image, PictureFiles.Content(image))), .. PictureFiles.End])), .. PictureFiles.End,
    ];

    /// <summary>Tars with changes near their headers, whose checksums are made right again, so that the readers meet what they say.</summary>
    private static Gen<byte[]> Resummed(byte[][] tars)
    {
        int[][] headers = [.. tars.Select(HeadersOf)];
        return Gen.Select(Gen.Int[0, tars.Length - 1], Gen.Int[0, 1000], Mutation.Any.Array[1, MostMutations]).Select((tar, place, mutations) =>
        {
            int at = headers[tar][place % headers[tar].Length];
            // Of the fields, name, size, type and magic say something.
            var field = ((int, int)[])[(0, 12), (100, 8), (124, 12), (124, 12), (156, 1), (156, 1), (257, 8), (345, 20), (512, 60)];
            (int start, int length) = field[place % field.Length];
            byte[] changed = [.. tars[tar]];
            byte[] part = mutations.Aggregate(changed[(at + start)..Math.Min(changed.Length, at + start + length)], (bytes, mutation) => mutation.Apply(bytes, changed));
            part.AsSpan(0, Math.Min(part.Length, Math.Min(length, changed.Length - at - start))).CopyTo(changed.AsSpan(at + start));
            if (start == 156 && length == 1) changed[at + 156] = (byte)"01257LKxgSMV\0"[place % 13];
            PictureFiles.Summed(changed.AsSpan(at)).CopyTo(changed.AsSpan(at));
            return changed;
        });
    }

    /// <summary>Offsets of the headers: blocks whose checksum is right.</summary>
    private static int[] HeadersOf(byte[] tar) => [.. Enumerable.Range(0, tar.Length / 512).Select(block => block * 512).Where(at => tar[at] != 0 && PictureFiles.Summed(tar.AsSpan(at, 512)).AsSpan(148, 6).SequenceEqual(tar.AsSpan(at + 148, 6)))];

    private static void ReadIdx(string folder, string name, byte[] file)
    {
        DataSet data = Mnist.Read(folder);
        IImageSource changed = name.StartsWith("train", StringComparison.Ordinal) ? data.Train : data.Test;
        Assert.Equal(BinaryPrimitives.ReadUInt32BigEndian(file.AsSpan(4)), (uint)changed.Count);
        if (name.Contains("images", StringComparison.Ordinal)) Assert.Equal(file[16..], changed.Pixels);
        else Assert.Equal(file[8..].Select(label => (int)label), changed.Labels);
        RequireWhole(data, data.Train.Count, data.Test.Count, data.Train.Classes);
    }

    private static void ReadCompressedIdx(string folder, string name, byte[] file)
    {
        DataSet data = Mnist.Read(folder);
        RequireWhole(data, 30, 20, 10);
    }

    private static void RequireWhole(DataSet data, int train, int test, int classes)
    {
        Assert.Equal((train, test), (data.Train.Count, data.Test.Count));
        foreach (IImageSource half in (IImageSource[])[data.Train, data.Test])
        {
            Assert.Equal(classes, half.Classes);
            Assert.Equal((long)half.Count * half.RequireShape().H * half.RequireShape().W * half.Channels, half.Pixels.LongLength);
            Assert.All(half.Labels, label => Assert.InRange(label, 0, classes - 1));
        }

        Assert.Equal(data.Train.RequireShape(), data.Test.RequireShape());
        Assert.Equal(classes, data.ClassNames.Count);
    }

    private static void ReadTensors(string folder, string name, byte[] file)
    {
        using SafeTensorsFile tensors = SafeTensorsFile.Open(Path.Combine(folder, name));
        long end = 8 + BinaryPrimitives.ReadInt64LittleEndian(file);
        foreach (TensorEntry tensor in tensors.Tensors.Values.OrderBy(tensor => tensor.Offset).ThenBy(tensor => tensor.Bytes))
        {
            Assert.Equal(end, tensor.Offset);
            end += tensor.Bytes;
            if (tensor.Type != "F32" || tensor.Sizes.Any(size => size > int.MaxValue)) continue;
            StoredTensor loaded = tensors.Load(tensor.Name);
            Assert.Equal(tensor.Bytes, 4L * loaded.Values.Length);
            Assert.Equal(loaded.Values.LongLength, loaded.Sizes.Aggregate(1L, (product, size) => product * size));
        }

        Assert.Equal(file.Length, end);
    }

    private static void ReadConfig(string folder, string name, byte[] file)
    {
        RunConfig config = RunConfig.Read(Path.Combine(folder, name));
        Assert.NotNull(config.Training.Schedule);
        Assert.Equal(64, RunConfig.HashOf(Path.Combine(folder, name)).Length);
        // What was read can be written, and reads the same again.
        string written = JsonSerializer.Serialize(config, RunJson.Default.RunConfig), again = Path.Combine(folder, "again.json");
        File.WriteAllText(again, written);
        Assert.Equal(written, JsonSerializer.Serialize(RunConfig.Read(again), RunJson.Default.RunConfig));
    }

    private byte[] Tensors((string Name, int[] Sizes)[] tensors)
    {
        string path = Path.Combine(Folder, "base.safetensors");
        SafeTensors.Write(
            path, [.. tensors.Select(t => (t.Name, (IReadOnlyList<int>)t.Sizes, new float[t.Sizes.Aggregate(1, (product, size) => product * size)]))],
            new Dictionary<string, string> { ["format"] = "test" });
        return File.ReadAllBytes(path);
    }

    private static byte[] MutateHeader(byte[] file, JsonMutation[] mutations)
    {
        var length = (int)BinaryPrimitives.ReadInt64LittleEndian(file);
        string header = Encoding.UTF8.GetString(file, 8, length);
        byte[] changed = Encoding.UTF8.GetBytes(mutations.Aggregate(header, (text, mutation) => mutation.Apply(text)));
        return [.. BitConverter.GetBytes((long)changed.Length), .. changed, .. file[(8 + length)..]];
    }

    private static Gen<byte[]> Mutated(byte[][] files) =>
        Gen.Select(Gen.Int[0, files.Length - 1], Gen.Int[0, files.Length - 1], Mutation.Any.Array[1, MostMutations]).Select((index, other, mutations) =>
            mutations.Aggregate(files[index], (file, mutation) => mutation.Apply(file, files[other])));

    /// <summary>Reads many files. Each thread has its own folder, in which one file is replaced at a time.</summary>
    private void Sample(Gen<(byte[] File, string Name)> files, Action<string> fill, Action<string, string, byte[]> read, long memory = MemoryConstant)
    {
        // The first call allocates memory for the code itself.
        Try(read, Rent(fill), "warm-up", []);
        // On another thread: a reader that hangs cannot be stopped, but it can be reported.
        Task run = Task.Factory.StartNew(() => files.Sample(sample => Check(sample, fill, read, memory), iter: Files), TaskCreationOptions.LongRunning);
        while (!Task.WhenAny(run, Task.Delay(TimeLimit / 4)).Result.Equals(run)) RequireProgress();
        run.GetAwaiter().GetResult();
        TestContext.Current.TestOutputHelper?.WriteLine($"{Files} files, {_loaded} of them loaded");
        // If every file is rejected, or none is, the mutations test little.
        Assert.InRange(_loaded, 1, Files - 1);
    }

    private void Check((byte[] File, string Name) sample, Action<string> fill, Action<string, string, byte[]> read, long memory)
    {
        string folder = Rent(fill);
        string path = Path.Combine(folder, sample.Name), kept = path + ".kept";
        bool replaces = File.Exists(path);
        if (replaces) File.Move(path, kept);
        File.WriteAllBytes(path, sample.File);
        _reading[folder] = (Stopwatch.GetTimestamp(), sample.File, sample.Name);
        (Exception? error, long allocated) = Try(read, folder, sample.Name, sample.File);
        _reading.TryRemove(folder, out _);
        if (error is not null) Assert.Fail($"{error} at {Shown(sample)}");
        long limit = MemoryFactor * sample.File.Length + memory;
        Assert.True(allocated <= limit, $"{allocated} bytes taken, at most {limit} expected, at {Shown(sample)}");
        if (replaces) File.Move(kept, path, overwrite: true);
        else File.Delete(path);
        _folders.Add(folder);
    }

    private void RequireProgress()
    {
        foreach ((long start, byte[] file, string name) in _reading.Values)
        {
            if (Stopwatch.GetElapsedTime(start) > TimeLimit) Assert.Fail($"not read after {TimeLimit}: {Shown((file, name))}");
        }
    }

    private (Exception? Error, long Allocated) Try(Action<string, string, byte[]> read, string folder, string name, byte[] file)
    {
        long before = GC.GetAllocatedBytesForCurrentThread();
        try
        {
            read(folder, name, file);
            Interlocked.Increment(ref _loaded);
            return (null, GC.GetAllocatedBytesForCurrentThread() - before);
        }
        catch (Exception e) when (e is InvalidDataException or IOException)
        {
            return (null, GC.GetAllocatedBytesForCurrentThread() - before);
        }
        catch (Exception e)
        {
            return (e, 0);
        }
    }

    private string Rent(Action<string> fill)
    {
        if (_folders.TryTake(out string? folder)) return folder;
        folder = Directory.CreateDirectory(Path.Combine(Folder, $"thread{Interlocked.Increment(ref _folderCount)}")).FullName;
        fill(folder);
        return folder;
    }

    private static string Shown((byte[] File, string Name) sample) =>
        $"{sample.Name}, {sample.File.Length} bytes: {Convert.ToBase64String(sample.File.AsSpan(0, Math.Min(sample.File.Length, 3000)))}";
}
