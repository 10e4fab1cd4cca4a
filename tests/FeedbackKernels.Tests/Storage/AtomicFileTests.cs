using FeedbackKernels.Storage;
using FeedbackKernels.Tests.Data;

namespace FeedbackKernels.Tests.Storage;

public sealed class AtomicFileTests : FolderTests
{
    private string Target => Path.Combine(Folder, "file");

    [Fact]
    public void The_file_appears_when_all_is_written()
    {
        AtomicFile.Write(Target, stream =>
        {
            stream.WriteByte(1);
            stream.Flush();
            Assert.False(File.Exists(Target));
            Assert.True(File.Exists(Target + ".partial"));
            stream.WriteByte(2);
        });
        Assert.Equal([1, 2], File.ReadAllBytes(Target));
        Assert.Equal([Target], Directory.GetFiles(Folder));
    }

    [Fact]
    public void A_former_file_is_replaced_and_stays_until_then()
    {
        AtomicFile.WriteAllText(Target, "a longer text");
        AtomicFile.Write(Target, stream =>
        {
            stream.Write("new"u8);
            stream.Flush();
            Assert.Equal("a longer text", File.ReadAllText(Target));
        });
        Assert.Equal("new", File.ReadAllText(Target));
    }

    [Fact]
    public void What_throws_leaves_the_former_file_and_nothing_else()
    {
        AtomicFile.WriteAllText(Target, "old");
        var error = new InvalidOperationException("stopped");
        Assert.Same(error, Assert.Throws<InvalidOperationException>(() => AtomicFile.Write(Target, stream =>
        {
            stream.Write("new"u8);
            throw error;
        })));
        Assert.Equal("old", File.ReadAllText(Target));
        Assert.Equal([Target], Directory.GetFiles(Folder));
    }

    [Fact]
    public void A_partial_file_of_a_killed_process_is_written_over()
    {
        File.WriteAllText(Target + ".partial", new string('x', 1000));
        AtomicFile.WriteAllText(Target, "ü");
        // UTF-8 without a byte order mark.
        Assert.Equal([0xC3, 0xBC], File.ReadAllBytes(Target));
        Assert.Equal([Target], Directory.GetFiles(Folder));
    }

    [Fact]
    public void A_folder_that_is_not_there_is_an_io_error() =>
        Assert.Throws<DirectoryNotFoundException>(() => AtomicFile.WriteAllText(Path.Combine(Folder, "no", "file"), "x"));
}
