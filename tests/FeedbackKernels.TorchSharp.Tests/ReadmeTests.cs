using MyTrainer;
using static TorchSharp.torch;

namespace FeedbackKernels.TorchSharp.Tests;

/// <summary>The example of the package's README.</summary>
public sealed class ReadmeTests
{
    [Fact]
    public void The_README_has_the_example_that_is_compiled_here()
    {
        string readme = Read("README.md"), example = Read("ReadmeExample.cs");
        Assert.Contains($"```csharp\n{example}```", readme, StringComparison.Ordinal);
        Assert.InRange(example.Split('\n').Length, 20, 40);
    }

    [Fact]
    public void The_example_trains()
    {
        manual_seed(1);
        string folder = Directory.CreateTempSubdirectory().FullName, before = Directory.GetCurrentDirectory();
        Directory.SetCurrentDirectory(folder);
        try
        {
            Tensor labels = arange(4), images = randn(4, 3, 32, 32);
            Assert.InRange(Example.Train(images, labels, 12), 0, 1);
            Assert.True(new FileInfo("model.dat").Length > 80_000_000);
        }
        finally
        {
            Directory.SetCurrentDirectory(before);
            Directory.Delete(folder, recursive: true);
        }
    }

    private static string Read(string name)
    {
        using var reader = new StreamReader(typeof(ReadmeTests).Assembly.GetManifestResourceStream(name)!);
        return reader.ReadToEnd();
    }
}
