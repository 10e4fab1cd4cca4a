using System.CommandLine.Parsing;
using FeedbackKernels.Rules;

namespace FeedbackKernels.Cli;

/// <summary>A rule of a study, with options that hold for this rule alone: <c>kp</c>, <c>kp --kp-early-shrink 1</c>, or with a label of its
/// own <c>plain=kp --kp-early-shrink 1</c>.</summary>
/// <param name="Label">Its label in tables and charts.</param>
/// <param name="Name">Name of the rule.</param>
/// <param name="Options">Its own options, as words.</param>
internal sealed record StudyRule(string Label, string Name, IReadOnlyList<string> Options)
{
    /// <summary>Its own options as a text.</summary>
    public string Settings => TrainLine.Text(Options);

    /// <summary>A rule with no options of its own.</summary>
    public static StudyRule Of(FeedbackRule rule) => new(rule.Name, rule.Name, []);

    /// <summary>Reads the arguments of <c>--rules</c>: names separated by commas, or in quotes a name with options.</summary>
    public static StudyRule[] Parse(ArgumentResult result)
    {
        StudyRule[] rules = [.. result.Tokens.SelectMany(token => token.Value.Any(char.IsWhiteSpace) ? [token.Value] : token.Value.Split(',')).Select(text => Parse(text, result))];
        string[] labels = [.. rules.Select(rule => rule.Label)];
        if (labels.GroupBy(label => label, StringComparer.OrdinalIgnoreCase).FirstOrDefault(g => g.Count() > 1) is { } twice)
            result.AddError($"--rules has {twice.Key} {twice.Count()} times; a label tells rules apart, as in \"other=kp --kp-early-shrink 1\"");
        return rules;
    }

    private static StudyRule Parse(string text, SymbolResult result)
    {
        string[] words = text.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
        int head = words.TakeWhile(word => !word.StartsWith('-')).Count();
        // A label may have several words.
        string[] parts = string.Join(' ', words[..head]).Split('=', 2);
        string[] options = words[head..];
        string name = RuleOptions.Parse(parts[^1].Trim(), result).Name, settings = TrainLine.Text(options);
        string label = parts.Length == 2 ? parts[0].Trim() : settings.Length == 0 ? name : $"{name} {settings}";
        if (label.Length == 0) result.AddError($"--rules '{text}': wanted a label before the =");
        return new StudyRule(label, name, options);
    }
}
