using System.CommandLine.Parsing;
using System.Globalization;
using FeedbackKernels.Reports;

namespace FeedbackKernels.Cli;

/// <summary>An option that a study sweeps, with its values.</summary>
/// <param name="Option">The option, with its dashes.</param>
/// <param name="Values">The values; several arguments of one value are separated by spaces.</param>
internal sealed record StudySweep(string Option, IReadOnlyList<string> Values)
{
    /// <summary>The words that give one of the values.</summary>
    public IReadOnlyList<string> WordsOf(string value) => [Option, .. value.Split(' ')];

    /// <summary>Reads the argument of <c>--sweep</c>.</summary>
    /// <param name="result">The argument.</param>
    /// <param name="options">Options that can be swept.</param>
    public static StudySweep? Parse(ArgumentResult result, IReadOnlyCollection<string> options)
    {
        string text = result.Tokens.Single().Value;
        string[] parts = text.Split('=', 2);
        string option = "--" + parts[0].TrimStart('-');
        string[] values = parts.Length == 2 ? [.. parts[1].Split(',').Select(Canonical)] : [];
        string? wrong = values.Length == 0 || values.Any(value => value.Length == 0) ? "wanted OPTION=VALUE,VALUE,..., as lr=0.05,0.1,0.2"
            : option is "--seed" ? "--seeds gives the seeds"
            : option is TrainLine.Rule ? "--rules gives the rules"
            : !options.Contains(option) ? $"unknown option '{option}'{(Spelling.Nearest(option, options) is { } near ? $"; did you mean '{near}'?" : "")}"
            : values.GroupBy(value => value).FirstOrDefault(g => g.Count() > 1) is { } twice ? $"{twice.Key} is given twice"
            : null;
        if (wrong is null) return new StudySweep(option, values);
        result.AddError($"--sweep '{text}': {wrong}");
        return null;
    }

    // One form for each number: 0.10 and 1e-1 are one run.
    private static string Canonical(string value)
    {
        value = string.Join(' ', value.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries));
        return StudyOutline.NumberOf(value)?.ToString("R", CultureInfo.InvariantCulture) ?? value;
    }
}
