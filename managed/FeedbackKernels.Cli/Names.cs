using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;
using System.Numerics;
using FeedbackKernels.Settings;

namespace FeedbackKernels.Cli;

/// <summary>Creates options. Enumerations appear on the command line in kebab-case, as in config.json.</summary>
internal static class Names
{
    /// <summary>An option whose argument is the name of a value of an enumeration.</summary>
    public static Setting<TEnum> Choice<TEnum>(string name, Use use, TEnum standard, string description) where TEnum : struct, Enum => new(name, use)
    {
        Description = $"{description} {KebabCase.All<TEnum>()}. [default: {KebabCase.Of(standard)}]",
        HelpName = "name",
        CustomParser = Parse<TEnum>,
    };

    /// <summary>The same, null if the option is not given.</summary>
    public static Setting<TEnum?> OptionalChoice<TEnum>(string name, Use use, string description, string whenOmitted) where TEnum : struct, Enum => new(name, use)
    {
        Description = $"{description} {KebabCase.All<TEnum>()}. [default: {whenOmitted}]",
        HelpName = "name",
        CustomParser = result => Parse<TEnum>(result),
    };

    /// <summary>An option whose arguments are names of values of an enumeration, separated by commas; none if it is not given.</summary>
    public static Setting<TEnum[]> Choices<TEnum>(string name, Use use, string description, string whenOmitted) where TEnum : struct, Enum => new(name, use)
    {
        Description = $"{description} {KebabCase.All<TEnum>()}; several are separated by commas. [default: {whenOmitted}]",
        HelpName = "names",
        DefaultValueFactory = _ => [],
        CustomParser = result =>
        {
            TEnum[] values = [.. result.Tokens.Single().Value.Split(',').Select(text => Parse<TEnum>(result, text))];
            if (values.GroupBy(value => value).FirstOrDefault(g => g.Count() > 1) is { } twice) result.AddError($"{name}: {KebabCase.Of(twice.Key)} is given twice");
            return values;
        },
    };

    /// <summary>An option whose argument is the name of an entry of a catalogue.</summary>
    /// <param name="name">Name of the option.</param>
    /// <param name="all">The entries.</param>
    /// <param name="nameOf">Name of an entry.</param>
    /// <param name="helpOf">Description of an entry.</param>
    /// <param name="standard">The default.</param>
    /// <param name="description">What the option does.</param>
    public static Setting<T> Entry<T>(
        string name, IReadOnlyList<T> all, Func<T, string> nameOf, Func<T, string> helpOf, T standard, string description) => new(name, Use.Always)
        {
            Description = $"{description} {string.Join("; ", all.Select(entry => $"{nameOf(entry)}: {helpOf(entry)}"))}. [default: {nameOf(standard)}]",
            HelpName = "name",
            CustomParser = result =>
            {
                string text = result.Tokens.Single().Value;
                if (all.FirstOrDefault(entry => nameOf(entry) == text) is { } found) return found;
                result.AddError($"{OptionOf(result)} '{text}' is unknown; valid names: {string.Join(" | ", all.Select(nameOf))}");
                return standard;
            },
        };

    /// <summary>An option that is on or off.</summary>
    public static Setting<bool> Switch(string name, Use use, bool standard, string description) => new(name, use)
    {
        Description = description,
        DefaultValueFactory = _ => standard,
    };

    /// <summary>An option whose argument is one of some names.</summary>
    public static Setting<string> OneOf(string name, Use use, string[] choices, string standard, string description) => new(name, use)
    {
        Description = $"{description} {string.Join(" | ", choices)}. [default: {standard}]",
        HelpName = "name",
        CustomParser = result =>
        {
            string text = result.Tokens.Single().Value;
            if (!choices.Contains(text)) result.AddError($"{name} '{text}' is unknown; valid names: {string.Join(" | ", choices)}");
            return text;
        },
    };

    /// <summary>An option whose argument is a number, with a decimal point and without grouping.</summary>
    public static Setting<T> Number<T>(string name, Use use, T standard, Bounds bounds, string description) where T : INumberBase<T> => new(name, use)
    {
        Description = description,
        HelpName = "number",
        DefaultValueFactory = _ => standard,
        CustomParser = result => ParseNumber<T>(result, bounds),
    };

    /// <summary>The same, null if the option is not given.</summary>
    public static Setting<T?> OptionalNumber<T>(string name, Use use, Bounds bounds, string description) where T : struct, INumberBase<T> => new(name, use)
    {
        Description = description,
        HelpName = "number",
        CustomParser = result => ParseNumber<T>(result, bounds),
    };

    /// <summary>An option whose arguments are the ends of a range.</summary>
    public static Setting<(double Min, double Max)> Range(string name, Use use, double least, double most, Bounds bounds, string description) => new(name, use)
    {
        Description = $"{description} [default: {least.ToString("G4", CultureInfo.InvariantCulture)} {most.ToString("G4", CultureInfo.InvariantCulture)}]",
        HelpName = "numbers",
        AllowMultipleArgumentsPerToken = true,
        Arity = new ArgumentArity(2, 2),
        CustomParser = result =>
        {
            (double Min, double Max) range = (ParseNumber<double>(result, bounds, 0), ParseNumber<double>(result, bounds, 1));
            if (range.Min > range.Max) result.AddError($"{name} {result.Tokens[0].Value} {result.Tokens[1].Value}: wanted the smaller number first");
            return range;
        },
    };

    /// <summary>Parses a number; adds an error if the text is not a number or the number is out of range.</summary>
    public static T ParseNumber<T>(ArgumentResult result, Bounds bounds, int token = 0) where T : INumberBase<T>
    {
        string text = result.Tokens[token].Value;
        if (T.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out T? value) && T.IsFinite(value))
        {
            if (bounds.Contain(double.CreateChecked(value))) return value;
            result.AddError($"{OptionOf(result)} {text}: wanted {bounds}");
        }
        else
        {
            result.AddError($"{OptionOf(result)} '{text}': wanted {KindOf<T>(text)}");
        }

        return default!;
    }

    /// <summary>The name of the option that an argument belongs to.</summary>
    public static string OptionOf(ArgumentResult result) => ((OptionResult)result.Parent!).Option.Name;

    /// <summary>Describes what the text should have been.</summary>
    private static string KindOf<T>(string text)
    {
        bool number = double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out double value) && double.IsFinite(value);
        if (typeof(T) == typeof(int)) return number && double.IsInteger(value) ? $"a whole number up to {int.MaxValue}" : "a whole number";
        if (typeof(T) == typeof(ulong)) return number && double.IsInteger(value) ? $"a whole number, 0 to {ulong.MaxValue}" : "a whole number";
        return number ? $"a number up to {float.MaxValue.ToString("G2", CultureInfo.InvariantCulture)}" : "a number";
    }

    private static TEnum Parse<TEnum>(ArgumentResult result) where TEnum : struct, Enum => Parse<TEnum>(result, result.Tokens.Single().Value);

    private static TEnum Parse<TEnum>(ArgumentResult result, string text) where TEnum : struct, Enum
    {
        foreach (TEnum value in Enum.GetValues<TEnum>())
        {
            if (KebabCase.Of(value) == text) return value;
        }

        result.AddError($"{OptionOf(result)} '{text}' is unknown; valid names: {KebabCase.All<TEnum>()}");
        return default;
    }
}
