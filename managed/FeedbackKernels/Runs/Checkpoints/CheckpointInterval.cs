using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace FeedbackKernels.Runs;

/// <summary>How often a run saves its state within an epoch: every number of steps, every stretch of time, or never.</summary>
/// <param name="Steps">Steps from one checkpoint to the next; null for a stretch of time or never.</param>
/// <param name="Time">Time from one checkpoint to the next; null for a number of steps or never.</param>
public sealed record CheckpointInterval(int? Steps, TimeSpan? Time)
{
    /// <summary>What <see cref="TryParse"/> takes, for help texts and errors.</summary>
    public const string Forms = "a time as 10m, 90s or 2h, a number of steps as 500, or off";

    private const string OffName = "off";

    private static readonly (char Name, int Seconds)[] Units = [('s', 1), ('m', 60), ('h', 3600)];

    /// <summary>No checkpoints, also none at the end of an epoch.</summary>
    public static CheckpointInterval Off { get; } = new(null, null);

    /// <summary>Ten minutes.</summary>
    public static CheckpointInterval Usual { get; } = new(null, TimeSpan.FromMinutes(10));

    /// <summary>Whether there are no checkpoints.</summary>
    public bool IsOff => Steps is null && Time is null;

    /// <summary>Reads a text as <c>10m</c>, <c>500</c> or <c>off</c>; null if it is none of <see cref="Forms"/>.</summary>
    /// <param name="text">The text.</param>
    public static CheckpointInterval? TryParse(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        if (text == OffName) return Off;
        if (int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int steps)) return steps > 0 ? new(steps, null) : null;
        if (text.Length == 0 || Units.FirstOrDefault(unit => unit.Name == text[^1]) is not { Seconds: > 0 and int unit }) return null;
        bool good = double.TryParse(text[..^1], NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out double number);
        double seconds = number * unit;
        return good && seconds is >= 1e-3 and < 1e9 ? new(null, TimeSpan.FromSeconds(seconds)) : null;
    }

    /// <inheritdoc/>
    public override string ToString()
    {
        if (Steps is { } steps) return steps.ToString(CultureInfo.InvariantCulture);
        if (Time is not { } time) return OffName;
        (char name, int unit) = Units.Last(unit => unit.Seconds == 1 || time.TotalSeconds % unit.Seconds == 0);
        return string.Create(CultureInfo.InvariantCulture, $"{time.TotalSeconds / unit}{name}");
    }
}

/// <summary>An interval is written as its text.</summary>
internal sealed class CheckpointIntervalJson : JsonConverter<CheckpointInterval>
{
    public override CheckpointInterval Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
        reader.TokenType == JsonTokenType.String && CheckpointInterval.TryParse(reader.GetString()!) is { } interval ? interval : throw new JsonException();

    public override void Write(Utf8JsonWriter writer, CheckpointInterval value, JsonSerializerOptions options) => writer.WriteStringValue(value.ToString());
}
