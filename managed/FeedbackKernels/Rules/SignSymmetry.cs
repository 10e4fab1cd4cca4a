using FeedbackKernels.Interop;
using FeedbackKernels.Layers;

namespace FeedbackKernels.Rules;

/// <summary>The magnitudes that go with the signs of W.</summary>
public enum SignMagnitude
{
    /// <summary>One for the layer: the standard deviation of its initial distribution.</summary>
    Uniform,

    /// <summary>Absolute values of normal numbers, drawn anew each step.</summary>
    BatchRandom,

    /// <summary>Absolute values of normal numbers, drawn once.</summary>
    FixedRandom,
}

/// <summary>
/// Sign symmetry (Liao, Leibo, Poggio 2016; Xiao et al. 2019): B has the signs of Wᵀ after every update, and magnitudes of
/// its own. It transports one bit a weight.
/// </summary>
/// <param name="Magnitude">Where the magnitudes come from.</param>
/// <param name="Init">Distribution that sets their size; null for that of the layer's W.</param>
/// <param name="Scale">Factor on them.</param>
public sealed record SignSymmetry(SignMagnitude Magnitude = SignMagnitude.Uniform, WeightInit? Init = null, float Scale = 1) : FeedbackRule(RuleName)
{
    /// <summary>Name on the command line.</summary>
    public const string RuleName = "sign-symmetry";

    /// <inheritdoc/>
    public override void Validate()
    {
        RequireDefined(Magnitude, nameof(Magnitude));
        if (Init is { } init) RequireDefined(init, nameof(Init));
        RequirePositive(Scale, nameof(Scale));
    }

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
