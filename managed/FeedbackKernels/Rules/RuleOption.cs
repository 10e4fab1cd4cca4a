using System.Numerics;
using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;
using FeedbackKernels.Layers;
using FeedbackKernels.Settings;

namespace FeedbackKernels.Rules;

/// <summary>
/// An option that sets up a rule: name on the command line, help text, valid values. Rules with the same setting share one
/// option.
/// </summary>
public abstract class RuleOption
{
    private protected RuleOption(string name, string help, string whenOmitted)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(name);
        ArgumentException.ThrowIfNullOrWhiteSpace(help);
        (Name, Help, WhenOmitted) = (name, help, whenOmitted);
    }

    /// <summary>Distribution of the initial B, for every rule that draws it.</summary>
    public static RuleOption<WeightInit?> FeedbackInit { get; } = new OptionalChoiceOption<WeightInit>(
        "--feedback-init", "distribution of the initial B.", whenOmitted: "that of the layer's W");

    /// <summary>Factor on the initial B, for every rule that draws it.</summary>
    public static RuleOption<float> FeedbackScale { get; } = new NumberOption<float>("--feedback-scale", Bounds.Positive, "factor on the initial B.");

    /// <summary>What direct feedback connects the classes to.</summary>
    public static RuleOption<DirectTarget> DirectTarget { get; } = new ChoiceOption<DirectTarget>(
        "--direct-target", "one feedback weight for each element of a layer's output, or for each channel. channels needs far less memory.");

    /// <summary>Whether rules that learn B from activity sum over the pixels of a layer's output, as published, or take the mean.</summary>
    public static RuleOption<bool> PixelSum { get; } = new SwitchOption(
        "--alignment-pixels", "mean", "sum",
        "take the mean over the pixels of a layer's output, so that the constants fit layers of any size, or the sum as in the paper.");

    /// <summary>Name on the command line, with its dashes.</summary>
    public string Name { get; }

    /// <summary>What the option does, as it follows the names of the rules in a help text.</summary>
    public string Help { get; }

    /// <summary>What happens without the option, where its value is then null; otherwise empty.</summary>
    public string WhenOmitted { get; }

    /// <summary>JSON of the types that a value has.</summary>
    internal abstract IReadOnlyDictionary<Type, Func<JsonSerializerOptions, JsonTypeInfo>> Json { get; }

    /// <summary>Calls the visitor's method for this kind of option.</summary>
    /// <param name="visitor">The visitor.</param>
    public abstract TResult Accept<TResult>(IRuleOptionVisitor<TResult> visitor);

    private protected static JsonTypeInfo NumberJson<T>(JsonSerializerOptions options) where T : struct, INumberBase<T>
    {
        JsonConverter converter = typeof(T) == typeof(int) ? JsonMetadataServices.Int32Converter
            : typeof(T) == typeof(float) ? JsonMetadataServices.SingleConverter
            : throw new NotSupportedException($"settings of type {typeof(T).Name} are not supported");
        return JsonMetadataServices.CreateValueInfo<T>(options, converter);
    }

    private protected static JsonTypeInfo ChoiceJson<TEnum>(JsonSerializerOptions options) where TEnum : struct, Enum =>
        JsonMetadataServices.CreateValueInfo<TEnum>(options, new KebabCase<TEnum>().CreateConverter(typeof(TEnum), options)!);

    private protected static JsonTypeInfo NullableJson<T>(JsonSerializerOptions options) where T : struct =>
        JsonMetadataServices.CreateValueInfo<T?>(options, JsonMetadataServices.GetNullableConverter<T>(options));

    private protected static string? Refusal<TEnum>(TEnum value) where TEnum : struct, Enum =>
        Enum.IsDefined(value) ? null : $"wanted one of {KebabCase.All<TEnum>()}";
}

/// <summary>An option whose values have a type.</summary>
public abstract class RuleOption<T> : RuleOption
{
    private protected RuleOption(string name, string help, string whenOmitted = "") : base(name, help, whenOmitted)
    {
    }

    /// <summary>What would be valid instead of a value; null where the value is valid.</summary>
    internal abstract string? Refusal(T value);
}

/// <summary>A number in a range.</summary>
/// <param name="name">Its name on the command line, with two hyphens.</param>
/// <param name="bounds">The range.</param>
/// <param name="help">What it does, for help texts.</param>
public sealed class NumberOption<T>(string name, Bounds bounds, string help) : RuleOption<T>(name, help) where T : struct, INumberBase<T>
{
    /// <summary>The range.</summary>
    public Bounds Bounds => bounds;

    internal override IReadOnlyDictionary<Type, Func<JsonSerializerOptions, JsonTypeInfo>> Json { get; } =
        new Dictionary<Type, Func<JsonSerializerOptions, JsonTypeInfo>> { [typeof(T)] = NumberJson<T> };

    /// <inheritdoc/>
    public override TResult Accept<TResult>(IRuleOptionVisitor<TResult> visitor) => visitor.Number(this);

    internal override string? Refusal(T value) => bounds.Contain(double.CreateChecked(value)) ? null : $"wanted {bounds}";
}

/// <summary>A number in a range, or null.</summary>
/// <param name="name">Its name on the command line, with two hyphens.</param>
/// <param name="bounds">The range.</param>
/// <param name="help">What it does, for help texts.</param>
/// <param name="whenOmitted">What null means, for help texts.</param>
public sealed class OptionalNumberOption<T>(string name, Bounds bounds, string help, string whenOmitted) : RuleOption<T?>(name, help, whenOmitted)
    where T : struct, INumberBase<T>
{
    /// <summary>The range.</summary>
    public Bounds Bounds => bounds;

    internal override IReadOnlyDictionary<Type, Func<JsonSerializerOptions, JsonTypeInfo>> Json { get; } =
        new Dictionary<Type, Func<JsonSerializerOptions, JsonTypeInfo>> { [typeof(T)] = NumberJson<T>, [typeof(T?)] = NullableJson<T> };

    /// <inheritdoc/>
    public override TResult Accept<TResult>(IRuleOptionVisitor<TResult> visitor) => visitor.OptionalNumber(this);

    internal override string? Refusal(T? value) => value is not { } number || bounds.Contain(double.CreateChecked(number)) ? null : $"wanted {bounds}";
}

/// <summary>A value of an enumeration.</summary>
/// <param name="name">Its name on the command line, with two hyphens.</param>
/// <param name="help">What it does, for help texts.</param>
public sealed class ChoiceOption<TEnum>(string name, string help) : RuleOption<TEnum>(name, help) where TEnum : struct, Enum
{
    internal override IReadOnlyDictionary<Type, Func<JsonSerializerOptions, JsonTypeInfo>> Json { get; } =
        new Dictionary<Type, Func<JsonSerializerOptions, JsonTypeInfo>> { [typeof(TEnum)] = ChoiceJson<TEnum> };

    /// <inheritdoc/>
    public override TResult Accept<TResult>(IRuleOptionVisitor<TResult> visitor) => visitor.Choice(this);

    internal override string? Refusal(TEnum value) => Refusal<TEnum>(value);
}

/// <summary>A value of an enumeration, or null.</summary>
/// <param name="name">Its name on the command line, with two hyphens.</param>
/// <param name="help">What it does, for help texts.</param>
/// <param name="whenOmitted">What null means, for help texts.</param>
public sealed class OptionalChoiceOption<TEnum>(string name, string help, string whenOmitted) : RuleOption<TEnum?>(name, help, whenOmitted)
    where TEnum : struct, Enum
{
    internal override IReadOnlyDictionary<Type, Func<JsonSerializerOptions, JsonTypeInfo>> Json { get; } =
        new Dictionary<Type, Func<JsonSerializerOptions, JsonTypeInfo>> { [typeof(TEnum)] = ChoiceJson<TEnum>, [typeof(TEnum?)] = NullableJson<TEnum> };

    /// <inheritdoc/>
    public override TResult Accept<TResult>(IRuleOptionVisitor<TResult> visitor) => visitor.OptionalChoice(this);

    internal override string? Refusal(TEnum? value) => value is { } choice ? Refusal<TEnum>(choice) : null;
}

/// <summary>One of two names, of which the second stands for true.</summary>
/// <param name="name">Its name on the command line, with two hyphens.</param>
/// <param name="off">Name of false.</param>
/// <param name="on">Name of true.</param>
/// <param name="help">What it does, for help texts.</param>
public sealed class SwitchOption(string name, string off, string on, string help) : RuleOption<bool>(name, help)
{
    /// <summary>The name of false.</summary>
    public string Off => off;

    /// <summary>The name of true.</summary>
    public string On => on;

    internal override IReadOnlyDictionary<Type, Func<JsonSerializerOptions, JsonTypeInfo>> Json { get; } =
        new Dictionary<Type, Func<JsonSerializerOptions, JsonTypeInfo>>
        {
            [typeof(bool)] = options => JsonMetadataServices.CreateValueInfo<bool>(options, JsonMetadataServices.BooleanConverter),
        };

    /// <inheritdoc/>
    public override TResult Accept<TResult>(IRuleOptionVisitor<TResult> visitor) => visitor.Switch(this);

    internal override string? Refusal(bool value) => null;
}

/// <summary>Does something for each kind of option, such as making an option of a command line of it.</summary>
public interface IRuleOptionVisitor<out TResult>
{
    /// <summary>Called by a number.</summary>
    /// <param name="option">The option.</param>
    TResult Number<T>(NumberOption<T> option) where T : struct, INumberBase<T>;

    /// <summary>Called by a number that may be null.</summary>
    /// <param name="option">The option.</param>
    TResult OptionalNumber<T>(OptionalNumberOption<T> option) where T : struct, INumberBase<T>;

    /// <summary>Called by a choice.</summary>
    /// <param name="option">The option.</param>
    TResult Choice<TEnum>(ChoiceOption<TEnum> option) where TEnum : struct, Enum;

    /// <summary>Called by a choice that may be null.</summary>
    /// <param name="option">The option.</param>
    TResult OptionalChoice<TEnum>(OptionalChoiceOption<TEnum> option) where TEnum : struct, Enum;

    /// <summary>Called by a switch.</summary>
    /// <param name="option">The option.</param>
    TResult Switch(SwitchOption option);
}
