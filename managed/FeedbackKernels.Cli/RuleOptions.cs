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

    private static readonly Use Mirror = Use.Rule(WeightMirror.RuleName);
    private static readonly Use Pollack = Use.Rule(KolenPollack.RuleName);
    private static readonly Use EarlyDecayOfPollack = Use.Rule<KolenPollack>(
        $"the rule {KolenPollack.RuleName} with --kp-early-shrink below 1", rule => rule.EarlyShrink != 1);

    private static readonly Use DrawnWeights = Use.Rule(FeedbackAlignment.RuleName, SignSymmetry.RuleName, KolenPollack.RuleName);
    private static readonly Use ScaledWeights = Use.Rule(
        FeedbackAlignment.RuleName, SignSymmetry.RuleName, KolenPollack.RuleName, DirectFeedbackAlignment.RuleName);

    private readonly Setting<RuleFor[]> _ruleFor = new("--rule-for", Use.Always)
    {
        Description = "Rule of some layers, as layer=rule, e.g. fc=backprop. * in the layer's name stands for any characters. May be given several times.",
        HelpName = "layer=rule",
        AllowMultipleArgumentsPerToken = true,
        Arity = ArgumentArity.OneOrMore,
        MayRepeat = true,
        CustomParser = result => [.. result.Tokens.SelectMany(t => t.Value.Split(',')).Select(text => ParseRuleFor(text, result))],
    };

    private readonly Setting<int?> _mirrorSamples = Names.OptionalNumber<int>(
        "--mirror-samples", Mirror, new Bounds(1, 1_000_000),
        "Weight mirror: noise samples in a mirror step. More give a better angle and take longer. [default: --batch; for patches at least 64 or twice --batch, whichever is less, and a whole cycle of balanced noise for small layers]");

    private readonly Setting<NoiseKind> _mirrorNoise = Names.Choice("--mirror-noise", Mirror, new WeightMirror().Noise, "Weight mirror: distribution of the noise.");
    private readonly Setting<float> _mirrorDeviation = Names.Number(
        "--mirror-std", Mirror, new WeightMirror().NoiseDeviation, Bounds.Positive, "Weight mirror: standard deviation of the noise.");

    private readonly Setting<float?> _mirrorRate = Names.OptionalNumber<float>(
        "--mirror-rate", Mirror, Bounds.PositiveShare,
        "Weight mirror: weight of the newest estimate in the running average that B is. [default: 1 for balanced patches with linear response, else 0.02]");

    private readonly Setting<int> _mirrorEvery = Names.Number(
        "--mirror-every", Mirror, new WeightMirror().Every, Bounds.AtLeast(1), "Weight mirror: one mirror step every N training steps.");

    private readonly Setting<int?> _mirrorWarmUp = Names.OptionalNumber<int>(
        "--mirror-warm-up", Mirror, new Bounds(0, 10_000_000), "Weight mirror: mirror steps before training. [default: 100, or until each B has been updated]");

    private readonly Setting<MirrorForm> _mirrorForm = Names.Choice(
        "--mirror-form", Mirror, new WeightMirror().Form, "Weight mirror: send single patches of noise through a layer, or whole images of noise as in the paper.");

    private readonly Setting<Activation> _mirrorResponse = new("--mirror-response", Mirror)
    {
        Description = "Weight mirror: correlate the noise with the layer's linear response, or with its ReLU as in the paper. linear | relu. [default: linear]",
        HelpName = "name",
        CustomParser = ParseResponse,
    };

    private readonly Setting<float?> _kpDecay = Names.OptionalNumber<float>(
        "--kp-decay", Pollack, Bounds.Share, "Kolen-Pollack: weight decay of W and B. A larger one aligns them sooner. [default: --weight-decay]");

    private readonly Setting<float> _kpEarlyShrink = Names.Number(
        "--kp-early-shrink", Pollack, new KolenPollack().EarlyShrink, Bounds.PositiveShare,
        "Kolen-Pollack: factor by which an extra decay early in the run shrinks the initial W and B. 1 turns it off.");

    private readonly Setting<EarlyDecay> _kpEarly = Names.Choice(
        "--kp-early", EarlyDecayOfPollack, new KolenPollack().Early, "Kolen-Pollack: when the early decay happens.");

    private readonly Setting<int?> _kpEarlySteps = Names.OptionalNumber<int>(
        "--kp-early-steps", EarlyDecayOfPollack, new Bounds(1, 1_000_000), "Kolen-Pollack: steps over which the early decay is spread. [default: 20 before training, 1 in training]");

    private readonly Setting<KolenPollackForm> _kpForm = Names.Choice(
        "--kp-form", Pollack, new KolenPollack().Form, "Kolen-Pollack: update B like W, or compute it from W and the initial difference. Both give the same B but for rounding.");

    private readonly Setting<SignMagnitude> _signMagnitude = Names.Choice(
        "--sign-magnitude", Use.Rule(SignSymmetry.RuleName), new SignSymmetry().Magnitude, "Sign symmetry: absolute values of B.");

    private readonly Setting<WeightInit?> _feedbackInit = Names.OptionalChoice<WeightInit>(
        "--feedback-init", DrawnWeights, "Feedback alignment, sign symmetry, Kolen-Pollack: distribution of the initial B. [default: that of the layer's W]");

    private readonly Setting<float> _feedbackScale = Names.Number(
        "--feedback-scale", ScaledWeights, 1f, Bounds.Positive,
        "Feedback alignment, sign symmetry, Kolen-Pollack, direct feedback alignment: factor on the initial B.");

    private readonly Setting<DirectTarget> _directTarget = Names.Choice(
        "--direct-target", Use.Rule(DirectFeedbackAlignment.RuleName), new DirectFeedbackAlignment().Target,
        "Direct feedback alignment: one feedback weight for each element of a layer's output, or for each channel. channels needs far less memory.");

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
        FeedbackAlignment fa => fa with { Init = Settings.Given(parsed, _feedbackInit, fa.Init), Scale = Settings.Given(parsed, _feedbackScale, fa.Scale) },
        SignSymmetry ss => ss with
        {
            Magnitude = Settings.Given(parsed, _signMagnitude, ss.Magnitude),
            Init = Settings.Given(parsed, _feedbackInit, ss.Init),
            Scale = Settings.Given(parsed, _feedbackScale, ss.Scale),
        },
        WeightMirror wm => wm with
        {
            Samples = Settings.Given(parsed, _mirrorSamples, wm.Samples),
            Noise = Settings.Given(parsed, _mirrorNoise, wm.Noise),
            NoiseDeviation = Settings.Given(parsed, _mirrorDeviation, wm.NoiseDeviation),
            Rate = Settings.Given(parsed, _mirrorRate, wm.Rate),
            Every = Settings.Given(parsed, _mirrorEvery, wm.Every),
            WarmUpSteps = Settings.Given(parsed, _mirrorWarmUp, wm.WarmUpSteps),
            Form = Settings.Given(parsed, _mirrorForm, wm.Form),
            ReluResponse = Settings.Given(parsed, _mirrorResponse, wm.ReluResponse ? Activation.Relu : Activation.None) == Activation.Relu,
        },
        KolenPollack kp => kp with
        {
            Decay = Settings.Given(parsed, _kpDecay, kp.Decay),
            EarlyShrink = Settings.Given(parsed, _kpEarlyShrink, kp.EarlyShrink),
            Early = Settings.Given(parsed, _kpEarly, kp.Early),
            EarlySteps = Settings.Given(parsed, _kpEarlySteps, kp.EarlySteps),
            Form = Settings.Given(parsed, _kpForm, kp.Form),
            Init = Settings.Given(parsed, _feedbackInit, kp.Init),
            Scale = Settings.Given(parsed, _feedbackScale, kp.Scale),
        },
        DirectFeedbackAlignment dfa => dfa with { Target = Settings.Given(parsed, _directTarget, dfa.Target), Scale = Settings.Given(parsed, _feedbackScale, dfa.Scale) },
        _ => rule,
    };

    /// <summary>The exceptions that were given, with their settings, or those there were.</summary>
    public IReadOnlyList<RuleFor> ApplyExceptions(ParseResult parsed, IReadOnlyList<RuleFor> standard) =>
        [.. Settings.Given(parsed, _ruleFor, [.. standard]).Select(e => e with { Rule = Apply(parsed, e.Rule) })];

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
