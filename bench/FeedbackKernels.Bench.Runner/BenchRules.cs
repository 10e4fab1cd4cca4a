using System.CommandLine;
using System.CommandLine.Parsing;
using FeedbackKernels.Rules;

namespace FeedbackKernels.Bench;

/// <summary>The learning rules as benchmarks train them, and the option that names them.</summary>
internal static class BenchRules
{
    /// <summary>All rules. Direct feedback goes to channels: weights of all elements of an ImageNet model would take gigabytes.</summary>
    public static readonly FeedbackRule[] All =
        [.. RuleCatalog.All.Select(entry => entry.Create() switch
        {
            DirectFeedbackAlignment direct => direct with { Target = DirectTarget.Channels },
            DirectKolenPollack direct => direct with { Target = DirectTarget.Channels },
            FeedbackRule rule => rule,
        })];

    /// <summary>The rule with a name or a short name; null where there is none.</summary>
    public static FeedbackRule? Find(string name) => RuleCatalog.Find(name) is { } entry ? All.Single(rule => rule.Name == entry.Name) : null;

    /// <summary>An option for one rule.</summary>
    public static Option<FeedbackRule?> Option() => new("--rule")
    {
        Description = $"Learning rule: {RuleCatalog.Names}. [default: {Backprop.RuleName}]",
        HelpName = "name",
        CustomParser = result => Parse(result, [result.Tokens.Single().Value], "").FirstOrDefault(),
    };

    /// <summary>An option for several rules.</summary>
    public static Option<FeedbackRule[]> SeveralOption() => new("--rule")
    {
        Description = $"Learning rules, separated by commas, which run in turn: {RuleCatalog.Names}; all for every rule. The models of all of them are in memory at once. [default: {Backprop.RuleName}]",
        HelpName = "names",
        CustomParser = result => result.Tokens.Single().Value is var text && text == "all" ? All : Parse(result, text.Split(','), ", all"),
    };

    private static FeedbackRule[] Parse(ArgumentResult result, string[] names, string further)
    {
        if (names.FirstOrDefault(name => Find(name) is null) is not { } unknown) return [.. names.Select(name => Find(name)!).Distinct()];
        result.AddError($"--rule '{unknown}' is unknown; rules: {RuleCatalog.Names}{further}");
        return [];
    }
}
