namespace FeedbackKernels.Data;

/// <summary>A source of images as the command line names it: <c>KIND[:FOLDER[:VARIANT]]</c>.</summary>
/// <param name="Kind">The format, or <c>synthetic</c>.</param>
/// <param name="Folder">Where the files are; empty for synthetic images.</param>
/// <param name="Variant">Which labels, for formats that have several; empty for the usual ones.</param>
internal sealed record DataSource(string Kind, string Folder, string Variant)
{
    public const string Synthetic = "synthetic", Mnist = "mnist", Cifar10 = "cifar10", Cifar100 = "cifar100";

    /// <summary>Variants of CIFAR-100's labels.</summary>
    public const string Fine = "fine", Coarse = "coarse";

    /// <exception cref="ArgumentException">It has none of the forms.</exception>
    public static DataSource Parse(string source)
    {
        ArgumentNullException.ThrowIfNull(source);
        string[] parts = source.Split(':', 2);
        return (parts[0], parts.Length == 2 ? parts[1] : null) switch
        {
            (Synthetic, null) => new DataSource(Synthetic, "", ""),
            (Mnist or Cifar10, { Length: > 0 } folder) => new DataSource(parts[0], folder, ""),
            (Cifar100, { Length: > 0 } folder) => WithVariant(folder),
            _ => throw new ArgumentException($"no data source '{source}'; wanted {DataSet.Forms}", nameof(source)),
        };
    }

    /// <summary>The same source with its folder as an absolute path.</summary>
    public DataSource ToAbsolute() => Folder.Length == 0 ? this : this with { Folder = Path.TrimEndingDirectorySeparator(Path.GetFullPath(Folder)) };

    /// <inheritdoc/>
    public override string ToString() => string.Join(':', ((string[])[Kind, Folder, Variant]).Where(part => part.Length > 0));

    private static DataSource WithVariant(string folder)
    {
        foreach (string variant in (string[])[Fine, Coarse])
        {
            if (folder.Length > variant.Length + 1 && folder.EndsWith(':' + variant, StringComparison.Ordinal))
                return new DataSource(Cifar100, folder[..^(variant.Length + 1)], variant);
        }

        return new DataSource(Cifar100, folder, "");
    }
}
