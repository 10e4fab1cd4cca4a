using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Settings;

namespace FeedbackKernels.Rules;

/// <summary>
/// Direct Kolen-Pollack (ICLR 2021 submission zgGmAx9ZcY; code at github.com/webstah/dkp-gist): direct feedback alignment whose B learns.
/// The weights that carry the gradient of the logits to the output of a unit get the correlation of that gradient with the unit's
/// output, dB = e aᵀ, and the decay of W.
/// </summary>
/// <remarks>
/// For the last hidden layer dB is the gradient of the classifier's W: their difference decays as under Kolen-Pollack. For the layers
/// below it is the update that a classifier on their output would get: on the mean of a map over its pixels, so that the size of maps does
/// not matter (the published sum makes B grow with the number of pixels, by thousands in the first layers). The authors gave B an
/// optimiser of its own (Adam with a decaying rate); here B follows the optimiser of W.
/// </remarks>
/// <param name="Target">What the weights connect the classes to. For channels, the unit's output is averaged over its pixels.</param>
/// <param name="Decay">Weight decay of W and B; null for the run's own.</param>
/// <param name="SumsPixels">Whether dB is summed over the pixels of the output, as published, instead of averaged.</param>
/// <param name="Scale">Factor on the initial weights, which are normal with variance 2 / (classes + elements or channels).</param>
public sealed record DirectKolenPollack(DirectTarget Target = DirectTarget.Elements, float? Decay = null, bool SumsPixels = false, float Scale = 1)
    : FeedbackRule(RuleName)
{
    /// <summary>Name on the command line, in config.json and in reports.</summary>
    public const string RuleName = "direct-kolen-pollack";

    /// <summary>The rule in the catalogue.</summary>
    public static RuleEntry Entry { get; } = new RuleEntry<DirectKolenPollack>(RuleName, "dkp", "direct Kolen-Pollack", () => new())
        .Setting(nameof(Target), RuleOption.DirectTarget, rule => rule.Target, (rule, value) => rule with { Target = value })
        .Setting(
            nameof(Decay),
            new OptionalNumberOption<float>("--dkp-decay", Bounds.Share, "weight decay of W and B.", whenOmitted: "--weight-decay"),
            rule => rule.Decay, (rule, value) => rule with { Decay = value })
        .Setting(nameof(SumsPixels), RuleOption.PixelSum, rule => rule.SumsPixels, (rule, value) => rule with { SumsPixels = value })
        .Setting(nameof(Scale), RuleOption.FeedbackScale, rule => rule.Scale, (rule, value) => rule with { Scale = value });

    /// <inheritdoc/>
    public override bool OptimiserMovesFeedback => true;

    /// <inheritdoc/>
    public override Feedback? Attach(ConvLayer layer, in LayerPlace place) =>
        place.IsOutput || place.IsShortcut ? new SendsNothing(layer, RuleName, this) : new Following(layer, this, place);

    private UpdateTerms WithDecay(UpdateTerms terms) => terms with { WeightDecay = Decay ?? terms.WeightDecay };

    // Of the classifier's W, the decay is that of the B which follows it.
    private sealed class SendsNothing(ConvLayer layer, string ruleName, DirectKolenPollack rule) : NoProjection(layer, ruleName)
    {
        public override UpdateTerms Adjust(UpdateTerms terms, int step) => rule.WithDecay(terms);
    }

    private sealed class Following : DirectProjection
    {
        private readonly DirectKolenPollack _rule;
        private readonly int _classes;

        // On the output error, and so on the gradient; null for 1.
        private readonly MapFactor? _factor;

        public Following(ConvLayer layer, DirectKolenPollack rule, in LayerPlace place)
            : base(layer, DirectKolenPollack.RuleName, rule.Target, rule.Scale, place)
        {
            (_rule, _classes) = (rule, place.Classes);
            float pixels = (float)layer.Shape().P * layer.Shape().Q;
            // Channels already have the mean over pixels.
            float factor = rule.SumsPixels == Spreads ? rule.SumsPixels ? pixels : 1 / pixels : 1;
            if (factor != 1) _factor = new MapFactor(layer.Backend, _classes, factor, $"the output error for {layer.Name}");
        }

        public override FeedbackUpdate Update => FeedbackUpdate.ByGradient;

        public override Parameter LearnedWeights => DirectWeights;

        public override bool LearnsFromActivity => true;

        public override bool IsClippedLikeWeights => true;

        public override IReadOnlyList<MapShape> ScratchMaps => [new(1, 1, _classes), new(1, 1, Spreads ? Layer.Shape().K : 1)];

        public override UpdateTerms Adjust(UpdateTerms terms, int step) => _rule.WithDecay(terms);

        public override UpdateTerms AdjustLearned(UpdateTerms terms, int step) => _rule.WithDecay(terms);

        public override void LearnFromActivity(in LayerActivity activity)
        {
            BufferView output = activity.Output, error = activity.OutputError;
            if (Spreads)
            {
                ConvShape map = Layer.Shape();
                Layer.Backend.AveragePoolForward(PoolShape.Global(activity.Images, map.P, map.Q, map.K), output, Scratch[1]);
                output = Scratch[1];
            }

            if (_factor is not null)
            {
                _factor.Apply((long)activity.Images * _classes, error, Scratch[0]);
                error = Scratch[0];
            }

            Layer.Backend.ConvWeightGradient(ConvShape.Linear(activity.Images, _classes, Reached), error, output, DirectWeights.Gradient);
        }

        protected override void Dispose(bool disposing)
        {
            _factor?.Dispose();
            base.Dispose(disposing);
        }
    }
}
