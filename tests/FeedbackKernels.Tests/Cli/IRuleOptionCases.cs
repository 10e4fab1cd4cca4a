using FeedbackKernels.Rules;

namespace FeedbackKernels.Tests.Cli;

/// <summary>The options of a rule, declared in the file that tests the rule. <see cref="OptionTests"/> and
/// <see cref="UnusedOptionTests"/> find them by reflection.</summary>
internal interface IRuleOptionCases
{
    /// <summary>All of this assembly.</summary>
    static IReadOnlyList<IRuleOptionCases> All { get; } =
    [
        .. typeof(IRuleOptionCases).Assembly.GetTypes().Where(t => t.IsAssignableTo(typeof(IRuleOptionCases)) && t.IsClass)
            .Select(t => (IRuleOptionCases)Activator.CreateInstance(t, nonPublic: true)!),
    ];

    /// <summary>The rule.</summary>
    RuleEntry Rule { get; }

    /// <summary>A case for each of its options, without what chooses the rule.</summary>
    IEnumerable<OptionCase> Cases { get; }
}
