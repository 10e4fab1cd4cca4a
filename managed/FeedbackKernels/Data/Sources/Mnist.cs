using FeedbackKernels.Interop;

namespace FeedbackKernels.Data;

/// <summary>
/// MNIST (LeCun et al. 1998) and other grey images in its idx format, plain or compressed by gzip: Fashion-MNIST, KMNIST, EMNIST.
/// </summary>
public static class Mnist
{
    private const int Digits = 10, MostNamed = 10;

    /// <summary>The catalogue's entry.</summary>
    public static SourceKind Kind { get; } = new("mnist", "idx files of MNIST, Fashion-MNIST, KMNIST or EMNIST")
    {
        Open = request => Read(request.Place),
        OpenTest = request => ReadTest(request.Place, request.Classes),
    };

    /// <summary>
    /// Reads the four idx files of a folder: <c>train-images-idx3-ubyte</c> and its companions, with a hyphen or a dot before
    /// <c>idx</c>, with or without <c>.gz</c>, or EMNIST's (<c>emnist-letters-train-images-idx3-ubyte</c>). If the names say
    /// which split of EMNIST it is, that gives the number of classes; otherwise it is the highest label of both halves plus one.
    /// </summary>
    /// <param name="path">The folder; if it holds several sets, the folder and the beginning of the file names, as
    /// <c>DIR/emnist-letters</c>.</param>
    /// <exception cref="IOException">A file does not exist or cannot be read.</exception>
    /// <exception cref="InvalidDataException">A file is damaged or of another format, the halves differ, or a label is not a class.</exception>
    public static DataSet Read(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        IdxFolder folder = IdxFolder.Find(path, training: true);
        IdxHalf train = ReadHalf(folder.Train), test = ReadHalf(folder.Test);
        Labelling labelling = Label(folder, [train, test], classes: null);
        ImageSet trainImages = Images(folder, train, labelling), testImages = Images(folder, test, labelling);
        if (DataSet.Mismatch(trainImages, testImages) is { } difference)
            throw new InvalidDataException($"{train.Images.Path} and {test.Images.Path}: {difference}");
        return new DataSet(Kind.Name, trainImages, testImages, Augmentation.None)
        {
            Notes = Notes(folder, labelling, trainImages),
            Fingerprint = new DataFingerprint(Kind.Name, Fingerprint(folder, train, trainImages), Fingerprint(folder, test, testImages)),
        };
    }

    /// <summary>Reads the two idx files of the test half.</summary>
    /// <param name="path">As for <see cref="Read"/>.</param>
    /// <param name="classes">The number of classes, if EMNIST's names do not say it; null for the highest label plus one.</param>
    /// <exception cref="IOException">A file does not exist or cannot be read.</exception>
    /// <exception cref="InvalidDataException">A file is damaged or of another format, or a label is not a class.</exception>
    public static TestSet ReadTest(string path, int? classes = null)
    {
        ArgumentNullException.ThrowIfNull(path);
        IdxFolder folder = IdxFolder.Find(path, training: false);
        IdxHalf test = ReadHalf(folder.Test);
        Labelling labelling = Label(folder, [test], classes);
        ImageSet images = Images(folder, test, labelling);
        return new TestSet(Kind.Name, images, new DataFingerprint(Kind.Name, null, Fingerprint(folder, test, images)))
        {
            Notes = Notes(folder, labelling, train: null),
        };
    }

    private static IdxHalf ReadHalf((string Images, string Labels) files)
    {
        IdxFile images = IdxFile.ReadImages(files.Images), labels = IdxFile.ReadLabels(files.Labels);
        if (images.Sizes[0] != labels.Sizes[0])
            throw new InvalidDataException($"{labels.Path}, offset 4: {labels.Sizes[0]} labels, expected {images.Sizes[0]}, one for each image of {images.Path}");
        return new IdxHalf(images, labels, files.Images, files.Labels);
    }

    private static Labelling Label(IdxFolder folder, IReadOnlyList<IdxHalf> halves, int? classes)
    {
        EmnistSplit? split = EmnistSplit.Named(folder.Prefix);
        byte lowest = halves.Min(half => half.Labels.Content.Min()), highest = halves.Max(half => half.Labels.Content.Max());
        int first = split is not null && lowest >= split.FirstLabel ? split.FirstLabel : 0;
        int count = split?.Classes.Count ?? classes ?? highest + 1;
        foreach (IdxHalf half in halves) half.RequireLabels(first, count);
        if (split is null && classes is null && halves.Count == 2) RequireNoGaps(halves, highest);
        return new Labelling(count, first, split?.Classes ?? ClassNames.Numbers(count));
    }

    /// <summary>
    /// A damaged label would become a new class. Above the ten digits, of which some may be missing, a class is accepted only if
    /// every class below it has images.
    /// </summary>
    private static void RequireNoGaps(IReadOnlyList<IdxHalf> halves, byte highest)
    {
        if (highest < Digits) return;
        int[] missing = [.. Enumerable.Range(0, highest).Where(k => halves.All(half => !half.Labels.Content.Contains((byte)k)))];
        if (missing.Length == 0) return;
        IdxFile labels = halves.First(half => half.Labels.Content.Contains(highest)).Labels;
        throw new InvalidDataException(
            $"{labels.Path}, offset {labels.ContentOffset + Array.IndexOf(labels.Content, highest)}: label {highest}, but no image has label {List(missing)}; labels must run from 0 without gaps");
    }

    private static ImageSet Images(IdxFolder folder, IdxHalf half, Labelling labelling)
    {
        IReadOnlyList<int> sizes = half.Images.Sizes;
        byte[] pixels = half.Images.Content;
        int[] labels = [.. half.Labels.Content.Select(label => label - labelling.First)];
        var shape = new MapShape(sizes[1], sizes[2], 1);
        if (EmnistSplit.IsEmnist(folder.Prefix))
        {
            Transpose(pixels, sizes[1], sizes[2]);
            shape = new MapShape(sizes[2], sizes[1], 1);
        }

        return new ImageSet(shape, labelling.Classes, pixels, labels) { ClassNames = labelling.Names };
    }

    private static void Transpose(byte[] pixels, int rows, int columns)
    {
        var image = new byte[rows * columns];
        for (int start = 0; start < pixels.Length; start += image.Length)
        {
            Span<byte> stored = pixels.AsSpan(start, image.Length);
            stored.CopyTo(image);
            for (int row = 0; row < rows; row++)
            {
                for (int column = 0; column < columns; column++) stored[column * rows + row] = image[row * columns + column];
            }
        }
    }

    private static List<string> Notes(IdxFolder folder, Labelling labelling, ImageSet? train)
    {
        var notes = new List<string>();
        if (folder.Others.Count > 0)
            notes.Add($"{folder.Folder} also has {string.Join(", ", folder.Others)}: choose with mnist:{Path.Combine(folder.Folder, folder.Others[0])}");
        if (EmnistSplit.IsEmnist(folder.Prefix)) notes.Add($"the images of {folder.Prefix} are stored transposed: rows and columns were exchanged");
        if (labelling.First > 0)
            notes.Add($"labels {labelling.First} to {labelling.First + labelling.Classes - 1} of {folder.Prefix} were made 0 to {labelling.Classes - 1}");
        if (train is null) return notes;
        int[] untrained = [.. Enumerable.Range(0, labelling.Classes).Except(train.Labels)];
        if (untrained.Length > 0) notes.Add($"no training image has class {List(untrained)} of {labelling.Classes}");
        return notes;
    }

    private static SetFingerprint Fingerprint(IdxFolder folder, IdxHalf half, ImageSet images) => SetFingerprint.Of(
        images, [DataFiles.Fingerprint(folder.Folder, half.ImageFile), DataFiles.Fingerprint(folder.Folder, half.LabelFile)]);

    private static string List(int[] numbers) =>
        string.Join(", ", numbers.Take(MostNamed)) + (numbers.Length > MostNamed ? $" and {numbers.Length - MostNamed} more" : "");

    private sealed record Labelling(int Classes, int First, IReadOnlyList<string> Names);

    private sealed record IdxHalf(IdxFile Images, IdxFile Labels, string ImageFile, string LabelFile)
    {
        public void RequireLabels(int first, int classes)
        {
            int wrong = Array.FindIndex(Labels.Content, label => label < first || label >= first + classes);
            if (wrong >= 0)
            {
                throw new InvalidDataException(
                    $"{Labels.Path}, offset {Labels.ContentOffset + wrong}: label {Labels.Content[wrong]}, expected {first} to {first + classes - 1}");
            }
        }
    }
}
