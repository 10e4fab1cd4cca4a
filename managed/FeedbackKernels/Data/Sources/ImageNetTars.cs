using System.Globalization;
using System.Text.RegularExpressions;

namespace FeedbackKernels.Data;

/// <summary>
/// ImageNet (ILSVRC2012, Russakovsky et al. 2015) in its official tars, which are not unpacked. The classes are the WordNet ids,
/// sorted; images are sorted by class and then by name, so that they have the same numbers as in folders (<see cref="ImageFolder"/>).
/// </summary>
public static partial class ImageNetTars
{
    /// <summary>The training images: a tar of one tar for each class.</summary>
    public const string TrainFile = "ILSVRC2012_img_train.tar";

    /// <summary>The test images: those that the challenge calls validation images.</summary>
    public const string ValFile = "ILSVRC2012_img_val.tar";

    private const int TrainImages = 1_281_167, ValImages = 50_000;

    /// <summary>The catalogue's entry.</summary>
    public static SourceKind Kind { get; } = new("imagenet", $"the official {TrainFile} and {ValFile} with the ground truth of the latter")
    {
        HasSeveralSizes = true,
        Open = request => Read(request.Place),
        OpenTest = request => ReadTest(request.Place, request.Classes),
    };

    /// <summary>Indexes both tars. They are read again when images are used.</summary>
    /// <param name="directory">The folder with the tars and the ground truth: <c>imagenet_2012_validation_synset_labels.txt</c>,
    /// <c>LOC_val_solution.csv</c>, <c>ILSVRC2012_validation_ground_truth.txt</c> with <c>meta.mat</c> or <c>map_clsloc.txt</c>,
    /// <c>ILSVRC2012_devkit_t12.tar.gz</c>, or a .txt with a WordNet id for each test image.</param>
    /// <exception cref="IOException">A file does not exist or cannot be read.</exception>
    /// <exception cref="InvalidDataException">A file is damaged or has other content; the message names file, member and offset.</exception>
    public static DataSet Read(string directory)
    {
        string train = Locate(directory, TrainFile), val = Locate(directory, ValFile);
        (TarImages trainImages, IReadOnlyList<string> notes) = IndexTrain(train);
        Half test = IndexVal(directory, val, trainImages.ClassNames);
        return new DataSet(Kind.Name, trainImages, test.Images, Augmentation.CropFlip)
        {
            Notes = [.. notes, .. test.Notes],
            Fingerprint = new DataFingerprint(Kind.Name, Fingerprint(trainImages, TrainFile), Fingerprint(test.Images, ValFile)),
        };
    }

    /// <summary>Indexes the test images. If the training tar exists, it gives the classes; otherwise the ground truth does.</summary>
    /// <param name="directory">As for <see cref="Read"/>.</param>
    /// <param name="classes">The number of classes; null if it is not known.</param>
    /// <inheritdoc cref="Read"/>
    public static TestSet ReadTest(string directory, int? classes = null)
    {
        string val = Locate(directory, ValFile), train = Path.Combine(directory, TrainFile);
        Half test = IndexVal(directory, val, File.Exists(train) ? ReadClasses(train) : null);
        if (!File.Exists(train) && classes is { } count && count != test.Images.ClassNames.Count)
        {
            throw new InvalidDataException(
                $"{val}: the ground truth has {test.Images.ClassNames.Count} classes, expected {count}; without {train} the numbers of the classes are not known");
        }

        return new TestSet(Kind.Name, test.Images, new DataFingerprint(Kind.Name, null, Fingerprint(test.Images, ValFile))) { Notes = test.Notes };
    }

    private static string Locate(string directory, string name)
    {
        ArgumentNullException.ThrowIfNull(directory);
        string path = Path.Combine(DataFiles.RequireFolder(directory), name);
        if (File.Exists(path)) return path;
        string[] found = [.. DataFiles.FilesOf(directory).Select(file => Path.GetFileName(file)).Where(file => file.Contains(".tar", StringComparison.OrdinalIgnoreCase))];
        string others = found.Length > 0 ? $"; the folder has {string.Join(", ", found.Take(5))}" : "";
        string advice = Directory.Exists(Path.Combine(directory, "train")) ? $"; for unpacked images use {ImageFolder.Kind.Name}:{directory}" : "";
        throw new FileNotFoundException($"file '{path}' is not there{others}; expected {TrainFile} and {ValFile} as they are downloaded{advice}", path);
    }

    private static (TarImages Images, IReadOnlyList<string> Notes) IndexTrain(string path)
    {
        using var file = ImageFiles.Open(path);
        TarBytes tar = TarBytes.Of(path, file);
        SortedDictionary<string, TarMember> classes = ClassTars(tar);
        TarMember[] tars = [.. classes.Values];
        var lists = new TarImageList[tars.Length];
        var others = new string?[tars.Length];
        InParallel.Run(tars.Length, i => lists[i] = IndexClass(tar.Part(tars[i]), i, out others[i]));
        var images = new TarImages([.. classes.Keys], [(path, tar.End, TarImageList.Join(lists))]);
        return (images, [.. Counted(path, images.Count, TrainImages), .. LeftOut(path, others.OfType<string>())]);
    }

    private static TarImageList IndexClass(TarBytes tar, int label, out string? other)
    {
        var images = new TarImageList();
        other = null;
        foreach (TarMember member in TarIndex.Members(tar))
        {
            if (member.Type == TarMemberType.Other) continue;
            if (ImageNames.IsImage(member.Name)) images.Add(tar, member, label);
            else other ??= $"{tar.Name}, {member.Name}";
        }

        return images.Count > 0 ? images.Reordered(images.Names.SortedOrder()) : throw tar.Damaged(tar.Start, $"found no images, expected {ImageNames.Wanted}");
    }

    private static IReadOnlyList<string> ReadClasses(string path)
    {
        using var file = ImageFiles.Open(path);
        return [.. ClassTars(TarBytes.Of(path, file)).Keys];
    }

    /// <summary>The tars of the classes by their WordNet ids.</summary>
    private static SortedDictionary<string, TarMember> ClassTars(TarBytes tar)
    {
        var classes = new SortedDictionary<string, TarMember>(StringComparer.Ordinal);
        foreach (TarMember member in TarIndex.Members(tar))
        {
            if (member.Type == TarMemberType.Other) continue;
            TarImageList.RequirePlain(tar, member);
            Match match = ClassTar().Match(member.Name);
            if (!match.Success)
            {
                throw tar.Damaged(
                    member.HeaderOffset, $"{member.Name}; expected only the tars of classes, as n01440764.tar (for other tars: unpack them and use {ImageFolder.Kind.Name}, or see {WebDataset.Kind.Name})");
            }

            if (!classes.TryAdd(match.Groups["id"].Value, member)) throw tar.Damaged(member.HeaderOffset, $"a second {member.Name}");
        }

        return classes.Count > 0 ? classes : throw tar.Damaged(tar.Start, "found no tars of classes, expected such as n01440764.tar");
    }

    private static Half IndexVal(string directory, string path, IReadOnlyList<string>? classNames)
    {
        using var file = ImageFiles.Open(path);
        TarBytes tar = TarBytes.Of(path, file);
        List<(int Number, TarMember Member)> members = NumberedImages(tar, out string? other);
        ImageNetTruth truth = ImageNetTruth.Find(directory, members.Max(image => image.Number));
        IReadOnlyList<string> classes = classNames ?? [.. truth.Classes.Values.Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal)];
        Dictionary<string, int> labels = classes.Select((id, k) => (id, k)).ToDictionary(pair => pair.id, pair => pair.k, StringComparer.Ordinal);
        var images = new TarImageList();
        foreach ((int number, TarMember member) in members)
        {
            string id = truth.Classes.GetValueOrDefault(number) ?? throw new InvalidDataException($"{truth.Source}: no class for image {number}, which is {member.Name} of {path}");
            images.Add(tar, member, labels.TryGetValue(id, out int label) ? label : throw new InvalidDataException($"{truth.Source}: image {number} has class {id}, which is not one of the {classes.Count} of {Path.Combine(directory, TrainFile)}"));
        }

        int[] order = images.Names.SortedOrder();
        int[] byClass = [.. order.OrderBy(i => images.Labels[i])];
        return new Half(
            new TarImages(classes, [(path, tar.End, images.Reordered(byClass))]),
            [.. Counted(path, images.Count, ValImages), .. LeftOut(path, other is null ? [] : [other]), $"the classes of the test images are those of {truth.Source}"]);
    }

    private static List<(int Number, TarMember Member)> NumberedImages(TarBytes tar, out string? other)
    {
        var images = new List<(int Number, TarMember Member)>();
        var seen = new HashSet<int>();
        other = null;
        foreach (TarMember member in TarIndex.Members(tar))
        {
            if (member.Type == TarMemberType.Other) continue;
            Match match = ValImage().Match(member.Name);
            if (match.Success)
            {
                int number = int.Parse(match.Groups["number"].ValueSpan, NumberStyles.None, CultureInfo.InvariantCulture);
                if (!seen.Add(number)) throw tar.Damaged(member.HeaderOffset, $"a second image {number}, {member.Name}");
                images.Add((number, member));
            }
            else if (ImageNames.IsImage(member.Name))
            {
                throw tar.Damaged(member.HeaderOffset, $"{member.Name}; expected names as ILSVRC2012_val_00000001.JPEG, whose number leads to the class");
            }
            else
            {
                other ??= member.Name;
            }
        }

        return images.Count > 0 ? images : throw tar.Damaged(tar.Start, "found no images, expected such as ILSVRC2012_val_00000001.JPEG");
    }

    private static IEnumerable<string> Counted(string path, int found, int complete) =>
        found == complete ? [] : [string.Create(CultureInfo.InvariantCulture, $"{path}: {found} images; ImageNet has {complete:N0}")];

    private static IEnumerable<string> LeftOut(string path, IEnumerable<string> others) =>
        others.FirstOrDefault() is { } first ? [$"{path}: left out files that are not images (as {first})"] : [];

    private static SetFingerprint Fingerprint(TarImages images, string name) => SetFingerprint.Of(images, [images.Fingerprint($"{name} (index)")]);

    [GeneratedRegex("(^|/)(?<id>n[0-9]{8})\\.tar$")]
    private static partial Regex ClassTar();

    [GeneratedRegex("(^|/)ILSVRC2012_val_(?<number>[0-9]{8})\\.(JPEG|jpeg|JPG|jpg)$")]
    private static partial Regex ValImage();

    private sealed record Half(TarImages Images, IReadOnlyList<string> Notes);
}
