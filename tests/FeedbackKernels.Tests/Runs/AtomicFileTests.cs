using FeedbackKernels.Storage;

namespace FeedbackKernels.Tests.Runs;

/// <summary>A file under its name is whole at every moment, whatever ends its writer.</summary>
public sealed class AtomicFileTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("feedback-atomic").FullName;

    private string Target => Path.Combine(_folder, "file.json");

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void The_former_file_is_there_until_the_new_one_is_whole()
    {
        AtomicFile.WriteAllText(Target, "former");
        AtomicFile.Write(Target, stream =>
        {
            stream.Write("half"u8);
            stream.Flush();
            Assert.Equal("former", File.ReadAllText(Target));
        });
        Assert.Equal("half", File.ReadAllText(Target));
        Assert.Equal([Target], Directory.EnumerateFileSystemEntries(_folder));
    }

    [Fact]
    public void A_writer_that_fails_leaves_the_former_file_and_nothing_else()
    {
        AtomicFile.WriteAllText(Target, "former");
        Assert.Throws<InvalidOperationException>(() => AtomicFile.Write(Target, stream =>
        {
            stream.Write("half"u8);
            throw new InvalidOperationException();
        }));
        Assert.Equal("former", File.ReadAllText(Target));
        Assert.Equal([Target], Directory.EnumerateFileSystemEntries(_folder));
    }
}
