using System.CommandLine;
using System.CommandLine.Parsing;
using System.Numerics;
using FeedbackKernels.Rules;
using FeedbackKernels.Runs;

namespace FeedbackKernels.Cli;

/// <summary>The options of the learning rules, as the catalogue has them. Each rule takes those that it has a setting for.</summary>
internal sealed class RuleOptions
{
    private readonly Setting<RuleFor[]> _ruleFor = new("--rule-for", Use.Always)
    {
        Description = "Rule of some layers, as layer=rule, e.g. fc=backprop. * in the layer's name stands for any characters. May be given several times.",
        HelpName = "layer=rule",
        AllowMultipleArgumentsPerToken = true,
        Arity = ArgumentArity.OneOrMore,
        MayRepeat = true,
        CustomParser = result => [.. result.Tokens.SelectMany(t => t.Value.Split(',')).Select(text => ParseRuleFor(text, result))],
    };

    private readonly Line[] _lines = [.. RuleCatalog.Options.Select(option => option.Accept(new LineOf(option)))];

    /// <summary>All options.</summary>
    public IEnumerable<Option> All => [_ruleFor, .. _lines.Select(line => line.Option)];

    /// <summary>The rule with a name, with its standard settings; adds an error where there is none.</summary>
    public static FeedbackRule Parse(string name, SymbolResult result)
    {
        if (RuleCatalog.Find(name) is { } rule) return rule.Create();
        result.AddError($"unknown rule '{name}'; there are {RuleCatalog.Names}");
        return new Backprop();
    }

    /// <summary>The option of the rule of all layers, for commands that train under one rule.</summary>
    public static Setting<FeedbackRule> ForAllLayers() => new("--rule", Use.Always)
    {
        Description = $"Learning rule: {RuleCatalog.Names}. [default: {Backprop.RuleName}]",
        HelpName = "name",
        CustomParser = result => Parse(result.Tokens.Single().Value, result),
    };

    /// <summary>A configuration with the rules and the settings of rules that were given.</summary>
    /// <param name="parsed">The command line.</param>
    /// <param name="rule">The rule of all layers; that of the configuration if none was given.</param>
    /// <param name="config">The configuration.</param>
    public RunConfig Apply(ParseResult parsed, FeedbackRule rule, RunConfig config) =>
        config with { Rule = Apply(parsed, rule), RuleFor = ApplyExceptions(parsed, config.RuleFor) };

    /// <summary>A rule with the settings that were given.</summary>
    public FeedbackRule Apply(ParseResult parsed, FeedbackRule rule)
    {
        foreach (Line line in _lines.Where(line => Settings.IsGiven(parsed, line.Option)))
        {
            if (RuleCatalog.EntryOf(rule)?.SettingOf(line.Of) is { } setting) rule = setting.With(rule, line.Read(parsed));
        }

        return rule;
    }

    /// <summary>The exceptions that were given, otherwise the standard ones, with the settings that were given.</summary>
    public IReadOnlyList<RuleFor> ApplyExceptions(ParseResult parsed, IReadOnlyList<RuleFor> standard) =>
        [.. Settings.Given(parsed, _ruleFor, [.. standard]).Select(e => e with { Rule = Apply(parsed, e.Rule) })];

    private static RuleFor ParseRuleFor(string text, ArgumentResult result)
    {
        string[] parts = text.Split('=', 2);
        if (parts.Length == 2 && parts[0].Length > 0) return new RuleFor(parts[0], Parse(parts[1], result));
        result.AddError($"--rule-for '{text}': wanted layer=rule, e.g. fc=backprop");
        return new RuleFor("*", new Backprop());
    }

    /// <summary>An option of the catalogue on the command line.</summary>
    private sealed record Line(RuleOption Of, Option Option, Func<ParseResult, object?> Read);

    /// <summary>Creates the option of a command line for each kind of option in the catalogue.</summary>
    private sealed class LineOf : IRuleOptionVisitor<Line>
    {
        private readonly RuleOption _of;
        private readonly Use _use;
        private readonly string _description;
        private readonly object? _standard;

        public LineOf(RuleOption of)
        {
            IReadOnlyList<RuleEntry> rules = RuleCatalog.RulesWith(of);
            string titles = string.Join(", ", rules.Select(rule => rule.Title));
            (_of, _use) = (of, Use.Rule(of));
            _description = $"{char.ToUpperInvariant(titles[0])}{titles[1..]}: {of.Help}";
            // Rules that share an option have the same standard value.
            _standard = rules[0].SettingOf(of)!.Get(rules[0].Create());
        }

        public Line Number<T>(NumberOption<T> option) where T : struct, INumberBase<T> =>
            Read(Names.Number(_of.Name, _use, (T)_standard!, option.Bounds, _description));

        public Line OptionalNumber<T>(OptionalNumberOption<T> option) where T : struct, INumberBase<T> =>
            Read(Names.OptionalNumber<T>(_of.Name, _use, option.Bounds, $"{_description} [default: {_of.WhenOmitted}]"));

        public Line Choice<TEnum>(ChoiceOption<TEnum> option) where TEnum : struct, Enum =>
            Read(Names.Choice(_of.Name, _use, (TEnum)_standard!, _description));

        public Line OptionalChoice<TEnum>(OptionalChoiceOption<TEnum> option) where TEnum : struct, Enum =>
            Read(Names.OptionalChoice<TEnum>(_of.Name, _use, _description, _of.WhenOmitted));

        // Not an option of type bool: the parser of the command line would take no name as its argument.
        public Line Switch(SwitchOption option)
        {
            Setting<string> setting = Names.OneOf(_of.Name, _use, [option.Off, option.On], (bool)_standard! ? option.On : option.Off, _description);
            return new Line(_of, setting, parsed => parsed.GetValue(setting) == option.On);
        }

        private Line Read<T>(Setting<T> setting) => new(_of, setting, parsed => parsed.GetValue(setting));
    }
}
