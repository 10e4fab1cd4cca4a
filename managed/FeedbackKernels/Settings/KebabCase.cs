using System.Text.Json;
using System.Text.Json.Serialization;

namespace FeedbackKernels.Settings;

/// <summary>Names of the values of enumerations on the command line and in JSON: <c>CropFlip</c> is <c>crop-flip</c>.</summary>
public static class KebabCase
{
    /// <summary>The name of a value.</summary>
    /// <param name="value">The value.</param>
    public static string Of<TEnum>(TEnum value) where TEnum : struct, Enum => JsonNamingPolicy.KebabCaseLower.ConvertName(value.ToString());

    /// <summary>All names, as help texts and errors list them.</summary>
    public static string All<TEnum>() where TEnum : struct, Enum => string.Join(" | ", Enum.GetValues<TEnum>().Select(Of));
}

/// <summary>Reads and writes an enumeration by these names; numbers are refused.</summary>
internal sealed class KebabCase<TEnum>() : JsonStringEnumConverter<TEnum>(JsonNamingPolicy.KebabCaseLower, allowIntegerValues: false)
    where TEnum : struct, Enum;
