using System.Text.RegularExpressions;

namespace FeedbackKernels.Tests.Docs;

/// <summary>
/// The files and folders that a page of documentation names, in code spans and in links. A code span is a file name if it begins
/// with a folder of the repository, ends with a slash, or has the extension of a source file; it is relative to the repository or to
/// the page. <c>*</c> stands for any characters, and <c>{A,B}</c> for one name with each. A part in angle brackets is chosen by the
/// reader, as in <c>Rules/&lt;MyRule&gt;.cs</c>: only the folder before it has to exist.
/// </summary>
internal static partial class NamedFiles
{
    /// <summary>The pages that are checked, relative to the repository.</summary>
    public static readonly string[] Pages =
        [
            "README.md", "managed/README.md", "managed/embedding.md", "interop/FeedbackKernels.Interop/README.md", "managed/FeedbackKernels/README.md",
            "managed/FeedbackKernels.Cli/README.md", "managed/FeedbackKernels.TorchSharp/README.md", "native/README.md", "bench/README.md",
            "bench/peers/README.md", "bench/results/README.md", "tests/README.md", "tests/mutants/README.md",
        ];

    /// <summary>Folder of the repository; null if the tests run outside it.</summary>
    public static string? Root { get; } = FindRoot();

    /// <summary>The file names in the code spans of a text. Fenced blocks are left out.</summary>
    public static IEnumerable<string> InCode(string markdown) =>
        CodeSpan().Matches(Fence().Replace(markdown, "")).Select(m => m.Groups[1].Value).Where(IsFileName).Distinct();

    /// <summary>The targets of the links of a text that are not addresses.</summary>
    public static IEnumerable<string> InLinks(string markdown) =>
        Link().Matches(Fence().Replace(markdown, "")).Select(m => m.Groups[1].Value).Where(t => !t.Contains("://", StringComparison.Ordinal)).Distinct();

    /// <summary>What does not exist of a name in a code span; null if everything does.</summary>
    public static string? Missing(string root, string page, string name) =>
        Expand(name).FirstOrDefault(n => !Exists(root, n) && !Exists(Path.Combine(root, Path.GetDirectoryName(page)!), n));

    /// <summary>What is wrong with the target of a link; null if nothing is.</summary>
    public static string? Broken(string root, string page, string target)
    {
        string[] parts = target.Split('#', 2);
        string file = parts[0].Length == 0 ? Path.Combine(root, page) : Path.Combine(root, Path.GetDirectoryName(page)!, parts[0]);
        if (!Path.Exists(file)) return $"{parts[0]} does not exist";
        return parts.Length == 2 && !Anchors(File.ReadAllText(file)).Contains(parts[1]) ? $"there is no heading #{parts[1]}" : null;
    }

    /// <summary>The anchors of the headings of a text, as GitHub makes them.</summary>
    public static IEnumerable<string> Anchors(string markdown) => Heading().Matches(Fence().Replace(markdown, ""))
        .Select(m => NoAnchor().Replace(m.Groups[1].Value.Trim().ToLowerInvariant(), "").Replace(' ', '-'));

    private static bool IsFileName(string span) => FileName().IsMatch(span);

    private static IEnumerable<string> Expand(string name)
    {
        Match choice = Choice().Match(name);
        return !choice.Success ? [name] : choice.Groups[1].Value.Split(',').SelectMany(part => Expand(name[..choice.Index] + part.Trim() + name[(choice.Index + choice.Length)..]));
    }

    private static bool Exists(string folder, string name)
    {
        int chosen = name.IndexOf('<', StringComparison.Ordinal);
        if (chosen >= 0) name = name[..chosen].Contains('/', StringComparison.Ordinal) ? name[..(name.LastIndexOf('/', chosen) + 1)] : ".";
        string path = Path.Combine(folder, name);
        if (!name.Contains('*', StringComparison.Ordinal)) return name.EndsWith('/') ? Directory.Exists(path) : Path.Exists(path);
        string parent = Path.GetDirectoryName(path)!;
        return Directory.Exists(parent) && Directory.EnumerateFileSystemEntries(parent, Path.GetFileName(path)).Any();
    }

    private static string? FindRoot()
    {
        string? folder = AppContext.BaseDirectory;
        while (folder is not null && !File.Exists(Path.Combine(folder, "Kernels.sln"))) folder = Path.GetDirectoryName(folder);
        return folder;
    }

    [GeneratedRegex("^```.*?^```", RegexOptions.Multiline | RegexOptions.Singleline)]
    private static partial Regex Fence();

    [GeneratedRegex("`([^`\n]+)`")]
    private static partial Regex CodeSpan();

    [GeneratedRegex(@"\]\(([^)\s]+)\)")]
    private static partial Regex Link();

    [GeneratedRegex("^#+ (.*)$", RegexOptions.Multiline)]
    private static partial Regex Heading();

    [GeneratedRegex(@"[^\p{L}\p{N} _-]")]
    private static partial Regex NoAnchor();

    [GeneratedRegex(@"^(?=[\w./{},*<>-]+$)((native|interop|managed|bench|tests|\.ci)/.*|.*/|.*[\w*>]\.(cs|cu|cuh|cpp|hpp|py|sh|awk|csproj|targets|props|sln))$")]
    private static partial Regex FileName();

    [GeneratedRegex(@"\{([^{}]*)\}")]
    private static partial Regex Choice();
}
