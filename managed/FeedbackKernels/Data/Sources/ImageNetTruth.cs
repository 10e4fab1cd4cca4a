using System.Globalization;
using System.Text.RegularExpressions;

namespace FeedbackKernels.Data;

/// <summary>
/// Classes of ImageNet's test images, from one of the files that people have: a list of WordNet ids, Kaggle's table, or the
/// development kit's list of class numbers with <c>meta.mat</c> or <c>map_clsloc.txt</c>, which say what the numbers mean.
/// </summary>
/// <param name="Classes">WordNet id of the class of each image, by the number in the image's name.</param>
/// <param name="Source">The files that say so.</param>
internal sealed partial record ImageNetTruth(IReadOnlyDictionary<int, string> Classes, string Source)
{
    /// <summary>The development kit, which has the ground truth and <c>meta.mat</c>.</summary>
    public const string DevkitFile = "ILSVRC2012_devkit_t12.tar.gz";

    private const string SynsetLabels = "imagenet_2012_validation_synset_labels.txt", Kaggle = "LOC_val_solution.csv";
    private const string Numbers = "ILSVRC2012_validation_ground_truth.txt", Meta = "meta.mat", Map = "map_clsloc.txt", DevkitFolder = "ILSVRC2012_devkit_t12";
    private const int MostBytes = 64 << 20;

    private static readonly string[] Folders = ["", "data", Path.Combine(DevkitFolder, "data"), DevkitFolder];

    /// <summary>Finds and reads the ground truth.</summary>
    /// <param name="directory">The folder with the tars.</param>
    /// <param name="highest">Highest number of an image; lists of WordNet ids of other names must have as many lines.</param>
    /// <exception cref="IOException">No file was found, or it cannot be read.</exception>
    /// <exception cref="InvalidDataException">A file is damaged or of another format, or several lists could be meant.</exception>
    public static ImageNetTruth Find(string directory, int highest)
    {
        if (Existing(directory, SynsetLabels) is { } labels) return new ImageNetTruth(ReadWordNetIds(Lines(labels), labels), labels);
        if (Existing(directory, Kaggle) is { } table) return new ImageNetTruth(ReadKaggle(Lines(table), table), table);
        string[] found = [];
        if (FindNumbered(directory, ref found) is { } numbered) return numbered;
        return OtherList(directory, highest) ?? throw new FileNotFoundException(
            $"{directory} has no ground truth of the test images{(found.Length > 0 ? $"; found {string.Join(", ", found)}" : "")}; looked for {SynsetLabels}, {Kaggle}, "
            + $"{Numbers} with {Meta} or {Map}, {DevkitFile}, and any .txt with {highest} or more WordNet ids, one a line");
    }

    /// <summary>The development kit's form: numbers, and what they mean.</summary>
    private static ImageNetTruth? FindNumbered(string directory, ref string[] found)
    {
        string? numbers = Existing(directory, Numbers), meta = Existing(directory, Meta), map = Existing(directory, Map), devkit = Existing(directory, DevkitFile);
        found = [.. ((string?[])[numbers, meta, map]).OfType<string>().Select(path => Path.GetFileName(path))];
        (byte[]? devkitNumbers, byte[]? devkitMeta) = devkit is not null && (numbers is null || meta is null && map is null) ? ReadDevkit(devkit) : (null, null);
        string numbersName = numbers ?? $"{devkit}, {Numbers}", meaningName = meta ?? map ?? $"{devkit}, {Meta}";
        string[]? lines = numbers is not null ? Lines(numbers) : devkitNumbers is not null ? Lines(devkitNumbers) : null;
        if (lines is null) return null;
        Dictionary<int, string> ids;
        if (meta is not null) ids = ReadMeta(meta, Bytes(meta));
        else if (map is not null) ids = ReadMap(Lines(map), map);
        else if (devkitMeta is not null) ids = ReadMeta(meaningName, devkitMeta);
        else return null;
        return new ImageNetTruth(ReadNumbers(lines, numbersName, ids, meaningName), numbers is null ? devkit! : $"{numbersName} and {meaningName}");
    }

    private static string? Existing(string directory, string name) =>
        Folders.Select(folder => Path.Combine(directory, folder, name)).FirstOrDefault(File.Exists);

    private static ImageNetTruth? OtherList(string directory, int highest)
    {
        string[] lists = [.. DataFiles.FilesOf(directory).Where(path => path.EndsWith(".txt", StringComparison.OrdinalIgnoreCase) && IsList(path, highest))];
        if (lists.Length > 1) throw new InvalidDataException($"{lists[0]} and {lists[1]}: both may be the classes of the test images; remove one, or name the right one {SynsetLabels}");
        return lists.Length == 0 ? null : new ImageNetTruth(ReadWordNetIds(Lines(lists[0]), lists[0]), lists[0]);
    }

    private static bool IsList(string path, int highest)
    {
        if (new FileInfo(path).Length > MostBytes) return false;
        int count = 0;
        foreach (string line in Lines(path))
        {
            if (!WordNetId().IsMatch(line)) return false;
            count++;
        }

        return count > 0 && count >= highest;
    }

    private static Dictionary<int, string> ReadWordNetIds(string[] lines, string path)
    {
        var classes = new Dictionary<int, string>();
        foreach (string line in lines)
        {
            int number = classes.Count + 1;
            classes.Add(number, WordNetId().IsMatch(line) ? line : throw new InvalidDataException($"{path}, line {number}: '{Shown(line)}', expected a WordNet id as n01440764"));
        }

        return classes;
    }

    /// <summary>Lines of an image's name and the boxes in it: "ILSVRC2012_val_00048981,n03995372 85 1 499 272".</summary>
    private static Dictionary<int, string> ReadKaggle(string[] lines, string path)
    {
        var classes = new Dictionary<int, string>();
        int number = 0;
        foreach (string line in lines)
        {
            number++;
            if (number == 1 && line.StartsWith("ImageId", StringComparison.OrdinalIgnoreCase)) continue;
            Match match = KaggleLine().Match(line);
            if (!match.Success) throw new InvalidDataException($"{path}, line {number}: '{Shown(line)}', expected as ILSVRC2012_val_00048981,n03995372 85 1 499 272");
            int image = int.Parse(match.Groups["image"].ValueSpan, NumberStyles.None, CultureInfo.InvariantCulture);
            if (!classes.TryAdd(image, match.Groups["id"].Value)) throw new InvalidDataException($"{path}, line {number}: a second line for image {image}");
        }

        return classes;
    }

    private static Dictionary<int, string> ReadNumbers(string[] lines, string path, Dictionary<int, string> ids, string meaning)
    {
        var classes = new Dictionary<int, string>();
        foreach (string line in lines)
        {
            int number = classes.Count + 1;
            if (!int.TryParse(line, NumberStyles.None, CultureInfo.InvariantCulture, out int id)) throw new InvalidDataException($"{path}, line {number}: '{Shown(line)}', expected the number of a class");
            classes.Add(number, ids.GetValueOrDefault(id) ?? throw new InvalidDataException($"{path}, line {number}: {meaning} has no class {id}"));
        }

        return classes;
    }

    /// <summary>Lines as "n02119789 1 kit_fox".</summary>
    private static Dictionary<int, string> ReadMap(string[] lines, string path)
    {
        var ids = new Dictionary<int, string>();
        int number = 0;
        foreach (string line in lines)
        {
            number++;
            Match match = MapLine().Match(line);
            if (!match.Success) throw new InvalidDataException($"{path}, line {number}: '{Shown(line)}', expected as n02119789 1 kit_fox");
            Add(ids, int.Parse(match.Groups["number"].ValueSpan, NumberStyles.None, CultureInfo.InvariantCulture), match.Groups["id"].Value, path);
        }

        return ids;
    }

    private static Dictionary<int, string> ReadMeta(string path, byte[] content)
    {
        MatStructs synsets = MatFile.ReadStructs(path, content, "synsets");
        int number = synsets.IndexOf("ILSVRC2012_ID"), id = synsets.IndexOf("WNID"), children = synsets.IndexOf("num_children");
        if (number < 0 || id < 0 || children < 0)
            throw new InvalidDataException($"{path}: synsets has the fields {string.Join(", ", synsets.Fields)}; expected ILSVRC2012_ID, WNID and num_children among them");
        var ids = new Dictionary<int, string>();
        foreach (object?[] synset in synsets.Elements)
        {
            if (synset[number] is not double value || value is not (>= 1 and <= int.MaxValue) || synset[id] is not string name || !WordNetId().IsMatch(name) || synset[children] is not double count)
                throw new InvalidDataException($"{path}: synset {ids.Count + 1} has no number, WordNet id and number of children");
            // The others are groups of classes.
            if (count == 0) Add(ids, (int)value, name, path);
        }

        return ids;
    }

    private static void Add(Dictionary<int, string> ids, int number, string id, string path)
    {
        if (!ids.TryAdd(number, id)) throw new InvalidDataException($"{path}: number {number} is {ids[number]} and {id}");
    }

    private static (byte[]? Numbers, byte[]? Meta) ReadDevkit(string path)
    {
        using FileStream file = DataFiles.Open(path);
        using var gzip = new GzipReader(file, path);
        TarBytes tar = TarBytes.Of(path + " (decompressed)", Bytes(gzip, path));
        byte[]? numbers = null, meta = null;
        foreach (TarMember member in TarIndex.Members(tar))
        {
            string name = member.Name[(member.Name.LastIndexOf('/') + 1)..];
            if (name == Numbers) numbers = tar.Content(member, MostBytes);
            else if (name == Meta) meta = tar.Content(member, MostBytes);
        }

        return numbers is not null && meta is not null
            ? (numbers, meta)
            : throw new InvalidDataException($"{path}: has no {(numbers is null ? Numbers : Meta)}; expected the development kit of ILSVRC2012, tasks 1 and 2");
    }

    private static byte[] Bytes(string path)
    {
        using FileStream file = DataFiles.Open(path);
        return Bytes(file, path);
    }

    private static byte[] Bytes(Stream stream, string path)
    {
        using var bytes = new MemoryStream();
        var buffer = new byte[64 * 1024];
        for (int read; (read = stream.Read(buffer)) > 0;)
        {
            if (bytes.Length + read > MostBytes) throw new InvalidDataException($"{path}: more than {MostBytes} bytes");
            bytes.Write(buffer, 0, read);
        }

        return bytes.ToArray();
    }

    private static string[] Lines(string path)
    {
        byte[] content = Bytes(path);
        return FoundInstead.Error(path, content, "a text file") is { } error ? throw error : Lines(content);
    }

    // Lines after the last that is not empty do not count.
    private static string[] Lines(byte[] content)
    {
        using var reader = new StreamReader(new MemoryStream(content));
        return [.. reader.ReadToEnd().TrimEnd().Split('\n').Select(line => line.Trim())];
    }

    private static string Shown(string line) => line.Length > 60 ? line[..60] + "..." : line;

    [GeneratedRegex("^n[0-9]{8}$")]
    private static partial Regex WordNetId();

    [GeneratedRegex("^ILSVRC2012_val_(?<image>[0-9]{8})(\\.JPEG)?,(?<id>n[0-9]{8})( |$)")]
    private static partial Regex KaggleLine();

    [GeneratedRegex("^(?<id>n[0-9]{8})\\s+(?<number>[0-9]{1,6})(\\s|$)")]
    private static partial Regex MapLine();
}
