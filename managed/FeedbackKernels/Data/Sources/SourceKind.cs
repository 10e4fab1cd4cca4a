namespace FeedbackKernels.Data;

/// <summary>A kind of source, as an entry of <see cref="SourceCatalog"/>: its name on the command line, and how it is opened.</summary>
/// <param name="Name">The name that <c>--data</c> takes.</param>
/// <param name="Help">What the images are, for help texts: a noun phrase without a full stop.</param>
public sealed record SourceKind(string Name, string Help)
{
    /// <summary>What follows the name, as help texts write it: a folder, a file, a pattern; empty if nothing follows.</summary>
    public string Place { get; init; } = "DIR";

    /// <summary>Whether a place follows the name.</summary>
    public bool HasPlace => Place.Length > 0;

    /// <summary>Makes a place absolute.</summary>
    public Func<string, string> ToAbsolute { get; init; } = place => Path.TrimEndingDirectorySeparator(Path.GetFullPath(place));

    /// <summary>Whether the images are encoded and of several sizes, so that training crops and resizes them.</summary>
    public bool HasSeveralSizes { get; init; }

    /// <summary>Names of the variants, the usual one first; empty if there is only one.</summary>
    public IReadOnlyList<string> Variants { get; init; } = [];

    /// <summary>Whether the images can be held in memory, see <see cref="SourceRequest.InMemory"/>.</summary>
    public bool CanHoldInMemory { get; init; }

    /// <summary>Opens the training and the test images.</summary>
    public required Func<SourceRequest, DataSet> Open { get; init; }

    /// <summary>Opens the test images alone.</summary>
    public required Func<SourceRequest, TestSet> OpenTest { get; init; }

    /// <summary>Form of the argument of <c>--data</c>, as <c>cifar100:DIR[:coarse]</c>.</summary>
    public string Form => Name + (HasPlace ? $":{Place}" : "") + (Variants.Count > 1 ? $"[:{string.Join('|', Variants.Skip(1))}]" : "");
}

/// <summary>What is asked of a source.</summary>
/// <param name="Place">The folder, file or pattern; empty for sources without one.</param>
/// <param name="Variant">The variant; empty for the usual one.</param>
/// <param name="Seed">Seed of generated images.</param>
/// <param name="LimitTrain">Training images that will be used; a source may leave out the others.</param>
/// <param name="LimitTest">Test images that will be used; a source may leave out the others.</param>
/// <param name="Classes">Number of classes, for formats whose test half does not say it; null if it is not known.</param>
/// <param name="InMemory">Whether the encoded images are to be held in memory.</param>
public readonly record struct SourceRequest(
    string Place, string Variant, ulong Seed, int? LimitTrain = null, int? LimitTest = null, int? Classes = null, bool InMemory = false);
