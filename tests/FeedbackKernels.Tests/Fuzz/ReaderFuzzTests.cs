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
using FeedbackKernels.Tests.Data.Packed;

namespace FeedbackKernels.Tests.Fuzz;

/// <summary>
/// Randomly damaged files: a reader returns the content of the file or throws one of the documented exceptions. It does not hang, and
/// needs no more memory than a small multiple of the file. The environment variable FEEDBACK_FUZZ sets the number of files of each format.
/// </summary>
public sealed class ReaderFuzzTests : FolderTests
{
    private const int DefaultFiles = 2000, MostMutations = 4;
    private const long MemoryFactor = 64, MemoryConstant = 1 << 20;

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

    [Fact]
    public void Packed_files() => ChildProcess.RunTest(GetType(), nameof(Packed_files_in_a_process_of_its_own));

    // The index is mapped into memory: a reader that goes beyond the file ends the process.
    [Fact]
    public void Packed_files_in_a_process_of_its_own()
    {
        ChildProcess.Require();
        byte[][] files = [.. ((DataSet[])[EncodedImages.SmallSet(8, 3), EncodedImages.SmallSet(1, 1, 1), EncodedImages.SmallSet(8, 3, 4)]).Select(data => PackedFiles.Make(Folder, data))];
        Gen<byte[]> plain = Gen.OneOf(Mutated(files), Gen.Select(Gen.Int[0, files.Length - 1], PlaceInPackedFile).Array[1, 3].Select(changes => Change(files, changes)));
        Gen<byte[]> repaired = plain.Select(file => PackedFiles.WithRightChecksums([.. file]));
        Sample(
            Gen.OneOf(plain.Select(file => (file, name: "plain.packed")), repaired.Select(file => (file, name: "repaired.packed"))), _ => { },
            (folder, name, file) => ReadPacked(Path.Combine(folder, name), file, name == "plain.packed" ? files : null));
    }

    // Most bytes of a small packed file are the zeros of its header; these places are elsewhere.
    private static readonly Gen<(int Part, uint At, byte Value)> PlaceInPackedFile = Gen.Select(Gen.Int[0, 2], Gen.UInt, Gen.Byte);

    private static byte[] Change(byte[][] files, (int File, (int Part, uint At, byte Value) Place)[] changes)
    {
        byte[] file = [.. files[changes[0].File]];
        foreach ((_, (int part, uint at, byte value)) in changes)
        {
            (int start, int end) = part switch
            {
                0 => (0, 600),
                1 => (65536, (int)PackedFiles.IndexOffset(file)),
                _ => ((int)PackedFiles.IndexOffset(files[changes[0].File]), file.Length),
            };
            // The first change may have moved the index.
            if (end > start && end <= file.Length && start >= 0) file[start + (int)(at % (uint)(end - start))] = value;
        }

        return file;
    }

    /// <param name="path">The file.</param>
    /// <param name="file">Its content.</param>
    /// <param name="originals">The files without damage, if no checksum has been repaired: the file must then be one of these, or be
    /// refused.</param>
    private static void ReadPacked(string path, byte[] file, byte[][]? originals)
    {
        using PackedFile packed = PackedFile.Open(path);
        IReadOnlyList<string> faults = PackedVerification.Verify(packed, threads: 1);
        Assert.Equal(originals is null && faults.Count == 0 || originals?.Any(file.AsSpan().SequenceEqual) == true, faults.Count == 0);
        Assert.All(faults, fault => Assert.True(fault.StartsWith(path, StringComparison.Ordinal) && fault.Contains("offset ", StringComparison.Ordinal), fault));
        try
        {
            PackedFiles.ReadAll(packed);
            Assert.True(originals is null || faults.Count == 0);
        }
        catch (InvalidDataException e)
        {
            Assert.StartsWith(path, e.Message);
            Assert.NotEmpty(faults);
            throw;
        }
    }

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
    private void Sample(Gen<(byte[] File, string Name)> files, Action<string> fill, Action<string, string, byte[]> read)
    {
        // The first call allocates memory for the code itself.
        Try(read, Rent(fill), "warm-up", []);
        // On another thread: a reader that hangs cannot be stopped, but it can be reported.
        Task run = Task.Factory.StartNew(() => files.Sample(sample => Check(sample, fill, read), iter: Files), TaskCreationOptions.LongRunning);
        while (!Task.WhenAny(run, Task.Delay(TimeLimit / 4)).Result.Equals(run)) RequireProgress();
        run.GetAwaiter().GetResult();
        TestContext.Current.TestOutputHelper?.WriteLine($"{Files} files, {_loaded} of them loaded");
        // If every file is rejected, or none is, the mutations test little.
        Assert.InRange(_loaded, 1, Files - 1);
    }

    private void Check((byte[] File, string Name) sample, Action<string> fill, Action<string, string, byte[]> read)
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
        long limit = MemoryFactor * sample.File.Length + MemoryConstant;
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
