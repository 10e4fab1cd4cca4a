using System.Globalization;

namespace FeedbackKernels.Data;

/// <summary>
/// Tars as WebDataset (Aizman et al. 2019) has them: a sample is a run of files with the same name up to the first dot,
/// <c>KEY.jpg</c> (also <c>jpeg png webp ppm pgm</c>) and <c>KEY.cls</c>, the number of its class in ASCII. Other files are left out.
/// Images are in the order of the tars, and these in that of the pattern.
/// </summary>
public static class WebDataset
{
    private const string LabelExtension = "cls";
    private const int MostLabelBytes = 64, MostLabel = 99_999, MostNamed = 5;

    /// <summary>The catalogue's entry.</summary>
    public static SourceKind Kind { get; } = new("wds", "WebDataset tars of images (jpg, png, webp) and classes (cls), named by patterns as train-{000..146}.tar")
    {
        Place = "TRAIN,TEST",
        HasSeveralSizes = true,
        ToAbsolute = ToAbsolute,
        Open = request => Read(request.Place, request.Classes),
        OpenTest = request => ReadTest(request.Place, request.Classes),
    };

    /// <summary>Indexes both halves. The tars are read again when images are used.</summary>
    /// <param name="patterns">The training tars and the test tars, with a comma between them. Braces are expanded as bash does.</param>
    /// <param name="classes">Number of classes; null for the highest label of the training half plus one.</param>
    /// <exception cref="ArgumentException">There are not two patterns, or one stands for more than a million names.</exception>
    /// <exception cref="IOException">A tar does not exist or cannot be read.</exception>
    /// <exception cref="InvalidDataException">A tar is damaged or compressed, a sample has not one image and one class, a label is not a
    /// class, or there are no samples; the message names tar, member and offset.</exception>
    public static DataSet Read(string patterns, int? classes = null)
    {
        (string train, string test) = Halves(patterns);
        Half trainHalf = Index(train, classes);
        Half testHalf = Index(test, trainHalf.Images.ClassNames.Count);
        return new DataSet(Kind.Name, trainHalf.Images, testHalf.Images, Augmentation.CropFlip)
        {
            Notes = [.. trainHalf.Notes, .. Untrained(trainHalf.Images), .. testHalf.Notes],
            Fingerprint = new DataFingerprint(Kind.Name, Fingerprint(trainHalf.Images, "training"), Fingerprint(testHalf.Images, "test")),
        };
    }

    /// <summary>Indexes the test half.</summary>
    /// <param name="patterns">As for <see cref="Read"/>.</param>
    /// <param name="classes">Number of classes; null for the highest label of the test half plus one.</param>
    /// <inheritdoc cref="Read"/>
    public static TestSet ReadTest(string patterns, int? classes = null)
    {
        Half half = Index(Halves(patterns).Test, classes);
        return new TestSet(Kind.Name, half.Images, new DataFingerprint(Kind.Name, null, Fingerprint(half.Images, "test"))) { Notes = half.Notes };
    }

    private static (string Train, string Test) Halves(string patterns)
    {
        ArgumentNullException.ThrowIfNull(patterns);
        IReadOnlyList<string> parts = BracePattern.SplitAtCommas(patterns);
        if (parts.Count == 2 && parts.All(part => BracePattern.Expand(part).Count > 0)) return (parts[0], parts[1]);
        string problem = parts.Count == 1 ? "names no test images" : $"has {parts.Count} patterns{(parts.Any(part => BracePattern.Expand(part).Count == 0) ? ", one of them empty" : "")}";
        throw new ArgumentException(
            $"'{Kind.Name}:{patterns}' {problem}; wanted the training tars, a comma and the test tars, as {Kind.Name}:train-{{000..146}}.tar,val-{{00..06}}.tar", nameof(patterns));
    }

    private static string ToAbsolute(string patterns)
    {
        (string train, string test) = Halves(patterns);
        return $"{Absolute(train)},{Absolute(test)}";
    }

    private static string Absolute(string pattern)
    {
        int rooted = BracePattern.Expand(pattern).Count(Path.IsPathRooted), all = BracePattern.Expand(pattern).Count;
        if (rooted == all) return pattern;
        if (rooted > 0) throw new ArgumentException($"'{pattern}' has absolute and relative paths; wanted only one of the kinds", nameof(pattern));
        return BracePattern.Escape(Path.TrimEndingDirectorySeparator(Directory.GetCurrentDirectory())) + Path.DirectorySeparatorChar + pattern;
    }

    private static Half Index(string pattern, int? classes)
    {
        IReadOnlyList<string> paths = BracePattern.Expand(pattern);
        RequireFiles(pattern, paths);
        var shards = new Shard[paths.Count];
        InParallel.Run(paths.Count, i => shards[i] = Shard.Index(paths[i], classes));
        if (shards.All(shard => shard.Images.Count == 0))
            throw new InvalidDataException($"{paths[0]}: found no samples{(paths.Count > 1 ? $", nor in the {paths.Count - 1} other tars of {pattern}" : "")}; expected files KEY.jpg and KEY.{LabelExtension}");
        var images = new TarImages(ClassNames.Numbers(classes ?? shards.Max(shard => shard.HighestLabel) + 1), [.. shards.Select(shard => (shard.Path, shard.Length, shard.Images))]);
        return new Half(images, LeftOut(pattern, shards));
    }

    private static void RequireFiles(string pattern, IReadOnlyList<string> paths)
    {
        string[] missing = [.. paths.Where(path => !File.Exists(path))];
        if (missing.Length == 0) return;
        if (Directory.Exists(missing[0])) throw new InvalidDataException($"{missing[0]}: found a folder, expected a tar; name the tars in it, as {missing[0]}/{{000..146}}.tar");
        string others = missing.Length > 1 ? $", nor {missing.Length - 1} others of the {paths.Count} of {pattern}" : "";
        string advice = pattern.AsSpan().IndexOfAny('*', '?') >= 0 ? "; only braces are expanded, as in {000..146}" : "";
        if (Path.GetDirectoryName(Path.GetFullPath(missing[0])) is { } folder && !Directory.Exists(folder))
            throw new DirectoryNotFoundException($"directory '{folder}' of the tar '{missing[0]}' is not there{others}{advice}");
        throw new FileNotFoundException($"file '{missing[0]}' is not there{others}{advice}", missing[0]);
    }

    private static IReadOnlyList<string> LeftOut(string pattern, Shard[] shards)
    {
        int others = shards.Sum(shard => shard.Others);
        return others == 0 ? [] : [$"{pattern}: left out {others} files that are neither images nor classes (as {shards.First(shard => shard.Others > 0).FirstOther})"];
    }

    private static IEnumerable<string> Untrained(TarImages train)
    {
        HashSet<int> trained = [.. Enumerable.Range(0, train.Count).Select(train.Label)];
        int[] untrained = [.. Enumerable.Range(0, train.ClassNames.Count).Where(label => !trained.Contains(label))];
        string more = untrained.Length > MostNamed ? $" and {untrained.Length - MostNamed} more" : "";
        return untrained.Length == 0 ? [] : [$"no training image has class {string.Join(", ", untrained.Take(MostNamed))}{more} of {train.ClassNames.Count}"];
    }

    private static SetFingerprint Fingerprint(TarImages images, string half) => SetFingerprint.Of(images, [images.Fingerprint($"{half} tars (index)")]);

    private sealed record Half(TarImages Images, IReadOnlyList<string> Notes);

    /// <summary>The samples of one tar.</summary>
    private sealed class Shard
    {
        private readonly TarBytes _tar;
        private readonly int? _classes;
        private string _key = "";
        private TarMember? _image, _class;

        private Shard(string path, TarBytes tar, int? classes) => (Path, Length, _tar, _classes) = (path, tar.End, tar, classes);

        public string Path { get; }

        public long Length { get; }

        public TarImageList Images { get; } = new();

        public int HighestLabel { get; private set; } = -1;

        public int Others { get; private set; }

        public string? FirstOther { get; private set; }

        public static Shard Index(string path, int? classes)
        {
            using var file = ImageFiles.Open(path);
            var shard = new Shard(path, TarBytes.Of(path, file), classes);
            foreach (TarMember member in TarIndex.Members(shard._tar)) shard.Add(member);
            shard.Finish();
            return shard;
        }

        private void Add(TarMember member)
        {
            if (member.Type == TarMemberType.Other) return;
            (string key, string extension) = KeyOf(member.Name);
            bool isImage = ImageNames.IsExtension(extension), isClass = extension.Equals(LabelExtension, StringComparison.OrdinalIgnoreCase);
            if (key.Length == 0 || !isImage && !isClass)
            {
                FirstOther ??= $"{Path}, {member.Name}";
                Others++;
                return;
            }

            if (key != _key) Finish();
            _key = key;
            ref TarMember? place = ref (isImage ? ref _image : ref _class);
            if (place is { } other)
                throw _tar.Damaged(member.HeaderOffset, $"{member.Name} is a second {(isImage ? "image" : "class")} of the sample '{key}', which has {other.Name}; expected one of each");
            place = member;
        }

        private void Finish()
        {
            if ((_image ?? _class) is not { } any) return;
            if (_class is not { } label) throw Incomplete(any, LabelExtension);
            if (_image is not { } image) throw Incomplete(any, "jpg, png or webp");
            int number = LabelOf(label);
            Images.Add(_tar, image, number);
            HighestLabel = Math.Max(HighestLabel, number);
            (_image, _class) = (null, null);
        }

        private InvalidDataException Incomplete(TarMember member, string wanted) => _tar.Damaged(
            member.HeaderOffset, $"the sample '{_key}' has {member.Name}, but no {wanted} next to it; the files of a sample must follow one another (make the tar with tar --sort=name)");

        private int LabelOf(TarMember member)
        {
            TarImageList.RequirePlain(_tar, member);
            ReadOnlySpan<byte> text = _tar.Content(member, MostLabelBytes);
            int most = (_classes ?? MostLabel + 1) - 1;
            return int.TryParse(text.Trim(" \t\r\n"u8), NumberStyles.None, CultureInfo.InvariantCulture, out int label) && label <= most
                ? label
                : throw _tar.Damaged(member.DataOffset, $"{member.Name} is '{Shown(text)}', expected a class from 0 to {most}");
        }

        private static string Shown(ReadOnlySpan<byte> text)
        {
            Span<char> shown = stackalloc char[text.Length];
            for (int i = 0; i < text.Length; i++) shown[i] = text[i] is >= 32 and < 127 ? (char)text[i] : '?';
            return shown.ToString();
        }

        // As WebDataset does: the key is the path up to the first dot of its last part, which is not the first character there.
        private static (string Key, string Extension) KeyOf(string name)
        {
            int slash = name.LastIndexOf('/') + 1, dot = name.IndexOf('.', slash);
            return dot <= slash ? ("", "") : (name[..dot], name[(dot + 1)..]);
        }
    }
}
