namespace FeedbackKernels.Data;

/// <summary>A source of images as the command line names it: <c>KIND[:FOLDER[:VARIANT]]</c>.</summary>
/// <param name="Kind">The kind.</param>
/// <param name="Folder">The folder with the files; empty for kinds without one.</param>
/// <param name="Variant">Which labels, for kinds that have several; empty for the usual ones.</param>
internal sealed record DataSource(SourceKind Kind, string Folder, string Variant)
{
    /// <exception cref="ArgumentException">The text has none of the forms.</exception>
    public static DataSource Parse(string source)
    {
        ArgumentNullException.ThrowIfNull(source);
        string[] parts = source.Split(':', 2);
        return (SourceCatalog.Find(parts[0]), parts.Length == 2 ? parts[1] : null) switch
        {
            ({ HasFolder: false } kind, null) => new DataSource(kind, "", ""),
            ({ HasFolder: true } kind, { Length: > 0 } place) => WithFolder(kind, place),
            _ => throw new ArgumentException($"no data source '{source}'; wanted {SourceCatalog.Forms}", nameof(source)),
        };
    }

    /// <summary>The same source with its folder as an absolute path.</summary>
    public DataSource ToAbsolute() => Folder.Length == 0 ? this : this with { Folder = Path.TrimEndingDirectorySeparator(Path.GetFullPath(Folder)) };

    /// <inheritdoc/>
    public override string ToString() => string.Join(':', ((string[])[Kind.Name, Folder, Variant]).Where(part => part.Length > 0));

    // A folder's name may itself contain a colon: only a known variant is split off.
    private static DataSource WithFolder(SourceKind kind, string place)
    {
        foreach (string variant in kind.Variants)
        {
            if (place.Length > variant.Length + 1 && place.EndsWith(':' + variant, StringComparison.Ordinal))
                return new DataSource(kind, place[..^(variant.Length + 1)], variant);
        }

        return new DataSource(kind, place, "");
    }
}
