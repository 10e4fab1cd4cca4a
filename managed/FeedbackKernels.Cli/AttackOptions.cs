using System.CommandLine;
using FeedbackKernels.Settings;
using FeedbackKernels.Training;

namespace FeedbackKernels.Cli;

/// <summary>The options of an adversarial attack.</summary>
internal sealed class AttackOptions
{
    private static readonly Attack Standard = new();

    private readonly Setting<AttackKind[]> _kinds = Names.Choices<AttackKind>(
        "--attack", Use.Always, "Also compute the accuracy on adversarial images, made by the exact gradient of the loss by the image.", whenOmitted: "none");

    private readonly Setting<double> _epsilon;
    private readonly Setting<int> _steps;
    private readonly Setting<double?> _stepSize;
    private readonly Setting<ulong> _seed;

    public AttackOptions()
    {
        Use any = Use.With(_kinds), pgd = new("--attack pgd", (parsed, _) => parsed.GetValue(_kinds)!.Contains(AttackKind.Pgd));
        _epsilon = Names.Number("--attack-epsilon", any, Standard.Epsilon, Bounds.PositiveShare, "Largest change of a pixel; black is 0 and white is 1. The default is 8/255.");
        _steps = Names.Number("--attack-steps", pgd, Standard.Steps, new Bounds(1, 10_000), "Steps of the attack. Each takes a forward and a backward pass.");
        _stepSize = Names.OptionalNumber<double>("--attack-step-size", pgd, Bounds.PositiveShare, "Change of a pixel in a step. [default: 2.5 epsilon / steps]");
        _seed = Names.Number("--attack-seed", pgd, Standard.Seed, Bounds.AtLeast(0), "Seed of the random starts of the attack.");
    }

    public IReadOnlyList<Option> All => [_kinds, _epsilon, _steps, _stepSize, _seed];

    /// <summary>The attacks that were asked for.</summary>
    public IReadOnlyList<Attack> Of(ParseResult parsed) =>
    [
        .. parsed.GetValue(_kinds)!.Select(kind => kind == AttackKind.Fgsm
            ? new Attack(kind, parsed.GetValue(_epsilon))
            : new Attack(kind, parsed.GetValue(_epsilon), parsed.GetValue(_steps), parsed.GetValue(_stepSize), parsed.GetValue(_seed))),
    ];
}
