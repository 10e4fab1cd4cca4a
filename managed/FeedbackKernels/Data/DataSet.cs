namespace FeedbackKernels.Data;

/// <summary>Images to train on and to test with.</summary>
/// <param name="Name">What the user asked for, as <c>cifar10:DIR</c>.</param>
/// <param name="Train">Training images.</param>
/// <param name="Test">Test images.</param>
/// <param name="Augmentation">What is usually done to the training images.</param>
public sealed record DataSet(string Name, ImageSet Train, ImageSet Test, Augmentation Augmentation)
{
    /// <summary>Forms of the argument of <see cref="Open"/>, for help texts.</summary>
    public const string Forms = "synthetic | mnist:DIR | cifar10:DIR";

    /// <summary>Reads or generates a data set.</summary>
    /// <param name="source">One of <see cref="Forms"/>.</param>
    /// <param name="seed">Names the synthetic images.</param>
    /// <param name="limitTrain">Uses the first so many training images; null for all.</param>
    /// <param name="limitTest">Uses the first so many test images; null for all.</param>
    /// <exception cref="ArgumentException">The source has none of the forms.</exception>
    /// <exception cref="IOException">A file or directory is not there.</exception>
    /// <exception cref="InvalidDataException">A file is not what it should be; the message names the file, the offset and
    /// what was expected.</exception>
    public static DataSet Open(string source, ulong seed, int? limitTrain = null, int? limitTest = null)
    {
        ArgumentNullException.ThrowIfNull(source);
        RequirePositive(limitTrain, nameof(limitTrain));
        RequirePositive(limitTest, nameof(limitTest));
        string[] parts = source.Split(':', 2);
        DataSet data = (parts[0], parts.Length) switch
        {
            ("synthetic", 1) => SyntheticImages.Create(seed, limitTrain, limitTest),
            ("mnist", 2) => Mnist.Read(RequireDirectory(parts[1])),
            ("cifar10", 2) => Cifar10.Read(RequireDirectory(parts[1])),
            _ => throw new ArgumentException($"no data source '{source}'; wanted {Forms}", nameof(source)),
        };
        return data with
        {
            Name = source,
            Train = limitTrain is { } train ? data.Train.Take(train) : data.Train,
            Test = limitTest is { } test ? data.Test.Take(test) : data.Test,
        };
    }

    private static string RequireDirectory(string path) => Directory.Exists(path)
        ? path
        : throw new DirectoryNotFoundException($"directory '{path}' is not there");

    private static void RequirePositive(int? limit, string name)
    {
        if (limit is { } value) ArgumentOutOfRangeException.ThrowIfNegativeOrZero(value, name);
    }
}
