using System.Text.Json;
using System.Text.Json.Serialization.Metadata;

namespace FeedbackKernels.Rules;

/// <summary>All learning rules.</summary>
public static class RuleCatalog
{
    /// <summary>The rules in the order in which help texts list them. Adding a rule takes its own file and one line here.</summary>
    public static IReadOnlyList<RuleEntry> All { get; } =
    [
        Backprop.Entry,
        FeedbackAlignment.Entry,
        SignSymmetry.Entry,
        WeightMirror.Entry,
        KolenPollack.Entry,
        DirectFeedbackAlignment.Entry,
        SymmetricAlignment.Entry,
        ActivationAlignment.Entry,
        InformationAlignment.Entry,
        ProductFeedbackAlignment.Entry,
        LowRankFeedback.Entry,
        DirectKolenPollack.Entry,
    ];

    /// <summary>The names of all rules, with their abbreviations, for help texts and errors.</summary>
    internal static string Names => string.Join(", ", All.Select(entry => $"{entry.Name} ({entry.ShortName})"));

    /// <summary>Options of all rules, each once.</summary>
    public static IReadOnlyList<RuleOption> Options { get; } = [.. All.SelectMany(entry => entry.Settings).Select(setting => setting.Option).Distinct()];

    /// <summary>JSON of the rules: an object with the rule's name as <c>rule</c>, then its settings.</summary>
    internal static IJsonTypeInfoResolver Json { get; } = new Resolver();

    /// <summary>The entry with a name or an abbreviation; null where there is none.</summary>
    /// <param name="name">The name.</param>
    public static RuleEntry? Find(string name) => All.FirstOrDefault(entry => entry.Name == name || entry.ShortName == name);

    /// <summary>The entry of a rule; null for a rule that is not in the catalogue.</summary>
    /// <param name="rule">The rule.</param>
    public static RuleEntry? EntryOf(FeedbackRule rule)
    {
        ArgumentNullException.ThrowIfNull(rule);
        return All.FirstOrDefault(entry => entry.Type == rule.GetType());
    }

    /// <summary>The rules that an option sets up.</summary>
    /// <param name="option">The option.</param>
    public static IReadOnlyList<RuleEntry> RulesWith(RuleOption option) => [.. All.Where(entry => entry.SettingOf(option) is not null)];

    private sealed class Resolver : IJsonTypeInfoResolver
    {
        private readonly Dictionary<Type, Func<JsonSerializerOptions, JsonTypeInfo>> _types = new() { [typeof(FeedbackRule)] = AnyRule };

        public Resolver()
        {
            foreach (RuleEntry entry in All) _types.Add(entry.Type, entry.CreateJson);
            foreach ((Type type, Func<JsonSerializerOptions, JsonTypeInfo> create) in Options.SelectMany(option => option.Json)) _types[type] = create;
        }

        public JsonTypeInfo? GetTypeInfo(Type type, JsonSerializerOptions options) => _types.GetValueOrDefault(type)?.Invoke(options);

        private static JsonTypeInfo AnyRule(JsonSerializerOptions options)
        {
            var names = new JsonPolymorphismOptions { TypeDiscriminatorPropertyName = "rule" };
            foreach (RuleEntry entry in All) names.DerivedTypes.Add(new JsonDerivedType(entry.Type, entry.Name));
            JsonTypeInfo info = JsonMetadataServices.CreateObjectInfo(options, new JsonObjectInfoValues<FeedbackRule> { PropertyMetadataInitializer = _ => [] });
            info.PolymorphismOptions = names;
            return info;
        }
    }
}
