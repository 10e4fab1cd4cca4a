using System.Text.Json;
using System.Text.Json.Serialization.Metadata;

namespace FeedbackKernels.Rules;

/// <summary>A setting of one rule: a property of its record, and the option that sets it.</summary>
public abstract class RuleSetting
{
    private protected RuleSetting(string property, RuleOption option, string? needs) => (Property, Option, Needs) = (property, option, needs);

    /// <summary>Name of the property and of the constructor's parameter. config.json has it in camelCase.</summary>
    public string Property { get; }

    /// <summary>The option that sets it.</summary>
    public RuleOption Option { get; }

    /// <summary>Which other setting gives this one an effect, as errors name it; null where it always has one.</summary>
    public string? Needs { get; }

    /// <summary>Reads the setting of a rule.</summary>
    /// <param name="rule">The rule.</param>
    public abstract object? Get(FeedbackRule rule);

    /// <summary>A copy of a rule with another value of the setting.</summary>
    /// <param name="rule">The rule.</param>
    /// <param name="value">The value, of the option's type.</param>
    public abstract FeedbackRule With(FeedbackRule rule, object? value);

    /// <summary>Whether the setting has an effect on a rule.</summary>
    /// <param name="rule">The rule.</param>
    public abstract bool IsUsed(FeedbackRule rule);

    /// <summary>Checks the setting of a rule.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The value is out of range.</exception>
    internal abstract void Check(FeedbackRule rule);

    internal abstract JsonPropertyInfo CreateJson(JsonSerializerOptions options);

    internal abstract JsonParameterInfoValues CreateJsonParameter(int position, FeedbackRule standard);
}

/// <inheritdoc/>
internal sealed class RuleSetting<TRule, T>(
    string property, RuleOption<T> option, Func<TRule, T> get, Func<TRule, T, TRule> with, string? needs, Func<TRule, bool>? isUsed)
    : RuleSetting(property, option, needs)
    where TRule : FeedbackRule
{
    public override object? Get(FeedbackRule rule) => get((TRule)rule);

    public override FeedbackRule With(FeedbackRule rule, object? value) => with((TRule)rule, (T)value!);

    public override bool IsUsed(FeedbackRule rule) => isUsed is null || isUsed((TRule)rule);

    internal override void Check(FeedbackRule rule)
    {
        T value = get((TRule)rule);
        if (option.Refusal(value) is { } refusal) throw new ArgumentOutOfRangeException(Property, value, refusal);
    }

    internal override JsonPropertyInfo CreateJson(JsonSerializerOptions options) => JsonMetadataServices.CreatePropertyInfo(
        options,
        new JsonPropertyInfoValues<T>
        {
            IsProperty = true,
            IsPublic = true,
            DeclaringType = typeof(TRule),
            PropertyName = Property,
            Getter = rule => get((TRule)rule),
            // Never called: a rule gets its settings when it is made.
            Setter = (_, _) => throw new InvalidOperationException($"{Property} cannot be set"),
        });

    internal override JsonParameterInfoValues CreateJsonParameter(int position, FeedbackRule standard) => new()
    {
        Name = Property,
        ParameterType = typeof(T),
        Position = position,
        HasDefaultValue = true,
        DefaultValue = Get(standard),
        IsNullable = default(T) is null,
    };
}
