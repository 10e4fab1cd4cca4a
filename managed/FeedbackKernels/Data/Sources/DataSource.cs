namespace FeedbackKernels.Data;

/// <summary>A source of images as the command line names it: <c>KIND[:PLACE[:VARIANT]]</c>.</summary>
/// <param name="Kind">The kind.</param>
/// <param name="Place">The folder with the files, the file, or the pattern of the files; empty for kinds without one.</param>
/// <param name="Variant">Which labels, for kinds that have several; empty for the usual ones.</param>
internal sealed record DataSource(SourceKind Kind, string Place, string Variant)
{
    /// <exception cref="ArgumentException">The text has none of the forms.</exception>
    public static DataSource Parse(string source)
    {
        ArgumentNullException.ThrowIfNull(source);
        string[] parts = source.Split(':', 2);
        return (SourceCatalog.Find(parts[0]), parts.Length == 2 ? parts[1] : null) switch
        {
            ({ HasPlace: false } kind, null) => new DataSource(kind, "", ""),
            ({ HasPlace: true } kind, { Length: > 0 } place) => WithPlace(kind, place),
            _ => throw new ArgumentException($"no data source '{source}'; wanted {SourceCatalog.Forms}", nameof(source)),
        };
    }

    /// <summary>The same source with its place as an absolute path.</summary>
    public DataSource ToAbsolute() => Place.Length == 0 ? this : this with { Place = Kind.ToAbsolute(Place) };

    /// <inheritdoc/>
    public override string ToString() => string.Join(':', ((string[])[Kind.Name, Place, Variant]).Where(part => part.Length > 0));

    // A place's name may itself contain a colon: only a known variant is split off.
    private static DataSource WithPlace(SourceKind kind, string place)
    {
        foreach (string variant in kind.Variants)
        {
            if (place.Length > variant.Length + 1 && place.EndsWith(':' + variant, StringComparison.Ordinal))
                return new DataSource(kind, place[..^(variant.Length + 1)], variant);
        }

        return new DataSource(kind, place, "");
    }
}
