namespace FeedbackKernels.Data;

/// <summary>
/// CIFAR-10 in its official binary form (Krizhevsky 2009): files of 10,000 records of one label byte and 32x32 pixels,
/// all red, then all green, then all blue.
/// </summary>
public static class Cifar10
{
    /// <summary>The catalogue's entry.</summary>
    public static SourceKind Kind { get; } = new("cifar10", "CIFAR-10's binary version")
    {
        Open = request => Read(request.Place),
        OpenTest = request => ReadTest(request.Place),
    };

    /// <summary>Reads data_batch_1.bin to data_batch_5.bin and test_batch.bin of a folder, or of the <c>cifar-10-batches-bin</c>
    /// in it.</summary>
    /// <param name="directory">The folder.</param>
    /// <exception cref="IOException">A file does not exist or cannot be read.</exception>
    /// <exception cref="InvalidDataException">A file has the wrong length or another format, or a label is above 9.</exception>
    public static DataSet Read(string directory) => Format().Read(directory);

    /// <summary>Reads test_batch.bin alone.</summary>
    /// <inheritdoc cref="Read"/>
    public static TestSet ReadTest(string directory) => Format().ReadTest(directory);

    internal static CifarFormat Format(int recordsPerFile = 10_000) => new()
    {
        Kind = Kind.Name,
        Archive = "cifar-10-binary.tar.gz",
        Folder = "cifar-10-batches-bin",
        PythonFolder = "cifar-10-batches-py",
        TrainFiles = [.. Enumerable.Range(1, 5).Select(i => $"data_batch_{i}.bin")],
        TestFiles = ["test_batch.bin"],
        TrainRecords = recordsPerFile,
        TestRecords = recordsPerFile,
        LabelClasses = [10],
        Label = 0,
        NamesFile = "batches.meta.txt",
        Names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"],
    };
}
