using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Settings;

namespace FeedbackKernels.Rules;

/// <summary>
/// Activation alignment (Kunin et al. 2020, "Two routes to scalable credit assignment without weight symmetry"): the optimiser moves B
/// along the gradient of <c>a |xB|² - b &lt;xB, xW&gt;</c>, where x is the layer's real input, xW its response, and xB the convolution
/// with Bᵀ in place of W. For a = b / 2 that is least squares of xB against xW.
/// </summary>
/// <remarks>
/// The primitives are "sparse" and "amp" of the authors' code (github.com/neuroailab/Neural-Alignment, Alignments/primitives.py), the
/// default constants the published ones. There the squares are summed over the pixels of the output; here the default is their mean, so
/// that the same constants serve layers of any size. xB and xW are linear: their weighted difference is one convolution with
/// <c>2 a Bᵀ - b W</c>. B follows W fast along directions of large activity, and slowly where the activity is small.
/// </remarks>
/// <param name="Alpha">a: weight of |xB|².</param>
/// <param name="Beta">b: weight of the agreement of xB and xW.</param>
/// <param name="SumsPixels">Whether the terms are summed over the pixels of the output, as published, instead of averaged.</param>
/// <param name="Init">Distribution of the initial B; null for that of the layer's W.</param>
/// <param name="Scale">Factor on the initial B.</param>
public sealed record ActivationAlignment(
    float Alpha = 1e-3f, float Beta = 2e-3f, bool SumsPixels = false, WeightInit? Init = null, float Scale = 1) : FeedbackRule(RuleName)
{
    /// <summary>Name on the command line, in config.json and in reports.</summary>
    public const string RuleName = "activation-alignment";

    /// <summary>The rule in the catalogue.</summary>
    public static RuleEntry Entry { get; } = new RuleEntry<ActivationAlignment>(RuleName, "aa", "activation alignment", () => new())
        .Setting(
            nameof(Alpha),
            new NumberOption<float>("--aa-alpha", Bounds.Positive, "weight of the squared response of the layer's input to B, which keeps B small."),
            rule => rule.Alpha, (rule, value) => rule with { Alpha = value })
        .Setting(
            nameof(Beta),
            new NumberOption<float>(
                "--aa-beta", Bounds.Positive, "weight of the agreement of the responses to B and to W. B converges to beta / (2 alpha) times W transposed."),
            rule => rule.Beta, (rule, value) => rule with { Beta = value })
        .Setting(nameof(SumsPixels), RuleOption.PixelSum, rule => rule.SumsPixels, (rule, value) => rule with { SumsPixels = value })
        .Setting(nameof(Init), RuleOption.FeedbackInit, rule => rule.Init, (rule, value) => rule with { Init = value })
        .Setting(nameof(Scale), RuleOption.FeedbackScale, rule => rule.Scale, (rule, value) => rule with { Scale = value });

    /// <inheritdoc/>
    public override bool OptimiserMovesFeedback => true;

    /// <inheritdoc/>
    public override Feedback? Attach(ConvLayer layer, in LayerPlace place) => place.IsFirst ? null : new Regression(layer, this, place.Seed);

    private sealed class Regression(ConvLayer layer, ActivationAlignment rule, ulong seed) : Feedback(layer)
    {
        // W's layout: first the weights of the weighted difference of both responses, then its correlation with the input.
        private readonly Parameter _difference = new(
            layer.Backend, $"{layer.Name} difference of responses", [.. layer.Weight.Sizes], decays: false, multiplies: true);

        public override string RuleName => ActivationAlignment.RuleName;

        public override Parameter OwnWeights { get; } = NewFeedbackWeights(layer);

        public override (BufferView Weights, FeedbackLayout Layout) Weights => (OwnWeights.Operand, FeedbackLayout.Feedback);

        public override FeedbackUpdate Update => FeedbackUpdate.ByGradient;

        public override bool LearnsFromActivity => true;

        public override IReadOnlyList<MapShape> ScratchMaps => [new(Layer.Shape().P, Layer.Shape().Q, Layer.Shape().K)];

        public override void Initialise() => Draw(OwnWeights, Layer, seed, rule.Init, rule.Scale);

        public override void LearnFromActivity(in LayerActivity activity)
        {
            Backend backend = Layer.Backend;
            ConvShape shape = Layer.Shape(activity.Images);
            backend.TransposedCombine(
                shape.Transpose(), 2 * rule.Alpha, OwnWeights.Value, -rule.Beta, Layer.Weight.Value, _difference.Value, _difference.Copy);
            backend.ConvForward(shape, activity.Input, _difference.Operand, Scratch[0]);
            backend.ConvWeightGradient(shape, activity.Input, Scratch[0], _difference.Value);
            backend.TransposedCombine(shape, ShareOfSample(shape, rule.SumsPixels), _difference.Value, 0, default, OwnWeights.Gradient);
        }

        protected override void Dispose(bool disposing)
        {
            _difference.Dispose();
            base.Dispose(disposing);
        }
    }
}
