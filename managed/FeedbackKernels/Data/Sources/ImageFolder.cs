using System.Security.Cryptography;
using System.Text;

namespace FeedbackKernels.Data;

/// <summary>
/// Image files in folders: <c>train/CLASS/*</c> and <c>val/CLASS/*</c>, or <c>val/</c> with <c>val_annotations.txt</c> as Tiny-ImageNet
/// has it. The classes are the folders of <c>train/</c>, sorted by name; images are sorted by class and then by their path.
/// </summary>
public static class ImageFolder
{
    private const string TrainFolder = "train", AnnotationsFile = "val_annotations.txt", AnnotatedImages = "images";
    private const long MostAnnotationBytes = 256L << 20;
    private const int MostNamed = 5;

    private static readonly string[] TestFolders = ["val", "validation", "test"];

    /// <summary>The catalogue's entry.</summary>
    public static SourceKind Kind { get; } = new("imagefolder", "image files in the folders train/CLASS and val/CLASS")
    {
        HasSeveralSizes = true,
        Open = request => Read(request.Place),
        OpenTest = request => ReadTest(request.Place, request.Classes),
    };

    /// <summary>Lists both halves. The files are opened when they are used.</summary>
    /// <param name="directory">The folder with <c>train</c> and <c>val</c>; in place of <c>val</c> also <c>validation</c> or <c>test</c>.</param>
    /// <exception cref="IOException">A folder does not exist or cannot be read.</exception>
    /// <exception cref="InvalidDataException">A class has no training images, a test image's class is not one of training, there
    /// are no test images, or the annotations do not fit the images.</exception>
    public static DataSet Read(string directory)
    {
        ArgumentNullException.ThrowIfNull(directory);
        DataFiles.RequireFolder(directory);
        string train = Path.Combine(directory, TrainFolder), test = FindTest(directory, trainIsNeeded: true);
        var leftOut = new LeftOut();
        string[] classes = FolderListing.FoldersIn(train, leftOut);
        if (classes.Length == 0) throw new InvalidDataException($"{train}: found no folders{Found(train)}; expected a folder for each class");
        Half trainHalf = ListClasses(TrainFolder, train, classes, classes, leftOut);
        RequireImages(train, trainHalf.Images);
        Half testHalf = ListTest(test, classes, train);
        return new DataSet(Kind.Name, trainHalf.Images, testHalf.Images, Augmentation.CropFlip)
        {
            Notes = [.. trainHalf.Notes, .. Untested(testHalf.Images), .. testHalf.Notes, .. OtherTests(directory, test)],
            Fingerprint = new DataFingerprint(Kind.Name, trainHalf.Fingerprint, testHalf.Fingerprint),
        };
    }

    /// <summary>Lists the test half. If <c>train</c> exists, its folders give the classes; otherwise those of the test half do.</summary>
    /// <param name="directory">As for <see cref="Read"/>.</param>
    /// <param name="classes">The number of classes; null if it is not known.</param>
    /// <exception cref="IOException">A folder does not exist or cannot be read.</exception>
    /// <exception cref="InvalidDataException">There are no test images, a test image's class is not one of training, the annotations do
    /// not fit the images, or there are no training folders and the test half has not <paramref name="classes"/> classes.</exception>
    public static TestSet ReadTest(string directory, int? classes = null)
    {
        ArgumentNullException.ThrowIfNull(directory);
        DataFiles.RequireFolder(directory);
        string train = Path.Combine(directory, TrainFolder), test = FindTest(directory, trainIsNeeded: false);
        string[]? names = Directory.Exists(train) ? FolderListing.FoldersIn(train, new LeftOut()) : null;
        Half half = ListTest(test, names, train);
        if (names is null && classes is { } count && count != half.Images.ClassNames.Count)
        {
            throw new InvalidDataException(
                $"{test}: images of {half.Images.ClassNames.Count} classes, expected {count}; without the folders of {train} the numbers of the classes are not known");
        }

        return new TestSet(Kind.Name, half.Images, new DataFingerprint(Kind.Name, null, half.Fingerprint))
        {
            Notes = [.. Untested(half.Images), .. half.Notes, .. OtherTests(directory, test)],
        };
    }

    private static string FindTest(string directory, bool trainIsNeeded)
    {
        string[] tests = [.. TestFolders.Select(name => Path.Combine(directory, name))];
        string? test = tests.FirstOrDefault(Directory.Exists);
        string? missing = trainIsNeeded && !Directory.Exists(Path.Combine(directory, TrainFolder)) ? Path.Combine(directory, TrainFolder) : test is null ? tests[0] : null;
        return missing is null
            ? test!
            : throw new DirectoryNotFoundException(
                $"directory '{missing}' is not there{Found(directory)}; expected {TrainFolder}/CLASS/ and {TestFolders[0]}/CLASS/ (or {string.Join(" or ", TestFolders[1..])}){Advice(directory)}");
    }

    private static string Advice(string directory)
    {
        if (File.Exists(Path.Combine(directory, ImageNetTars.TrainFile)) || File.Exists(Path.Combine(directory, ImageNetTars.ValFile)))
            return $"; for ImageNet's own tars use {ImageNetTars.Kind.Name}:{directory}";
        string name = Path.GetFileName(Path.TrimEndingDirectorySeparator(Path.GetFullPath(directory)));
        return name == TrainFolder || TestFolders.Contains(name) ? "; give the folder above" : FoundInstead.InFolder(directory);
    }

    private static string Found(string directory)
    {
        string[] names = [.. Directory.EnumerateFileSystemEntries(directory).Select(path => Path.GetFileName(path)).Order(StringComparer.Ordinal).Take(MostNamed + 1)];
        return names.Length == 0 ? "; the folder is empty" : $"; found {string.Join(", ", names.Take(MostNamed))}{(names.Length > MostNamed ? " and more" : "")}";
    }

    private static Half ListTest(string test, string[]? trainClasses, string train)
    {
        string annotations = Path.Combine(test, AnnotationsFile), annotated = Path.Combine(test, AnnotatedImages);
        // Some move Tiny-ImageNet's test images into class folders and keep the file.
        Half half = File.Exists(annotations) && Directory.Exists(annotated)
            ? ListAnnotated(test, annotations, annotated, trainClasses)
            : ListTestClasses(test, trainClasses, train);
        return half.Images.Count > 0
            ? half
            : throw new InvalidDataException($"{test}: found no images{Found(test)}; expected {ImageNames.Wanted} in folders of classes");
    }

    private static Half ListTestClasses(string test, string[]? trainClasses, string train)
    {
        var leftOut = new LeftOut();
        string[] folders = FolderListing.FoldersIn(test, leftOut), classes = trainClasses ?? folders;
        string[] unknown = [.. folders.Except(classes, StringComparer.Ordinal)];
        if (unknown.Length > 0)
        {
            throw new InvalidDataException(
                $"{Path.Combine(test, unknown[0])}: {train} has no such class{(unknown.Length > 1 ? $", nor {unknown.Length - 1} others of {test}" : "")}; expected only classes of training");
        }

        return ListClasses(Path.GetFileName(test), test, classes, folders, leftOut);
    }

    private static Half ListClasses(string name, string folder, string[] classes, string[] folders, LeftOut leftOut)
    {
        var listings = new FolderListing[folders.Length];
        InParallel.Run(folders.Length, i => listings[i] = FolderListing.Of(Path.Combine(folder, folders[i])));
        Dictionary<string, CompactNames> names = folders.Zip(listings).ToDictionary(pair => pair.First, pair => pair.Second.Names, StringComparer.Ordinal);
        for (int i = 0; i < folders.Length; i++) leftOut.Add(listings[i].LeftOut, folders[i]);
        var images = new FolderImages(classes, [.. classes.Select(label => (Path.Combine(folder, label), names.GetValueOrDefault(label) ?? new CompactNames()))]);
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        long bytes = folders.Sum(label => names[label].AppendTo(hash, Encoding.UTF8.GetBytes(label + "/")));
        return new Half(images, SetFingerprint.Of(images, [Listing(name, bytes, hash)]), leftOut.Describe(folder));
    }

    private static Half ListAnnotated(string test, string annotations, string folder, string[]? trainClasses)
    {
        FolderListing listing = FolderListing.Of(folder);
        Dictionary<string, string> labels = ReadAnnotations(annotations);
        string[] classes = trainClasses ?? [.. labels.Values.Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal)];
        Dictionary<string, int> numbers = classes.Select((name, k) => (name, k)).ToDictionary(pair => pair.name, pair => pair.k, StringComparer.Ordinal);
        var members = new List<int>[classes.Length];
        for (int k = 0; k < classes.Length; k++) members[k] = [];
        for (int i = 0; i < listing.Names.Count; i++)
        {
            string name = listing.Names.NameOf(i);
            if (!labels.Remove(name, out string? label)) throw new InvalidDataException($"{Path.Combine(folder, name)}: {annotations} has no line for this image");
            if (!numbers.TryGetValue(label, out int number)) throw new InvalidDataException($"{annotations}: {name} has class '{label}', which is not one of training");
            members[number].Add(i);
        }

        if (labels.Count > 0) throw new InvalidDataException($"{annotations}: {labels.Count} images are not in {folder}, as {labels.Keys.Order(StringComparer.Ordinal).First()}");
        var images = new FolderImages(classes, [.. members.Select(numbersOf => (folder, listing.Names.Reordered(numbersOf.ToArray())))]);
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        string name1 = $"{Path.GetFileName(test)}/{AnnotatedImages}";
        long bytes = listing.Names.AppendTo(hash, []);
        return new Half(images, SetFingerprint.Of(images, [Listing(name1, bytes, hash), DataFiles.Fingerprint(Path.GetDirectoryName(test)!, annotations)]), listing.LeftOut.Describe(folder));
    }

    /// <summary>Class of each file, from lines of a name, a class and more, with tabs between them.</summary>
    private static Dictionary<string, string> ReadAnnotations(string path)
    {
        using FileStream file = DataFiles.Open(path);
        if (file.Length > MostAnnotationBytes) throw new InvalidDataException($"{path}: {file.Length} bytes, the limit is {MostAnnotationBytes}");
        using var reader = new StreamReader(file);
        var labels = new Dictionary<string, string>(StringComparer.Ordinal);
        for (int line = 1; reader.ReadLine() is { } text; line++)
        {
            if (text.Trim().Length == 0) continue;
            string[] parts = text.Split('\t', 3);
            if (parts.Length < 2 || parts[0].Length == 0 || parts[1].Length == 0)
                throw new InvalidDataException($"{path}, line {line}: expected the name of an image, a tab and its class");
            if (!labels.TryAdd(parts[0], string.Intern(parts[1].Trim()))) throw new InvalidDataException($"{path}, line {line}: a second line for {parts[0]}");
        }

        return labels;
    }

    private static void RequireImages(string train, FolderImages images)
    {
        string[] empty = [.. images.ClassNames.Where((_, label) => images.CountOf(label) == 0)];
        if (empty.Length > 0)
        {
            throw new InvalidDataException(
                $"{Path.Combine(train, empty[0])}: found no images{(empty.Length > 1 ? $", nor in {empty.Length - 1} other folders of {train}" : "")}; expected {ImageNames.Wanted} (remove folders that are not classes)");
        }
    }

    private static IEnumerable<string> Untested(FolderImages test)
    {
        string[] untested = [.. test.ClassNames.Where((_, label) => test.CountOf(label) == 0)];
        return untested.Length == 0 ? [] : [$"{untested.Length} of {test.ClassNames.Count} classes have no test images (as {untested[0]})"];
    }

    private static IEnumerable<string> OtherTests(string directory, string test) =>
        from name in TestFolders
        let other = Path.Combine(directory, name)
        where other != test && Directory.Exists(other)
        select $"the test images are those of {test}; {other} is not used";

    private static FileFingerprint Listing(string folder, long bytes, IncrementalHash hash) =>
        new($"{folder}/ (listing)", bytes, Convert.ToHexStringLower(hash.GetHashAndReset()));

    private sealed record Half(FolderImages Images, SetFingerprint Fingerprint, string? LeftOut)
    {
        public IEnumerable<string> Notes => LeftOut is null ? [] : [LeftOut];
    }
}
