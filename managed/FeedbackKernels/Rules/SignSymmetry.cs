using FeedbackKernels.Interop;
using FeedbackKernels.Layers;

namespace FeedbackKernels.Rules;

/// <summary>Absolute values of B.</summary>
public enum SignMagnitude
{
    /// <summary>The same for all weights of a layer: the standard deviation of its initial distribution (uSF of Liao, Leibo, Poggio 2016).</summary>
    Uniform,

    /// <summary>Absolute values of normal numbers, drawn again in each step (brSF of Liao, Leibo, Poggio 2016).</summary>
    BatchRandom,

    /// <summary>Absolute values of normal numbers, drawn once (frSF of Liao, Leibo, Poggio 2016).</summary>
    FixedRandom,
}

/// <summary>
/// Sign symmetry (Liao, Leibo, Poggio 2016; Xiao et al. 2019): after every update B takes the signs of Wᵀ, with absolute values
/// of its own. One bit per weight is transported.
/// </summary>
/// <param name="Magnitude">Absolute values of B.</param>
/// <param name="Init">Distribution whose standard deviation sets their size; null for that of the layer's W.</param>
/// <param name="Scale">Factor on them.</param>
public sealed record SignSymmetry(SignMagnitude Magnitude = SignMagnitude.Uniform, WeightInit? Init = null, float Scale = 1) : FeedbackRule(RuleName)
{
    /// <summary>Name on the command line, in config.json and in reports.</summary>
    public const string RuleName = "sign-symmetry";

    /// <summary>The rule in the catalogue.</summary>
    public static RuleEntry Entry { get; } = new RuleEntry<SignSymmetry>(RuleName, "ss", "sign symmetry", () => new())
        .Setting(
            nameof(Magnitude), new ChoiceOption<SignMagnitude>("--sign-magnitude", "absolute values of B."),
            rule => rule.Magnitude, (rule, value) => rule with { Magnitude = value })
        .Setting(nameof(Init), RuleOption.FeedbackInit, rule => rule.Init, (rule, value) => rule with { Init = value })
        .Setting(nameof(Scale), RuleOption.FeedbackScale, rule => rule.Scale, (rule, value) => rule with { Scale = value });

    /// <inheritdoc/>
    public override Feedback? Attach(ConvLayer layer, in LayerPlace place) => place.IsFirst ? null : new Signs(layer, this, place.Seed);

    private sealed class Signs(ConvLayer layer, SignSymmetry rule, ulong seed) : Feedback(layer)
    {
        private readonly DeviceBuffer? _magnitudes = rule.Magnitude == SignMagnitude.Uniform
            ? null
            : layer.Backend.Allocate(layer.Weight.Length, $"{layer.Name} magnitudes");

        private readonly float _standardDeviation = rule.Scale * (rule.Init ?? layer.Init).StandardDeviation(layer.Shape());

        public override string RuleName => SignSymmetry.RuleName;

        public override Parameter OwnWeights { get; } = NewFeedbackWeights(layer);

        public override (BufferView Weights, FeedbackLayout Layout) Weights => (OwnWeights.Operand, FeedbackLayout.Feedback);

        public override void Initialise()
        {
            if (_magnitudes is not null) DrawMagnitudes(0);
            ReadSigns();
        }

        public override void BeforeTraining(CancellationToken cancel = default) => ReadSigns();

        public override void AfterUpdate(WeightUpdate update, int step)
        {
            if (rule.Magnitude == SignMagnitude.BatchRandom) DrawMagnitudes(step + 1);
            ReadSigns();
        }

        protected override void Dispose(bool disposing)
        {
            _magnitudes?.Dispose();
            base.Dispose(disposing);
        }

        private void ReadSigns() => Layer.Backend.SignTransposed(
            Layer.Shape(), Layer.Weight.Value, _magnitudes, _magnitudes is null ? _standardDeviation : 1, OwnWeights.Value, OwnWeights.Copy);

        private void DrawMagnitudes(int step) => Layer.Backend.FillGaussian(
            _magnitudes, new RandomKey(seed, RandomPurpose.SignMagnitudes, Layer.Index, (uint)step), _standardDeviation);
    }
}
