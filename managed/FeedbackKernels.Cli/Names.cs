using System.CommandLine.Parsing;
using System.Globalization;
using System.Numerics;
using System.Text.Json;

namespace FeedbackKernels.Cli;

/// <summary>Makes options. Enumerations appear on the command line in kebab-case, as in config.json.</summary>
internal static class Names
{
    public static string Of<TEnum>(TEnum value) where TEnum : struct, Enum => JsonNamingPolicy.KebabCaseLower.ConvertName(value.ToString());

    public static string All<TEnum>() where TEnum : struct, Enum => string.Join(" | ", Enum.GetValues<TEnum>().Select(Of));

    /// <summary>An option whose argument is the name of one of an enumeration's values.</summary>
    public static Setting<TEnum> Choice<TEnum>(string name, Use use, TEnum standard, string description) where TEnum : struct, Enum => new(name, use)
    {
        Description = $"{description} {All<TEnum>()}. [default: {Of(standard)}]",
        HelpName = "name",
        CustomParser = Parse<TEnum>,
    };

    /// <summary>The same with a value for "not given".</summary>
    public static Setting<TEnum?> OptionalChoice<TEnum>(string name, Use use, string description) where TEnum : struct, Enum => new(name, use)
    {
        Description = $"{description} {All<TEnum>()}.",
        HelpName = "name",
        CustomParser = result => Parse<TEnum>(result),
    };

    /// <summary>An option that is on or off.</summary>
    public static Setting<bool> Switch(string name, Use use, bool standard, string description) => new(name, use)
    {
        Description = description,
        DefaultValueFactory = _ => standard,
    };

    /// <summary>An option whose argument is a number, in the notation of programs: a point, no grouping.</summary>
    public static Setting<T> Number<T>(string name, Use use, T standard, Bounds bounds, string description) where T : INumberBase<T> => new(name, use)
    {
        Description = description,
        HelpName = "number",
        DefaultValueFactory = _ => standard,
        CustomParser = result => ParseNumber<T>(result, bounds),
    };

    /// <summary>The same with a value for "not given".</summary>
    public static Setting<T?> OptionalNumber<T>(string name, Use use, Bounds bounds, string description) where T : struct, INumberBase<T> => new(name, use)
    {
        Description = description,
        HelpName = "number",
        CustomParser = result => ParseNumber<T>(result, bounds),
    };

    /// <summary>Parses one number; adds an error where it is none, or not one that is wanted.</summary>
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

    /// <summary>What a text that is no number of a type should have been.</summary>
    private static string KindOf<T>(string text)
    {
        bool number = double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out double value) && double.IsFinite(value);
        if (typeof(T) == typeof(int)) return number && double.IsInteger(value) ? $"a whole number up to {int.MaxValue}" : "a whole number";
        if (typeof(T) == typeof(ulong)) return number && double.IsInteger(value) ? $"a whole number, 0 to {ulong.MaxValue}" : "a whole number";
        return number ? $"a number up to {float.MaxValue.ToString("G2", CultureInfo.InvariantCulture)}" : "a number";
    }

    private static TEnum Parse<TEnum>(ArgumentResult result) where TEnum : struct, Enum
    {
        string text = result.Tokens.Single().Value;
        foreach (TEnum value in Enum.GetValues<TEnum>())
        {
            if (Of(value) == text) return value;
        }

        result.AddError($"{OptionOf(result)} '{text}' is unknown; there are {All<TEnum>()}");
        return default;
    }
}
