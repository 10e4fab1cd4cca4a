using System.Text.RegularExpressions;

namespace FeedbackKernels.Data;

/// <summary>The four idx files of a data set in a folder.</summary>
/// <param name="Folder">The folder.</param>
/// <param name="Prefix">What the file names begin with: empty for MNIST's own names, or <c>emnist-letters</c>.</param>
/// <param name="Others">Prefixes of other sets in the folder.</param>
internal sealed partial record IdxFolder(string Folder, string Prefix, IReadOnlyList<string> Others)
{
    private const string Images = "images", Labels = "labels";

    /// <summary>Files of the training half.</summary>
    public (string Images, string Labels) Train => Half(training: true);

    /// <summary>Files of the test half.</summary>
    public (string Images, string Labels) Test => Half(training: false);

    /// <summary>Finds the set that a path names: a folder, or a folder and the beginning of the file names.</summary>
    /// <param name="path">As <c>DIR</c> or <c>DIR/emnist-letters</c>.</param>
    /// <param name="training">Whether the training half is needed.</param>
    /// <exception cref="IOException">The folder does not exist.</exception>
    /// <exception cref="InvalidDataException">There are several sets in the folder.</exception>
    public static IdxFolder Find(string path, bool training)
    {
        if (Directory.Exists(path)) return InFolder(path, training);
        string full = Path.GetFullPath(path), prefix = Path.GetFileName(full);
        if (Path.GetDirectoryName(full) is { } parent && Directory.Exists(parent) && PrefixesIn(parent).Contains(prefix, StringComparer.Ordinal))
            return new IdxFolder(parent, prefix, []);
        DataFiles.RequireFolder(path);
        throw new DirectoryNotFoundException($"directory '{path}' is not there");
    }

    private static IdxFolder InFolder(string folder, bool training)
    {
        string[] prefixes = PrefixesIn(folder);
        var standard = new IdxFolder(folder, "", prefixes);
        if (prefixes.Length == 0 || standard.HasAny) return standard;
        IdxFolder[] sets = [.. prefixes.Select(prefix => new IdxFolder(folder, prefix, []))];
        IdxFolder[] complete = [.. sets.Where(set => set.IsComplete(training))];
        if (complete.Length > 1 || complete.Length == 0 && sets.Length > 1)
        {
            throw new InvalidDataException(
                $"{folder}: found the files of {string.Join(", ", prefixes)}; choose one, as in mnist:{Path.Combine(folder, prefixes[0])}");
        }

        return complete.Length == 1 ? complete[0] : sets[0];
    }

    private static string[] PrefixesIn(string folder) =>
    [
        .. DataFiles.FilesOf(folder).Select(path => PrefixedName().Match(Path.GetFileName(path))).Where(match => match.Success)
            .Select(match => match.Groups["prefix"].Value).Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal),
    ];

    [GeneratedRegex("^(?<prefix>.+)-(train|test)-(images-idx3|images[.]idx3|labels-idx1|labels[.]idx1)-ubyte([.]gz)?$")]
    private static partial Regex PrefixedName();

    private bool HasAny => AllNames().Any(name => File.Exists(Path.Combine(Folder, name)));

    private bool IsComplete(bool training) => HasHalf(training: false) && (!training || HasHalf(training: true));

    private bool HasHalf(bool training) =>
        NamesOf(Images, training).Any(name => File.Exists(Path.Combine(Folder, name))) && NamesOf(Labels, training).Any(name => File.Exists(Path.Combine(Folder, name)));

    private (string Images, string Labels) Half(bool training) => (Locate(NamesOf(Images, training)), Locate(NamesOf(Labels, training)));

    private IEnumerable<string> AllNames() =>
        from kind in (string[])[Images, Labels] from training in (bool[])[true, false] from name in NamesOf(kind, training) select name;

    /// <summary>The names that a file can have, the usual one first.</summary>
    private string[] NamesOf(string kind, bool training)
    {
        string half = (Prefix, training) switch { ("", true) => "train", ("", false) => "t10k", (_, true) => Prefix + "-train", _ => Prefix + "-test" };
        string form = kind == Images ? "idx3-ubyte" : "idx1-ubyte", hyphen = $"{half}-{kind}-{form}", dot = $"{half}-{kind}.{form}";
        return [hyphen, dot, hyphen + ".gz", dot + ".gz"];
    }

    private string Locate(string[] names)
    {
        string[] paths = [.. names.Select(name => Path.Combine(Folder, name))];
        if (paths.FirstOrDefault(File.Exists) is { } file) return file;
        // Some archives contain a folder with the name of the file, and the file inside it.
        if (paths.FirstOrDefault(Directory.Exists) is { } folder) return folder;
        throw new FileNotFoundException(
            $"file '{paths[0]}' is not there, nor {string.Join(", ", names[1..])}{FoundInstead.InFolder(Folder)}", paths[0]);
    }
}
