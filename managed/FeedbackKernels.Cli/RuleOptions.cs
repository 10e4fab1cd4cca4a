using System.CommandLine;
using System.CommandLine.Parsing;
using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Rules;

namespace FeedbackKernels.Cli;

/// <summary>The settings of the learning rules as options. A rule takes those that concern it.</summary>
internal sealed class RuleOptions
{
    private static readonly Dictionary<string, FeedbackRule> Rules = new FeedbackRule[]
    {
        new Backprop(), new FeedbackAlignment(), new SignSymmetry(), new WeightMirror(), new KolenPollack(), new DirectFeedbackAlignment(),
    }.ToDictionary(rule => rule.Name);

    private static readonly Dictionary<string, string> ShortNames = new()
    {
        ["bp"] = Backprop.RuleName,
        ["fa"] = FeedbackAlignment.RuleName,
        ["ss"] = SignSymmetry.RuleName,
        ["wm"] = WeightMirror.RuleName,
        ["kp"] = KolenPollack.RuleName,
        ["dfa"] = DirectFeedbackAlignment.RuleName,
    };

    private readonly Option<RuleFor[]> _ruleFor = new("--rule-for")
    {
        Description = "Rule of some layers, as layer=rule, e.g. fc=backprop; * in the layer's name stands for any letters. May be given several times.",
        HelpName = "layer=rule",
        AllowMultipleArgumentsPerToken = true,
        Arity = ArgumentArity.OneOrMore,
        CustomParser = result => [.. result.Tokens.SelectMany(t => t.Value.Split(',')).Select(text => ParseRuleFor(text, result))],
    };

    private readonly Option<int?> _mirrorSamples = Names.OptionalCount(
        "--mirror-samples", "Weight mirror: noise samples in a mirror step. [default: --batch; for patches 64 at least, or twice --batch if fewer, and a cycle of balanced noise for small layers]");

    private readonly Option<NoiseKind> _mirrorNoise = Names.Choice("--mirror-noise", new WeightMirror().Noise, "Weight mirror: distribution of the noise.");
    private readonly Option<float> _mirrorDeviation = Names.Number("--mirror-std", new WeightMirror().NoiseDeviation, "Weight mirror: standard deviation of the noise.");
    private readonly Option<float?> _mirrorRate = new("--mirror-rate")
    {
        Description = "Weight mirror: rate, and decay, of a move of B. [default: 1 for balanced patches and linear response, else 0.02]",
        HelpName = "number",
        CustomParser = result => Names.ParseNumber<float>(result),
    };

    private readonly Option<int> _mirrorEvery = Names.Number("--mirror-every", new WeightMirror().Every, "Weight mirror: training steps from one mirror step to the next.");
    private readonly Option<int?> _mirrorWarmUp = Names.OptionalCount(
        "--mirror-warm-up", "Weight mirror: mirror steps before training. [default: 100, or until each B has moved]", least: 0);
    private readonly Option<MirrorForm> _mirrorForm = Names.Choice("--mirror-form", new WeightMirror().Form, "Weight mirror: what goes through a layer.");
    private readonly Option<Activation> _mirrorResponse = new("--mirror-response")
    {
        Description = "Weight mirror: response that is correlated with the noise. linear | relu. [default: linear]",
        HelpName = "name",
        CustomParser = ParseResponse,
    };

    private readonly Option<float?> _kpDecay = new("--kp-decay")
    {
        Description = "Kolen-Pollack: weight decay of W and B. [default: --weight-decay]",
        HelpName = "number",
        CustomParser = result => Names.ParseNumber<float>(result),
    };

    private readonly Option<float> _kpEarlyShrink = Names.Number(
        "--kp-early-shrink", new KolenPollack().EarlyShrink, "Kolen-Pollack: what an early extra decay leaves of the initial W and B; 1 for none.");

    private readonly Option<EarlyDecay> _kpEarly = Names.Choice("--kp-early", new KolenPollack().Early, "Kolen-Pollack: when that decay takes place.");
    private readonly Option<int?> _kpEarlySteps = Names.OptionalCount("--kp-early-steps", "Kolen-Pollack: steps over which it is spread. [default: 20 before training, 1 in training]");
    private readonly Option<KolenPollackForm> _kpForm = Names.Choice("--kp-form", new KolenPollack().Form, "Kolen-Pollack: how B is kept.");
    private readonly Option<SignMagnitude> _signMagnitude = Names.Choice("--sign-magnitude", new SignSymmetry().Magnitude, "Sign symmetry: magnitudes of B.");
    private readonly Option<WeightInit?> _feedbackInit = Names.OptionalChoice<WeightInit>(
        "--feedback-init", "Feedback alignment, sign symmetry, Kolen-Pollack: distribution of the initial B; that of the layer's W where it is not given.");

    private readonly Option<float> _feedbackScale = Names.Number("--feedback-scale", 1f, "Feedback alignment, sign symmetry, Kolen-Pollack, direct feedback alignment: factor on the initial B.");
    private readonly Option<DirectTarget> _directTarget = Names.Choice("--direct-target", new DirectFeedbackAlignment().Target, "Direct feedback alignment: what has weights of its own.");

    /// <summary>Names of the rules, with their short forms.</summary>
    public static string RuleNames => string.Join(", ", ShortNames.Select(pair => $"{pair.Value} ({pair.Key})"));

    /// <summary>All options.</summary>
    public IEnumerable<Option> All =>
    [
        _ruleFor, _mirrorSamples, _mirrorNoise, _mirrorDeviation, _mirrorRate, _mirrorEvery, _mirrorWarmUp, _mirrorForm, _mirrorResponse,
        _kpDecay, _kpEarlyShrink, _kpEarly, _kpEarlySteps, _kpForm, _signMagnitude, _feedbackInit, _feedbackScale, _directTarget,
    ];

    /// <summary>The rule of a name, with its standard settings; adds an error where there is none.</summary>
    public static FeedbackRule Parse(string name, SymbolResult result)
    {
        if (Rules.TryGetValue(ShortNames.GetValueOrDefault(name, name), out FeedbackRule? rule)) return rule;
        result.AddError($"unknown rule '{name}'; there are {RuleNames}");
        return new Backprop();
    }

    /// <summary>A rule with the settings that were given.</summary>
    public FeedbackRule Apply(ParseResult parsed, FeedbackRule rule) => rule switch
    {
        FeedbackAlignment fa => fa with { Init = Given(parsed, _feedbackInit, fa.Init), Scale = Given(parsed, _feedbackScale, fa.Scale) },
        SignSymmetry ss => ss with
        {
            Magnitude = Given(parsed, _signMagnitude, ss.Magnitude),
            Init = Given(parsed, _feedbackInit, ss.Init),
            Scale = Given(parsed, _feedbackScale, ss.Scale),
        },
        WeightMirror wm => wm with
        {
            Samples = Given(parsed, _mirrorSamples, wm.Samples),
            Noise = Given(parsed, _mirrorNoise, wm.Noise),
            NoiseDeviation = Given(parsed, _mirrorDeviation, wm.NoiseDeviation),
            Rate = Given(parsed, _mirrorRate, wm.Rate),
            Every = Given(parsed, _mirrorEvery, wm.Every),
            WarmUpSteps = Given(parsed, _mirrorWarmUp, wm.WarmUpSteps),
            Form = Given(parsed, _mirrorForm, wm.Form),
            ReluResponse = Given(parsed, _mirrorResponse, wm.ReluResponse ? Activation.Relu : Activation.None) == Activation.Relu,
        },
        KolenPollack kp => kp with
        {
            Decay = Given(parsed, _kpDecay, kp.Decay),
            EarlyShrink = Given(parsed, _kpEarlyShrink, kp.EarlyShrink),
            Early = Given(parsed, _kpEarly, kp.Early),
            EarlySteps = Given(parsed, _kpEarlySteps, kp.EarlySteps),
            Form = Given(parsed, _kpForm, kp.Form),
            Init = Given(parsed, _feedbackInit, kp.Init),
            Scale = Given(parsed, _feedbackScale, kp.Scale),
        },
        DirectFeedbackAlignment dfa => dfa with { Target = Given(parsed, _directTarget, dfa.Target), Scale = Given(parsed, _feedbackScale, dfa.Scale) },
        _ => rule,
    };

    /// <summary>The exceptions that were given, with their settings, or those there were.</summary>
    public IReadOnlyList<RuleFor> ApplyExceptions(ParseResult parsed, IReadOnlyList<RuleFor> standard) =>
        [.. Given(parsed, _ruleFor, [.. standard]).Select(e => e with { Rule = Apply(parsed, e.Rule) })];

    /// <summary>The argument of an option, or a value of the caller's where the option was not given.</summary>
    internal static T Given<T>(ParseResult parsed, Option<T> option, T otherwise) =>
        parsed.GetResult(option) is { Implicit: false } ? parsed.GetValue(option)! : otherwise;

    private static RuleFor ParseRuleFor(string text, ArgumentResult result)
    {
        string[] parts = text.Split('=', 2);
        if (parts.Length == 2 && parts[0].Length > 0) return new RuleFor(parts[0], Parse(parts[1], result));
        result.AddError($"--rule-for '{text}': wanted layer=rule, e.g. fc=backprop");
        return new RuleFor("*", new Backprop());
    }

    private static Activation ParseResponse(ArgumentResult result)
    {
        string text = result.Tokens.Single().Value;
        if (text is "linear" or "relu") return text == "relu" ? Activation.Relu : Activation.None;
        result.AddError($"--mirror-response '{text}' is unknown; there are linear | relu");
        return Activation.None;
    }
}
