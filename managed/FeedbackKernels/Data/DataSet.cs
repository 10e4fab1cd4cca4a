namespace FeedbackKernels.Data;

/// <summary>Images to train on and to test with, of equal shape and of the same classes.</summary>
/// <param name="Name">What the user asked for, as <c>cifar10:DIR</c>.</param>
/// <param name="Train">Training images.</param>
/// <param name="Test">Test images.</param>
/// <param name="Augmentation">What is usually done to the training images.</param>
/// <exception cref="ArgumentException">The two halves differ in shape or number of classes.</exception>
public sealed record DataSet(string Name, ImageSet Train, ImageSet Test, Augmentation Augmentation)
{
    /// <summary>Forms of the argument of <see cref="Open"/>, for help texts.</summary>
    public const string Forms = "synthetic | mnist:DIR | cifar10:DIR | cifar100:DIR[:coarse]";

    /// <summary>Training images.</summary>
    /// <exception cref="ArgumentException">They differ from <see cref="Test"/> in shape or number of classes.</exception>
    public ImageSet Train { get; init => field = RequireAlike(value, Test).Train; } = RequireAlike(Train, Test).Train;

    /// <summary>Test images.</summary>
    /// <exception cref="ArgumentException">They differ from <see cref="Train"/> in shape or number of classes.</exception>
    public ImageSet Test { get; init => field = RequireAlike(Train, value).Test; } = Test;

    /// <summary>One name for each class; the numbers from 0 where the format has no names.</summary>
    /// <exception cref="ArgumentException">There are more or fewer names than classes.</exception>
    public IReadOnlyList<string> ClassNames { get; init => field = Data.ClassNames.Checked(value, Train.Classes); } =
        Data.ClassNames.Numbers(Train.Classes);

    /// <summary>What the images were read from, before any limit.</summary>
    public DataFingerprint Fingerprint { get; init; } = new("memory", SetFingerprint.Of(Train, []), SetFingerprint.Of(Test, []));

    /// <summary>What the reader did that a user may want to know, a sentence each.</summary>
    public IReadOnlyList<string> Notes { get; init; } = [];

    /// <summary>Reads or generates a data set.</summary>
    /// <param name="source">One of <see cref="Forms"/>.</param>
    /// <param name="seed">Seed of the synthetic images.</param>
    /// <param name="limitTrain">Uses only the first N training images; null for all.</param>
    /// <param name="limitTest">Uses only the first N test images; null for all.</param>
    /// <exception cref="ArgumentException">The source has none of the forms, or a limit is out of range.</exception>
    /// <exception cref="IOException">A file or directory is not there, or cannot be read.</exception>
    /// <exception cref="InvalidDataException">A file is not what it should be; the message names the file, the offset and
    /// what was expected.</exception>
    public static DataSet Open(string source, ulong seed, int? limitTrain = null, int? limitTest = null)
    {
        DataSource where = DataSource.Parse(source);
        RequirePositive(limitTrain, nameof(limitTrain));
        RequirePositive(limitTest, nameof(limitTest));
        DataSet data = where.Kind switch
        {
            DataSource.Synthetic => SyntheticImages.Create(seed, limitTrain, limitTest),
            DataSource.Mnist => Mnist.Read(where.Folder),
            DataSource.Cifar10 => Cifar10.Read(where.Folder),
            _ => Cifar100.Read(where.Folder, where.Variant == DataSource.Coarse),
        };
        return data with
        {
            Name = source,
            Train = limitTrain is { } train ? data.Train.Take(train) : data.Train,
            Test = limitTest is { } test ? data.Test.Take(test) : data.Test,
        };
    }

    /// <summary>Reads or generates the test half of a data set. No training file is opened or needed.</summary>
    /// <param name="source">One of <see cref="Forms"/>.</param>
    /// <param name="seed">Seed of the synthetic images.</param>
    /// <param name="limitTest">Uses only the first N test images; null for all.</param>
    /// <param name="classes">Number of classes for formats whose files do not say it (idx): a label that is not below it is an
    /// error. Null for as many as the test labels have.</param>
    /// <exception cref="ArgumentException">The source has none of the forms, or a number is out of range.</exception>
    /// <exception cref="IOException">A file or directory is not there, or cannot be read.</exception>
    /// <exception cref="InvalidDataException">A file is not what it should be; the message names the file, the offset and
    /// what was expected.</exception>
    public static TestSet OpenTest(string source, ulong seed, int? limitTest = null, int? classes = null)
    {
        DataSource where = DataSource.Parse(source);
        RequirePositive(limitTest, nameof(limitTest));
        RequirePositive(classes, nameof(classes));
        TestSet data = where.Kind switch
        {
            DataSource.Synthetic => SyntheticImages.CreateTest(seed, limitTest),
            DataSource.Mnist => Mnist.ReadTest(where.Folder, classes),
            DataSource.Cifar10 => Cifar10.ReadTest(where.Folder),
            _ => Cifar100.ReadTest(where.Folder, where.Variant == DataSource.Coarse),
        };
        return data with { Name = source, Images = limitTest is { } limit ? data.Images.Take(limit) : data.Images };
    }

    /// <summary>The source with its folder as an absolute path; <c>synthetic</c> as it is.</summary>
    /// <param name="source">One of <see cref="Forms"/>.</param>
    /// <exception cref="ArgumentException">The source has none of the forms.</exception>
    public static string Absolute(string source) => DataSource.Parse(source).ToAbsolute().ToString();

    /// <summary>What differs between two halves that must be alike; null where nothing does.</summary>
    internal static string? Mismatch(ImageSet train, ImageSet test) => (train.Shape, train.Classes) == (test.Shape, test.Classes)
        ? null
        : $"training images of {train.Shape} with {train.Classes} classes, test images of {test.Shape} with {test.Classes} classes; both must be alike";

    private static (ImageSet Train, ImageSet Test) RequireAlike(ImageSet train, ImageSet test)
    {
        ArgumentNullException.ThrowIfNull(train);
        ArgumentNullException.ThrowIfNull(test);
        return Mismatch(train, test) is { } difference ? throw new ArgumentException(difference, nameof(test)) : (train, test);
    }

    private static void RequirePositive(int? limit, string name)
    {
        if (limit is { } value) ArgumentOutOfRangeException.ThrowIfNegativeOrZero(value, name);
    }
}
