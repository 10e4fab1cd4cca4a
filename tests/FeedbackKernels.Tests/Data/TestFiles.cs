using System.Buffers.Binary;
using System.IO.Compression;
using FeedbackKernels.Data;

namespace FeedbackKernels.Tests.Data;

/// <summary>Small files in the formats that the readers support.</summary>
internal static class TestFiles
{
    public const int ImageMagic = 0x803, LabelMagic = 0x801;

    public static byte[] Idx(int magic, int[] sizes, byte[] content)
    {
        var header = new byte[4 + 4 * sizes.Length];
        BinaryPrimitives.WriteInt32BigEndian(header, magic);
        for (int i = 0; i < sizes.Length; i++) BinaryPrimitives.WriteInt32BigEndian(header.AsSpan(4 + 4 * i), sizes[i]);
        return [.. header, .. content];
    }

    /// <summary>Images whose pixels count up from the index of the image.</summary>
    public static byte[] IdxImages(int count, int rows, int columns) => Idx(
        ImageMagic, [count, rows, columns],
        [.. Enumerable.Range(0, count).SelectMany(i => Enumerable.Range(0, rows * columns).Select(j => (byte)(i + j)))]);

    public static byte[] IdxLabels(params IEnumerable<int> labels)
    {
        byte[] bytes = [.. labels.Select(label => (byte)label)];
        return Idx(LabelMagic, [bytes.Length], bytes);
    }

    /// <summary>The labels 0 to 9 in turn.</summary>
    public static byte[] Digits(int count) => IdxLabels(Enumerable.Range(0, count).Select(i => i % 10));

    public static byte[] Gzip(byte[] content, CompressionLevel level = CompressionLevel.Fastest)
    {
        using var bytes = new MemoryStream();
        using (var gzip = new GZipStream(bytes, level)) gzip.Write(content);
        return bytes.ToArray();
    }

    /// <summary>Writes a set of grey images: training images of 6x5, 30 of them, and 20 test images.</summary>
    public static void WriteMnist(string folder, byte[]? trainImages = null, byte[]? trainLabels = null, byte[]? testImages = null, byte[]? testLabels = null, string prefix = "")
    {
        string train = prefix.Length == 0 ? "train" : prefix + "-train", test = prefix.Length == 0 ? "t10k" : prefix + "-test";
        Write(folder, $"{train}-images-idx3-ubyte", trainImages ?? IdxImages(30, 6, 5));
        Write(folder, $"{train}-labels-idx1-ubyte", trainLabels ?? Digits(30));
        Write(folder, $"{test}-images-idx3-ubyte", testImages ?? IdxImages(20, 6, 5));
        Write(folder, $"{test}-labels-idx1-ubyte", testLabels ?? Digits(20));
    }

    /// <summary>Records of CIFAR: the label bytes are those of <paramref name="labels"/>; red is <paramref name="red"/>, green the
    /// index of the record, blue the index of the pixel.</summary>
    public static byte[] CifarRecords(int count, byte red, Func<int, byte[]> labels)
    {
        var bytes = new List<byte>();
        for (int i = 0; i < count; i++)
        {
            bytes.AddRange(labels(i));
            bytes.AddRange(Enumerable.Repeat(red, 1024));
            bytes.AddRange(Enumerable.Repeat((byte)i, 1024));
            bytes.AddRange(Enumerable.Range(0, 1024).Select(pixel => (byte)pixel));
        }

        return [.. bytes];
    }

    /// <summary>Writes CIFAR-10 with few records in each file.</summary>
    public static void WriteCifar10(string folder, int records)
    {
        for (int file = 1; file <= 5; file++) Write(folder, $"data_batch_{file}.bin", CifarRecords(records, (byte)file, i => [(byte)(i % 10)]));
        Write(folder, "test_batch.bin", CifarRecords(records, 6, i => [(byte)(i % 10)]));
    }

    /// <summary>Writes CIFAR-100 with few records in each file: record i has the coarse label i % 20 and the fine label 99 - i.</summary>
    public static void WriteCifar100(string folder, int trainRecords, int testRecords)
    {
        Write(folder, "train.bin", CifarRecords(trainRecords, 1, i => [(byte)(i % 20), (byte)(99 - i)]));
        Write(folder, "test.bin", CifarRecords(testRecords, 2, i => [(byte)(i % 20), (byte)(99 - i)]));
    }

    public static string Write(string folder, string name, byte[] content)
    {
        string path = Path.Combine(folder, name);
        File.WriteAllBytes(path, content);
        return path;
    }

    /// <summary>Asserts an exception of exactly this type whose message contains all parts.</summary>
    public static void Complains<TException>(Func<object?> action, params string[] parts) where TException : Exception
    {
        string message = Assert.Throws<TException>(action).Message;
        Assert.All(parts, part => Assert.Contains(part, message, StringComparison.Ordinal));
    }

    public static void Complains<TException>(string source, params string[] parts) where TException : Exception =>
        Complains<TException>(() => DataSet.Open(source, 1), parts);
}

/// <summary>A test with a temporary folder.</summary>
public abstract class FolderTests : IDisposable
{
    protected string Folder { get; } = Directory.CreateTempSubdirectory("feedback-data").FullName;

    public void Dispose()
    {
        GC.SuppressFinalize(this);
        Directory.Delete(Folder, recursive: true);
    }
}
