namespace FeedbackKernels.Data;

/// <summary>All kinds of sources. A new kind is one file with its entry, and one line here.</summary>
public static class SourceCatalog
{
    /// <summary>The entries, in the order of the help texts.</summary>
    public static IReadOnlyList<SourceKind> All { get; } =
    [
        SyntheticImages.Kind,
        Mnist.Kind,
        Cifar10.Kind,
        Cifar100.Kind,
        ImageFolder.Kind,
        WebDataset.Kind,
        ImageNetTars.Kind,
        PackedImages.Kind,
    ];

    /// <summary>The forms of all kinds, for error messages.</summary>
    public static string Forms { get; } = string.Join(" | ", All.Select(kind => kind.Form));

    /// <summary>The forms of all kinds with what they mean, for help texts.</summary>
    public static string Help { get; } = string.Join("; ", All.Select(kind => $"{kind.Form}, {kind.Help}"));

    /// <summary>The kind of a source as the user names it.</summary>
    /// <param name="source">As <c>cifar10:DIR</c>.</param>
    /// <exception cref="ArgumentException">The source has none of the forms.</exception>
    public static SourceKind KindOf(string source) => DataSource.Parse(source).Kind;

    /// <summary>The forms of the kinds whose images are encoded.</summary>
    public static string EncodedForms { get; } = string.Join(" | ", All.Where(kind => kind.HasSeveralSizes).Select(kind => kind.Form));

    /// <summary>The entry of a name; null if there is none.</summary>
    /// <param name="name">The name.</param>
    public static SourceKind? Find(string name) => All.FirstOrDefault(kind => kind.Name == name);
}
