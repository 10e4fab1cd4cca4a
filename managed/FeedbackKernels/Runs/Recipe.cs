using System.Text.Json;
using System.Text.Json.Nodes;

namespace FeedbackKernels.Runs;

/// <summary>Settings for a whole run under a name, kept as a JSON resource: a description, the kind of data that it is made for, and what
/// its configuration sets.</summary>
/// <param name="Name">Name on the command line.</param>
/// <param name="Description">Where the settings are from, and what they are known to reach.</param>
/// <param name="Data">The data that it is made for, as <c>cifar10:DIR</c>.</param>
/// <param name="Config">The configuration.</param>
public sealed record Recipe(string Name, string Description, string Data, RunConfig Config)
{
    private const string Folder = "recipes/", Extension = ".json";

    /// <summary>The recipes by name. A new one is one file in Runs/Recipes.</summary>
    public static IReadOnlyList<Recipe> All => field ??=
    [
        .. typeof(Recipe).Assembly.GetManifestResourceNames().Where(name => name.StartsWith(Folder, StringComparison.Ordinal))
            .Order(StringComparer.Ordinal).Select(Read),
    ];

    /// <summary>The names of all recipes, for messages.</summary>
    public static string Names => string.Join(", ", All.Select(recipe => recipe.Name));

    /// <summary>The recipe of a name; null if there is none.</summary>
    /// <param name="name">The name.</param>
    public static Recipe? Find(string name) => All.FirstOrDefault(recipe => recipe.Name == name);

    private static Recipe Read(string resource)
    {
        using Stream stream = typeof(Recipe).Assembly.GetManifestResourceStream(resource)!;
        JsonObject file = JsonNode.Parse(stream)!.AsObject();
        return new Recipe(
            resource[Folder.Length..^Extension.Length], (string)file["description"]!, (string)file["data"]!,
            RunConfig.Parse(() => file["config"]!.ToJsonString(new JsonSerializerOptions { WriteIndented = true }), resource));
    }
}
