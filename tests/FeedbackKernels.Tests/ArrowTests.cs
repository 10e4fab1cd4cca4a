using System.Text.RegularExpressions;

namespace FeedbackKernels.Tests;

/// <summary>Dependencies between the folders of <c>managed/</c>, read from the using lines: arrows point one way.</summary>
public sealed partial class ArrowTests
{
    /// <summary>The folders from the bottom to the top, each with those that it may use.</summary>
    private static readonly (string Folder, string[] Uses)[] House =
    [
        ("Interop", []),
        ("Settings", []),
        ("State", ["Interop"]),
        ("Data", ["Interop"]),
        ("Layers", ["Interop", "State"]),
        ("Rules", ["Interop", "Settings", "State", "Layers"]),
        ("Models", ["Interop", "State", "Layers", "Rules"]),
        ("Storage", ["Interop", "State", "Data", "Layers", "Models"]),
        ("Training", ["Interop", "State", "Data", "Layers", "Rules", "Models"]),
        ("Reports", ["Models", "Training"]),
        ("Runs", ["Interop", "Settings", "State", "Data", "Layers", "Rules", "Models", "Storage", "Training", "Reports"]),
        ("Watch", ["Runs"]),
        ("TorchSharp", ["Interop", "Layers", "Rules"]),
        ("Cli", ["Interop", "Settings", "Data", "Layers", "Rules", "Models", "Training", "Reports", "Runs"]),
    ];

    [Fact]
    public void Folders_use_only_folders_below_them()
    {
        for (int i = 0; i < House.Length; i++) Assert.Subset(House[..i].Select(below => below.Folder).ToHashSet(), House[i].Uses.ToHashSet());
        Dictionary<string, string[]> allowed = House.ToDictionary(folder => folder.Folder, folder => folder.Uses);
        var wrong = new List<string>();
        var found = new HashSet<(string From, string To)>();
        foreach ((string folder, string file) in Files())
        {
            foreach (string used in Names().Matches(File.ReadAllText(file)).Select(match => match.Groups[1].Value).Distinct())
            {
                if (used == folder) continue;
                found.Add((folder, used));
                if (!allowed[folder].Contains(used)) wrong.Add($"{folder} uses {used}: {file}");
            }
        }

        Assert.Empty(wrong);
        // A search that finds nothing would allow everything.
        Assert.Superset(new HashSet<(string, string)> { ("Data", "Interop"), ("Rules", "Layers"), ("Runs", "Reports"), ("Cli", "Runs"), ("Watch", "Runs"), ("TorchSharp", "Rules") }, found);
    }

    /// <summary>The sources with the folder that they belong to.</summary>
    private static IEnumerable<(string Folder, string File)> Files()
    {
        string root = AppContext.BaseDirectory;
        while (!File.Exists(Path.Combine(root, "Kernels.sln"))) root = Path.GetDirectoryName(root) ?? throw new FileNotFoundException("Kernels.sln");
        foreach ((string project, string? only) in ((string, string?)[])[("interop/FeedbackKernels.Interop", "Interop"), ("managed/FeedbackKernels", null), ("managed/FeedbackKernels.Cli", "Cli"), ("managed/FeedbackKernels.Watch", "Watch"), ("managed/FeedbackKernels.TorchSharp", "TorchSharp")])
        {
            string start = Path.Combine(root, project);
            foreach (string file in Directory.EnumerateFiles(start, "*.cs", SearchOption.AllDirectories))
            {
                string first = Path.GetRelativePath(start, file).Split(Path.DirectorySeparatorChar)[0];
                if (first is not ("bin" or "obj")) yield return (only ?? first, file);
            }
        }
    }

    // Also a full name in the midst of code.
    [GeneratedRegex(@"\bFeedbackKernels\.(?!Tests\b|Bench\b)([A-Z]\w+)(?<=^using FeedbackKernels\.\w+|^using static FeedbackKernels\.\w+|global::FeedbackKernels\.\w+|[( <]FeedbackKernels\.\w+)", RegexOptions.Multiline)]
    private static partial Regex Names();
}
