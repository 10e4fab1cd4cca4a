using System.Buffers.Binary;
using System.IO.Compression;
using FeedbackKernels.Data;
using FeedbackKernels.Interop;

namespace FeedbackKernels.Tests.Data;

/// <summary>Reading the public formats: generated files in the right format, and files with every kind of error.</summary>
public sealed class DataFileTests : IDisposable
{
    private const int CifarRecord = 3073;

    private readonly string _folder = Directory.CreateTempSubdirectory("feedback-data").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Cifar_files_are_read_and_their_planes_interleaved()
    {
        WriteCifar();
        DataSet data = DataSet.Open($"cifar10:{_folder}", 1);
        Assert.Equal((50_000, 10_000), (data.Train.Count, data.Test.Count));
        Assert.Equal(new MapShape(32, 32, 3), data.Train.RequireShape());
        // Record i of file f: label i % 10, red f, green i % 251, blue the index of the pixel.
        ReadOnlySpan<byte> image = data.Train.Image(3 * 10_000 + 77);
        Assert.Equal(77 % 10, data.Train.Labels[3 * 10_000 + 77]);
        Assert.Equal([4, 77, 35], image.Slice(35 * 3, 3).ToArray());
        Assert.Equal(Augmentation.CropFlip, data.Augmentation);

        DataSet limited = DataSet.Open($"cifar10:{_folder}", 1, limitTrain: 30, limitTest: 20);
        Assert.Equal((30, 20), (limited.Train.Count, limited.Test.Count));
        Assert.Equal(data.Train.Image(7).ToArray(), limited.Train.Image(7).ToArray());
    }

    [Fact]
    public void Wrong_cifar_files_are_named_with_offset_and_expectation()
    {
        WriteCifar();
        string third = Path.Combine(_folder, "data_batch_3.bin");
        byte[] good = File.ReadAllBytes(third);

        File.WriteAllBytes(third, good[..12345]);
        Complains<InvalidDataException>($"cifar10:{_folder}", third, "offset 12345", "30730000");

        byte[] wrong = [.. good];
        wrong[5 * CifarRecord] = 10;
        File.WriteAllBytes(third, wrong);
        Complains<InvalidDataException>($"cifar10:{_folder}", third, $"offset {5 * CifarRecord}", "label 10");

        File.Delete(third);
        Complains<FileNotFoundException>($"cifar10:{_folder}", third);
        Complains<DirectoryNotFoundException>("cifar10:/not/there", "/not/there");
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Idx_files_are_read_plain_and_compressed(bool compressed)
    {
        WriteMnist(compressed);
        DataSet data = DataSet.Open($"mnist:{_folder}", 1);
        Assert.Equal((30, 20), (data.Train.Count, data.Test.Count));
        Assert.Equal(new MapShape(6, 5, 1), data.Train.RequireShape());
        Assert.Equal(13 % 10, data.Train.Labels[13]);
        Assert.Equal(Enumerable.Range(0, 30).Select(i => (byte)(13 + i)), data.Train.Image(13).ToArray());
    }

    [Fact]
    public void Wrong_idx_files_are_named_with_offset_and_expectation()
    {
        WriteMnist(compressed: false);
        string images = Path.Combine(_folder, "train-images-idx3-ubyte"), labels = Path.Combine(_folder, "train-labels-idx1-ubyte");
        byte[] goodImages = File.ReadAllBytes(images), goodLabels = File.ReadAllBytes(labels);

        Corrupt(images, goodImages, 3, 0x99);
        Complains<InvalidDataException>($"mnist:{_folder}", images, "offset 0", "0x00000803");
        Corrupt(images, goodImages, 11, 0);
        Complains<InvalidDataException>($"mnist:{_folder}", images, "offset 8", "positive");
        File.WriteAllBytes(images, goodImages[..9]);
        Complains<InvalidDataException>($"mnist:{_folder}", images, "offset 9", "header of 16 bytes");
        File.WriteAllBytes(images, goodImages[..^1]);
        Complains<InvalidDataException>($"mnist:{_folder}", images, $"offset {goodImages.Length - 1}", $"{goodImages.Length} bytes");
        File.WriteAllBytes(images, goodImages);

        Corrupt(labels, goodLabels, 8 + 4, 77);
        Complains<InvalidDataException>($"mnist:{_folder}", labels, "offset 12", "label 77");
        WriteIdx(labels, 0x801, [29], new byte[29]);
        Complains<InvalidDataException>($"mnist:{_folder}", labels, "29 labels", "expected 30");

        File.Delete(labels);
        File.WriteAllBytes(labels + ".gz", [1, 2, 3, 4]);
        Complains<InvalidDataException>($"mnist:{_folder}", labels + ".gz", "gzip");
    }

    [Theory]
    [InlineData("cifar10")]
    [InlineData("synthetic:x")]
    [InlineData("imagenette:/data")]
    [InlineData("")]
    public void Unknown_sources_are_refused(string source) =>
        Assert.Contains("synthetic | mnist:DIR | cifar10:DIR", Assert.Throws<ArgumentException>(() => DataSet.Open(source, 1)).Message);

    [Fact]
    public void Real_cifar10_has_its_known_means()
    {
        string directory = RealData.Require("cifar-10-batches-bin");
        DataSet data = DataSet.Open($"cifar10:{directory}", 1);
        // The means in general use.
        double[] sums = new double[3];
        byte[] pixels = data.Train.Pixels;
        for (int i = 0; i < pixels.Length; i++) sums[i % 3] += pixels[i];
        double[] means = [.. sums.Select(s => s / (50_000 * 1024) / 255)];
        Assert.Equal([0.4914, 0.4822, 0.4465], means.Select(m => Math.Round(m, 4)));
        Assert.All(Enumerable.Range(0, 10), k => Assert.Equal(5000, data.Train.Labels.Count(l => l == k)));
    }

    [Fact]
    public void Real_mnist_has_its_known_counts()
    {
        string directory = RealData.Require("mnist");
        DataSet data = DataSet.Open($"mnist:{directory}", 1);
        Assert.Equal((60_000, 10_000), (data.Train.Count, data.Test.Count));
        Assert.Equal([5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949], Enumerable.Range(0, 10).Select(k => data.Train.Labels.Count(l => l == k)));
        Assert.Equal(0.1307, Math.Round(data.Train.Pixels.Average(p => (double)p) / 255, 4));
    }

    private static void Complains<TException>(string source, params string[] parts) where TException : Exception
    {
        string message = Assert.Throws<TException>(() => DataSet.Open(source, 1)).Message;
        Assert.All(parts, part => Assert.Contains(part, message));
    }

    private static void Corrupt(string path, byte[] good, int offset, byte value)
    {
        byte[] wrong = [.. good];
        wrong[offset] = value;
        File.WriteAllBytes(path, wrong);
    }

    private void WriteCifar()
    {
        string[] names = [.. Enumerable.Range(1, 5).Select(i => $"data_batch_{i}.bin"), "test_batch.bin"];
        for (int file = 0; file < names.Length; file++)
        {
            var bytes = new byte[10_000 * CifarRecord];
            for (int i = 0; i < 10_000; i++)
            {
                Span<byte> record = bytes.AsSpan(i * CifarRecord, CifarRecord);
                record[0] = (byte)(i % 10);
                record.Slice(1, 1024).Fill((byte)(file + 1));
                record.Slice(1025, 1024).Fill((byte)(i % 251));
                for (int pixel = 0; pixel < 1024; pixel++) record[2049 + pixel] = (byte)pixel;
            }

            File.WriteAllBytes(Path.Combine(_folder, names[file]), bytes);
        }
    }

    private void WriteMnist(bool compressed)
    {
        foreach ((string prefix, int count) in ((string, int)[])[("train", 30), ("t10k", 20)])
        {
            byte[] pixels = [.. Enumerable.Range(0, count).SelectMany(i => Enumerable.Range(0, 30).Select(j => (byte)(i + j)))];
            WriteIdx(Path.Combine(_folder, $"{prefix}-images-idx3-ubyte"), 0x803, [count, 6, 5], pixels, compressed);
            WriteIdx(Path.Combine(_folder, $"{prefix}-labels-idx1-ubyte"), 0x801, [count], [.. Enumerable.Range(0, count).Select(i => (byte)(i % 10))], compressed);
        }
    }

    private static void WriteIdx(string path, int magic, int[] sizes, byte[] content, bool compressed = false)
    {
        var header = new byte[4 + 4 * sizes.Length];
        BinaryPrimitives.WriteInt32BigEndian(header, magic);
        for (int i = 0; i < sizes.Length; i++) BinaryPrimitives.WriteInt32BigEndian(header.AsSpan(4 + 4 * i), sizes[i]);
        using Stream file = File.Create(compressed ? path + ".gz" : path);
        using Stream target = compressed ? new GZipStream(file, CompressionLevel.Fastest) : file;
        target.Write(header);
        target.Write(content);
    }
}
