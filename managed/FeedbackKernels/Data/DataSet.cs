namespace FeedbackKernels.Data;

/// <summary>Training and test images of the same size and classes.</summary>
/// <param name="Name">The source as the user named it, as <c>cifar10:DIR</c>.</param>
/// <param name="Train">Training images.</param>
/// <param name="Test">Test images.</param>
/// <param name="Augmentation">The usual augmentation of the training images.</param>
/// <exception cref="ArgumentException">The two halves differ in shape or number of classes.</exception>
public sealed record DataSet(string Name, IImageSource Train, IImageSource Test, Augmentation Augmentation)
{
    /// <summary>Training images.</summary>
    /// <exception cref="ArgumentException">They differ from <see cref="Test"/> in shape or number of classes.</exception>
    public IImageSource Train { get; init => field = RequireAlike(value, Test).Train; } = RequireAlike(Train, Test).Train;

    /// <summary>Test images.</summary>
    /// <exception cref="ArgumentException">They differ from <see cref="Train"/> in shape or number of classes.</exception>
    public IImageSource Test { get; init => field = RequireAlike(Train, value).Test; } = Test;

    /// <summary>One name for each class.</summary>
    public IReadOnlyList<string> ClassNames => Train.ClassNames;

    /// <summary>What the images were read from, before any limit.</summary>
    public DataFingerprint Fingerprint { get; init; } = new("memory", SetFingerprint.Of(Train, []), SetFingerprint.Of(Test, []));

    /// <summary>Notes of the reader for the user, one sentence each.</summary>
    public IReadOnlyList<string> Notes { get; init; } = [];

    /// <summary>Reads or generates a data set.</summary>
    /// <param name="source">One of <see cref="SourceCatalog.Forms"/>.</param>
    /// <param name="seed">Seed of the synthetic images.</param>
    /// <param name="limitTrain">Use only N training images; null for all. See <see cref="ImageSources.Take"/>.</param>
    /// <param name="limitTest">Use only N test images; null for all.</param>
    /// <param name="inMemory">Hold a packed file in memory.</param>
    /// <exception cref="ArgumentException">The source has none of the forms, or a limit is out of range.</exception>
    /// <exception cref="IOException">A file or directory does not exist or cannot be read.</exception>
    /// <exception cref="InvalidDataException">A file is damaged or of another format; the message names the file, the offset
    /// and what was expected.</exception>
    public static DataSet Open(string source, ulong seed, int? limitTrain = null, int? limitTest = null, bool inMemory = false)
    {
        DataSource where = DataSource.Parse(source);
        RequirePositive(limitTrain, nameof(limitTrain));
        RequirePositive(limitTest, nameof(limitTest));
        DataSet data = where.Kind.Open(new SourceRequest(where.Place, where.Variant, seed, limitTrain, limitTest, InMemory: inMemory));
        return data with
        {
            Name = source,
            Train = limitTrain is { } train ? data.Train.Take(train) : data.Train,
            Test = limitTest is { } test ? data.Test.Take(test) : data.Test,
        };
    }

    /// <summary>Reads or generates the test half of a data set. The training files are not opened and need not exist.</summary>
    /// <param name="source">One of <see cref="SourceCatalog.Forms"/>.</param>
    /// <param name="seed">Seed of the synthetic images.</param>
    /// <param name="limitTest">Use only the first N test images; null for all.</param>
    /// <param name="classes">Number of classes, for formats whose files do not say it (idx); a label outside is an error. Null
    /// derives it from the test labels.</param>
    /// <exception cref="ArgumentException">The source has none of the forms, or a number is out of range.</exception>
    /// <exception cref="IOException">A file or directory does not exist or cannot be read.</exception>
    /// <exception cref="InvalidDataException">A file is damaged or of another format; the message names the file, the offset
    /// and what was expected.</exception>
    public static TestSet OpenTest(string source, ulong seed, int? limitTest = null, int? classes = null)
    {
        DataSource where = DataSource.Parse(source);
        RequirePositive(limitTest, nameof(limitTest));
        RequirePositive(classes, nameof(classes));
        TestSet data = where.Kind.OpenTest(new SourceRequest(where.Place, where.Variant, seed, LimitTest: limitTest, Classes: classes));
        return data with { Name = source, Images = limitTest is { } limit ? data.Images.Take(limit) : data.Images };
    }

    /// <summary>The source with its folder as an absolute path.</summary>
    /// <param name="source">One of <see cref="SourceCatalog.Forms"/>.</param>
    /// <exception cref="ArgumentException">The source has none of the forms.</exception>
    public static string Absolute(string source) => DataSource.Parse(source).ToAbsolute().ToString();

    /// <summary>How two halves that must be alike differ; null if they do not.</summary>
    internal static string? Mismatch(IImageSource train, IImageSource test) =>
        (train.Shape, train.Channels, train.Classes) == (test.Shape, test.Channels, test.Classes)
            ? null
            : $"training images of {Describe(train)}, test images of {Describe(test)}; both must be alike";

    private static string Describe(IImageSource images) =>
        $"{(images.Shape is { } shape ? shape : $"several sizes with {images.Channels} channels")} with {images.Classes} classes";

    private static (IImageSource Train, IImageSource Test) RequireAlike(IImageSource train, IImageSource test)
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
