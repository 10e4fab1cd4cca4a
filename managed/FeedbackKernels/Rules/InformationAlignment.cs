using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Settings;

namespace FeedbackKernels.Rules;

/// <summary>
/// Information alignment (Kunin et al. 2020, "Two routes to scalable credit assignment without weight symmetry"): the optimiser moves B
/// along the gradient of <c>a (-&lt;xB, y&gt;) + b |yB|² + c |B|²</c>, where x is the layer's real input, y = xW its response, and yB what
/// B makes of the response at the input. For a = 2 b that is least squares of yB against x, with a ridge: B learns to
/// reconstruct the input, by activity that either end of the connection has.
/// </summary>
/// <remarks>
/// The primitives are "amp", "null" and "decay" of the authors' code (github.com/neuroailab/Neural-Alignment,
/// Alignments/primitives.py), the default constants the published ones. There the first two are summed over pixels; here the default
/// divides both by the number of pixels of the output, so that their proportion to each other stays, and the same constants serve layers
/// of any size. For a W that does not move, the limit is the pseudo-inverse of W with a ridge, not Wᵀ: B stays at an angle to W.
/// </remarks>
/// <param name="Alpha">a: weight of "amp", the agreement of B's response to the input with the layer's own.</param>
/// <param name="Beta">b: weight of "null", the squared reconstruction.</param>
/// <param name="Gamma">c: decay of B.</param>
/// <param name="SumsPixels">Whether the first two terms are summed over pixels, as published, instead of averaged.</param>
/// <param name="Init">Distribution of the initial B; null for that of the layer's W.</param>
/// <param name="Scale">Factor on the initial B.</param>
public sealed record InformationAlignment(
    float Alpha = 2e-3f, float Beta = 1e-3f, float Gamma = 1e-3f, bool SumsPixels = false, WeightInit? Init = null, float Scale = 1)
    : FeedbackRule(RuleName)
{
    /// <summary>Name on the command line, in config.json and in reports.</summary>
    public const string RuleName = "information-alignment";

    /// <summary>The rule in the catalogue.</summary>
    public static RuleEntry Entry { get; } = new RuleEntry<InformationAlignment>(RuleName, "ia", "information alignment", () => new())
        .Setting(
            nameof(Alpha),
            new NumberOption<float>("--ia-alpha", Bounds.Positive, "weight of the agreement of the layer's response with that of its input to B."),
            rule => rule.Alpha, (rule, value) => rule with { Alpha = value })
        .Setting(
            nameof(Beta),
            new NumberOption<float>("--ia-beta", Bounds.Positive, "weight of the squared reconstruction of the layer's input by B, which keeps the learning stable."),
            rule => rule.Beta, (rule, value) => rule with { Beta = value })
        .Setting(
            nameof(Gamma), new NumberOption<float>("--ia-gamma", Bounds.AtLeast(0), "decay of B."),
            rule => rule.Gamma, (rule, value) => rule with { Gamma = value })
        .Setting(nameof(SumsPixels), RuleOption.PixelSum, rule => rule.SumsPixels, (rule, value) => rule with { SumsPixels = value })
        .Setting(nameof(Init), RuleOption.FeedbackInit, rule => rule.Init, (rule, value) => rule with { Init = value })
        .Setting(nameof(Scale), RuleOption.FeedbackScale, rule => rule.Scale, (rule, value) => rule with { Scale = value });

    /// <inheritdoc/>
    public override bool OptimiserMovesFeedback => true;

    /// <inheritdoc/>
    public override Feedback? Attach(ConvLayer layer, in LayerPlace place) => place.IsFirst ? null : new Reconstruction(layer, this, place.Seed);

    private sealed class Reconstruction : Feedback
    {
        private readonly InformationAlignment _rule;
        private readonly ulong _seed;

        // -a / (2 b).
        private readonly MapFactor _balance;

        // W's layout.
        private readonly DeviceBuffer _correlation;

        public Reconstruction(ConvLayer layer, InformationAlignment rule, ulong seed) : base(layer)
        {
            (_rule, _seed) = (rule, seed);
            _balance = new MapFactor(layer.Backend, layer.Shape().C, -rule.Alpha / (2 * rule.Beta), $"the input of {layer.Name}");
            _correlation = layer.Backend.Allocate(layer.Weight.Length, $"{layer.Name} correlation of reconstruction and response");
            OwnWeights = NewFeedbackWeights(layer);
        }

        public override string RuleName => InformationAlignment.RuleName;

        public override Parameter OwnWeights { get; }

        public override (BufferView Weights, FeedbackLayout Layout) Weights => (OwnWeights.Operand, FeedbackLayout.Feedback);

        public override FeedbackUpdate Update => FeedbackUpdate.ByGradient;

        public override bool LearnsFromActivity => true;

        public override IReadOnlyList<MapShape> ScratchMaps
        {
            get
            {
                ConvShape shape = Layer.Shape();
                return [new(shape.H, shape.W, shape.C), new(shape.P, shape.Q, shape.K)];
            }
        }

        public override void Initialise() => Draw(OwnWeights, Layer, _seed, _rule.Init, _rule.Scale);

        public override void LearnFromActivity(in LayerActivity activity)
        {
            Backend backend = Layer.Backend;
            ConvShape shape = Layer.Shape(activity.Images);
            BufferView response = ResponseOf(shape, activity), mismatch = Scratch[0];
            // yB - a / (2 b) x, whose correlation with y is the gradient of both terms over 2 b.
            _balance.Apply(shape.InputLength, activity.Input, mismatch);
            backend.ConvFeedback(shape, response, OwnWeights.Operand, FeedbackLayout.Feedback, mismatch, accumulate: true);
            backend.ConvWeightGradient(shape, mismatch, response, _correlation);
            backend.TransposedCombine(
                shape, 2 * _rule.Beta * ShareOfSample(shape, _rule.SumsPixels), _correlation, 2 * _rule.Gamma, OwnWeights.Value, OwnWeights.Gradient);
        }

        protected override void Dispose(bool disposing)
        {
            _balance.Dispose();
            _correlation.Dispose();
            base.Dispose(disposing);
        }

        private BufferView ResponseOf(in ConvShape shape, in LayerActivity activity)
        {
            if (!activity.Response.IsAbsent) return activity.Response;
            Layer.Backend.ConvForward(shape, activity.Input, Layer.Weight.Operand, Scratch[1]);
            return Scratch[1];
        }
    }
}
