using System.Text.Json;
using System.Text.Json.Serialization.Metadata;

namespace FeedbackKernels.Rules;

/// <summary>What the catalogue knows of a rule. Command line, help texts, checks and config.json use it.</summary>
public abstract class RuleEntry
{
    private readonly List<RuleSetting> _settings = [];

    private protected RuleEntry(string name, string shortName, string title) => (Name, ShortName, Title) = (name, shortName, title);

    /// <summary>Name on the command line, in config.json and in reports.</summary>
    public string Name { get; }

    /// <summary>Abbreviation that the command line also takes.</summary>
    public string ShortName { get; }

    /// <summary>Name in prose.</summary>
    public string Title { get; }

    /// <summary>Settings in the order of the constructor's parameters.</summary>
    public IReadOnlyList<RuleSetting> Settings => _settings;

    /// <summary>Type of the rule.</summary>
    internal abstract Type Type { get; }

    /// <summary>The rule with its standard settings.</summary>
    public abstract FeedbackRule Create();

    /// <summary>The setting that an option sets; null where the rule has none.</summary>
    /// <param name="option">The option.</param>
    public RuleSetting? SettingOf(RuleOption option) => _settings.Find(setting => setting.Option == option);

    /// <summary>Checks all settings of a rule.</summary>
    /// <exception cref="ArgumentOutOfRangeException">One of them is out of range.</exception>
    internal void Check(FeedbackRule rule)
    {
        foreach (RuleSetting setting in _settings) setting.Check(rule);
    }

    internal abstract JsonTypeInfo CreateJson(JsonSerializerOptions options);

    private protected void Add(RuleSetting setting) => _settings.Add(setting);
}

/// <inheritdoc/>
/// <param name="name">Name on the command line, in config.json and in reports.</param>
/// <param name="shortName">Abbreviation that the command line also takes.</param>
/// <param name="title">Name in prose.</param>
/// <param name="standard">Creates the rule with its standard settings.</param>
public sealed class RuleEntry<TRule>(string name, string shortName, string title, Func<TRule> standard) : RuleEntry(name, shortName, title)
    where TRule : FeedbackRule
{
    internal override Type Type => typeof(TRule);

    /// <summary>Adds a setting.</summary>
    /// <param name="property">Name of the record's property.</param>
    /// <param name="option">The option that sets it.</param>
    /// <param name="get">Reads it.</param>
    /// <param name="with">A copy of the rule with another value.</param>
    /// <param name="needs">Which other setting gives this one an effect; null where it always has one.</param>
    /// <param name="isUsed">Whether a rule has that other setting.</param>
    /// <returns>This entry.</returns>
    public RuleEntry<TRule> Setting<T>(
        string property, RuleOption<T> option, Func<TRule, T> get, Func<TRule, T, TRule> with, string? needs = null, Func<TRule, bool>? isUsed = null)
    {
        Add(new RuleSetting<TRule, T>(property, option, get, with, needs, isUsed));
        return this;
    }

    /// <inheritdoc/>
    public override FeedbackRule Create() => standard();

    internal override JsonTypeInfo CreateJson(JsonSerializerOptions options)
    {
        bool isPlain = Settings.Count == 0;
        return JsonMetadataServices.CreateObjectInfo(options, new JsonObjectInfoValues<TRule>
        {
            ObjectCreator = isPlain ? standard : null,
            ObjectWithParameterizedConstructorCreator = isPlain ? null : WithSettings,
            ConstructorParameterMetadataInitializer = isPlain ? null : () => [.. Settings.Select((setting, i) => setting.CreateJsonParameter(i, standard()))],
            PropertyMetadataInitializer = _ => [.. Settings.Select(setting => setting.CreateJson(options))],
        });
    }

    private TRule WithSettings(object?[] values)
    {
        FeedbackRule rule = standard();
        for (int i = 0; i < Settings.Count; i++) rule = Settings[i].With(rule, values[i]);
        return (TRule)rule;
    }
}
