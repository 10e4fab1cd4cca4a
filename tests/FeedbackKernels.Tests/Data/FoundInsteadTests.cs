using System.Text;
using FeedbackKernels.Data;
using FeedbackKernels.Runs;
using FeedbackKernels.Storage;

namespace FeedbackKernels.Tests.Data;

/// <summary>Files of other formats in place of the data: every reader reports what it found.</summary>
public sealed class FoundInsteadTests : FolderTests
{
    // The first bytes of such files: of Python's pickle.dumps of a dictionary under each protocol, and so on.
    private static readonly Dictionary<string, byte[]> Impostors = new()
    {
        ["an empty file"] = [],
        ["a web page"] = Encoding.UTF8.GetBytes("<!DOCTYPE html>\n<html lang=\"en\"><head><title>404</title></head></html>"),
        ["a web page "] = Encoding.UTF8.GetBytes("\uFEFF \r\n<HTML><BODY>Moved</BODY></HTML>"),
        ["an XML text"] = Encoding.UTF8.GetBytes("<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>"),
        ["a pointer of Git LFS"] = Encoding.UTF8.GetBytes("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n"),
        ["a Python pickle"] = [0x80, 2, (byte)'}', (byte)'q', 1, (byte)'(', (byte)'U', 4, .. "data"u8],
        ["a Python pickle "] = [0x80, 4, 0x95, 10, 0, 0, 0, 0, 0, 0, 0, (byte)'}', 0x94, (byte)'.'],
        ["a zip archive"] = [.. "PK"u8, 3, 4, 20, 0, 0, 0, 8, 0],
        ["a compressed file"] = [.. "BZh91AY&SY"u8],
        ["a compressed file "] = [0xFD, .. "7zXZ"u8, 0, 0, 4],
        ["a NumPy array"] = [0x93, .. "NUMPY"u8, 1, 0, 118, 0],
        ["an HDF5 file"] = [0x89, .. "HDF\r\n"u8, 0x1A, 10],
        ["a picture"] = [0x89, .. "PNG\r\n"u8, 0x1A, 10],
        ["a tar archive"] = Tar(),
    };

    public static TheoryData<string> Kinds => [.. Impostors.Keys];

    [Theory]
    [MemberData(nameof(Kinds))]
    public void Every_reader_says_what_it_found(string kind)
    {
        byte[] content = Impostors[kind];
        TestFiles.WriteMnist(Folder, trainImages: content);
        TestFiles.Complains<InvalidDataException>($"mnist:{Folder}", "train-images-idx3-ubyte", $"found {kind.Trim()}", "expected an idx file of images");
        TestFiles.WriteMnist(Folder, testLabels: content);
        TestFiles.Complains<InvalidDataException>($"mnist:{Folder}", "t10k-labels-idx1-ubyte", $"found {kind.Trim()}", "expected an idx file of labels");

        TestFiles.WriteCifar10(Folder, 2);
        string third = TestFiles.Write(Folder, "data_batch_3.bin", content);
        TestFiles.Complains<InvalidDataException>(() => Cifar10.Format(2).Read(Folder), third, $"found {kind.Trim()}", "binary version (cifar-10-binary.tar.gz, unpacked)");
        TestFiles.WriteCifar100(Folder, 2, 2);
        string test = TestFiles.Write(Folder, "test.bin", content);
        TestFiles.Complains<InvalidDataException>(() => Cifar100.Format(false, 2, 2).Read(Folder), test, $"found {kind.Trim()}", "binary version (cifar-100-binary.tar.gz, unpacked)");

        string tensors = TestFiles.Write(Folder, "model.safetensors", content);
        TestFiles.Complains<InvalidDataException>(() => SafeTensors.Read(tensors), tensors, $"found {kind.Trim()}", "expected a safetensors file");
        string config = TestFiles.Write(Folder, "config.json", content);
        TestFiles.Complains<InvalidDataException>(() => RunConfig.Read(config), config, $"found {kind.Trim()}", "expected a run's config.json");
        TestFiles.Complains<InvalidDataException>(() => RunConfig.HashOf(config), config, $"found {kind.Trim()}");
    }

    [Fact]
    public void An_archive_within_gzip_is_an_archive()
    {
        TestFiles.WriteMnist(Folder, trainImages: TestFiles.Gzip(Tar()));
        TestFiles.Complains<InvalidDataException>($"mnist:{Folder}", "train-images-idx3-ubyte", "found a tar archive (unpack it)");
        TestFiles.WriteMnist(Folder, trainImages: TestFiles.Gzip(TestFiles.Gzip([1, 2, 3])));
        TestFiles.Complains<InvalidDataException>($"mnist:{Folder}", "train-images-idx3-ubyte", "found a gzip file (unpack it)");
        TestFiles.WriteCifar10(Folder, 2);
        TestFiles.Write(Folder, "test_batch.bin", TestFiles.Gzip(TestFiles.CifarRecords(2, 1, _ => [1])));
        TestFiles.Complains<InvalidDataException>(() => Cifar10.Format(2).Read(Folder), "test_batch.bin", "found a gzip file (unpack it)");
    }

    [Theory]
    [InlineData("mnist")]
    [InlineData("cifar10")]
    [InlineData("cifar100")]
    public void An_archive_in_place_of_the_folder_or_in_the_folder_is_named(string kind)
    {
        string archive = TestFiles.Write(Folder, "data.tar.gz", TestFiles.Gzip(Tar()));
        TestFiles.Complains<DirectoryNotFoundException>($"{kind}:{archive}", archive, "it is a gzip file (unpack it)");
        TestFiles.Complains<FileNotFoundException>($"{kind}:{Folder}", "is not there", "the folder has data.tar.gz, a gzip file (unpack it)");
        TestFiles.Complains<DirectoryNotFoundException>($"{kind}:{TestFiles.Write(Folder, "notes.txt", [65])}", "it is a file: give the folder");
    }

    [Fact]
    public void The_python_versions_are_recognised()
    {
        byte[] pickle = Impostors["a Python pickle"];
        TestFiles.Write(Folder, "data_batch_1", pickle);
        TestFiles.Complains<FileNotFoundException>($"cifar10:{Folder}", "data_batch_1.bin", "the folder has data_batch_1, a Python pickle", "wanted is cifar-10-binary.tar.gz");
        TestFiles.Write(Folder, "meta", pickle);
        File.Delete(Path.Combine(Folder, "data_batch_1"));
        TestFiles.Complains<FileNotFoundException>($"cifar100:{Folder}", "train.bin", "the folder has meta, a Python pickle", "wanted is cifar-100-binary.tar.gz");
        Directory.CreateDirectory(Path.Combine(Folder, "cifar-100-python"));
        TestFiles.Complains<FileNotFoundException>($"cifar100:{Folder}", "train.bin", "cifar-100-python, the Python version: download the binary version (cifar-100-binary.tar.gz)");
    }

    [Fact]
    public void A_folder_in_place_of_a_file_is_named()
    {
        TestFiles.WriteMnist(Folder);
        string images = Path.Combine(Folder, "train-images-idx3-ubyte");
        File.Delete(images);
        Directory.CreateDirectory(images);
        TestFiles.Complains<InvalidDataException>($"mnist:{Folder}", $"{images}: found a folder, expected a file");
        TestFiles.WriteCifar10(Folder, 2);
        string test = Path.Combine(Folder, "test_batch.bin");
        File.Delete(test);
        Directory.CreateDirectory(test);
        TestFiles.Complains<InvalidDataException>(() => Cifar10.Format(2).Read(Folder), $"{test}: found a folder, expected a file");
        TestFiles.Complains<InvalidDataException>(() => SafeTensors.Read(Folder), $"{Folder}: found a folder, expected a file");
    }

    [Fact]
    public void A_file_that_may_not_be_read_is_an_io_error()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows() || Environment.IsPrivilegedProcess, "this user may read everything");
        TestFiles.WriteMnist(Folder);
        string images = Path.Combine(Folder, "train-images-idx3-ubyte");
        if (!OperatingSystem.IsWindows()) File.SetUnixFileMode(images, UnixFileMode.None);
        TestFiles.Complains<IOException>($"mnist:{Folder}", images, "may not be read");
    }

    private static byte[] Tar()
    {
        var block = new byte[1024];
        "cifar-10-batches-bin/"u8.CopyTo(block);
        "ustar"u8.CopyTo(block.AsSpan(257));
        return block;
    }
}
