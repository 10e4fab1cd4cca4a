using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;
using System.Numerics;
using System.Text.Json;

namespace FeedbackKernels.Cli;

/// <summary>Choices by name: enumerations appear on the command line in kebab-case, as in config.json.</summary>
internal static class Names
{
    public static string Of<TEnum>(TEnum value) where TEnum : struct, Enum => JsonNamingPolicy.KebabCaseLower.ConvertName(value.ToString());

    public static string All<TEnum>() where TEnum : struct, Enum => string.Join(" | ", Enum.GetValues<TEnum>().Select(Of));

    /// <summary>An option whose argument is the name of one of an enumeration's values.</summary>
    public static Option<TEnum> Choice<TEnum>(string name, TEnum standard, string description) where TEnum : struct, Enum => new(name)
    {
        Description = $"{description} {All<TEnum>()}. [default: {Of(standard)}]",
        HelpName = "name",
        CustomParser = Parse<TEnum>,
    };

    /// <summary>The same with a value for "not said".</summary>
    public static Option<TEnum?> OptionalChoice<TEnum>(string name, string description) where TEnum : struct, Enum => new(name)
    {
        Description = $"{description} {All<TEnum>()}.",
        HelpName = "name",
        CustomParser = result => Parse<TEnum>(result),
    };

    /// <summary>An option whose argument is a number, in the notation of programs: a point, no grouping.</summary>
    public static Option<T> Number<T>(string name, T standard, string description) where T : INumberBase<T> => new(name)
    {
        Description = description,
        HelpName = "number",
        DefaultValueFactory = _ => standard,
        CustomParser = result => ParseNumber<T>(result),
    };

    /// <summary>The same with a least value, and a value for "not said".</summary>
    public static Option<int?> OptionalCount(string name, string description, int least = 1) => new(name)
    {
        Description = description,
        HelpName = "number",
        CustomParser = result => RequireAtLeast(least, ParseNumber<int>(result), result),
    };

    /// <summary>A whole number with a least value.</summary>
    public static Option<int> AtLeast(string name, int least, int standard, string description)
    {
        Option<int> option = Number(name, standard, description);
        option.CustomParser = result => RequireAtLeast(least, ParseNumber<int>(result), result);
        return option;
    }

    /// <summary>Parses one number; adds an error where it is none.</summary>
    public static T ParseNumber<T>(ArgumentResult result, int token = 0) where T : INumberBase<T>
    {
        string text = result.Tokens[token].Value;
        if (T.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out T? value)) return value;
        bool whole = typeof(T) == typeof(int) || typeof(T) == typeof(ulong);
        result.AddError($"{OptionOf(result)} '{text}': wanted a {(whole ? "whole " : "")}number");
        return default!;
    }

    /// <summary>The name of the option that an argument belongs to.</summary>
    public static string OptionOf(ArgumentResult result) => ((OptionResult)result.Parent!).Option.Name;

    private static int RequireAtLeast(int least, int value, ArgumentResult result)
    {
        if (value < least && !result.Errors.Any()) result.AddError($"{OptionOf(result)} {value}: wanted {least} or more");
        return value;
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
