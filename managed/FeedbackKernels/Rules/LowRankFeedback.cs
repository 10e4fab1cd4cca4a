using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Settings;

namespace FeedbackKernels.Rules;

/// <summary>
/// Feedback alignment (Lillicrap et al. 2016) through a bottleneck: B = Q P with fixed random P and Q. The error of K channels is first
/// projected to few channels by P (a 1x1 convolution), then sent to the input by Q (a feedback convolution of so many channels).
/// </summary>
/// <remarks>
/// Over all taps together B has at most the given rank. The feedback of a layer costs
/// rank * (K + R*S*C) products for each pixel instead of K * R*S*C. The elements of QP have the variance that those of a full B have.
/// </remarks>
/// <param name="Rank">Channels between P and Q. A layer with fewer output channels uses as many as it has.</param>
/// <param name="Init">Distribution that gives the elements of B their variance; null for that of the layer's W. P and Q are normal.</param>
/// <param name="Scale">Factor on B.</param>
public sealed record LowRankFeedback(int Rank = 16, WeightInit? Init = null, float Scale = 1) : FeedbackRule(RuleName)
{
    /// <summary>Name on the command line, in config.json and in reports.</summary>
    public const string RuleName = "low-rank-feedback";

    /// <summary>The rule in the catalogue.</summary>
    public static RuleEntry Entry { get; } = new RuleEntry<LowRankFeedback>(RuleName, "lrf", "low-rank feedback", () => new())
        .Setting(
            nameof(Rank),
            new NumberOption<int>("--feedback-rank", new Bounds(1, 65_536), "rank of B. A layer with fewer output channels has a B of full rank."),
            rule => rule.Rank, (rule, value) => rule with { Rank = value })
        .Setting(nameof(Init), RuleOption.FeedbackInit, rule => rule.Init, (rule, value) => rule with { Init = value })
        .Setting(nameof(Scale), RuleOption.FeedbackScale, rule => rule.Scale, (rule, value) => rule with { Scale = value });

    /// <inheritdoc/>
    public override Feedback? Attach(ConvLayer layer, in LayerPlace place) => place.IsFirst ? null : new Factored(layer, this, place.Seed);

    private sealed class Factored : Feedback
    {
        private readonly LowRankFeedback _rule;
        private readonly ulong _seed;
        private readonly int _rank;

        // P, [K][rank], and Q, [R][S][rank][C].
        private readonly Parameter _down, _up;

        public Factored(ConvLayer layer, LowRankFeedback rule, ulong seed) : base(layer)
        {
            ConvShape shape = layer.Shape();
            (_rule, _seed, _rank) = (rule, seed, Math.Min(rule.Rank, shape.K));
            _down = new Parameter(layer.Backend, $"{layer.Name}.feedback_down", [shape.K, _rank], decays: false, multiplies: true);
            _up = new Parameter(layer.Backend, $"{layer.Name}.feedback_up", [shape.R, shape.S, _rank, shape.C], decays: false, multiplies: true);
        }

        public override string RuleName => LowRankFeedback.RuleName;

        public override IReadOnlyList<Parameter> Parameters => [_down, _up];

        public override (BufferView Weights, FeedbackLayout Layout) Weights =>
            throw new NotSupportedException($"{RuleName} keeps the feedback weights of {Layer.Name} in two factors");

        public override IReadOnlyList<MapShape> ScratchMaps => [new(Layer.Shape().P, Layer.Shape().Q, _rank)];

        public override void Initialise()
        {
            // A sum of so many products has the variance of Q's elements.
            Fill(_down, 1 / MathF.Sqrt(_rank), part: 0);
            Fill(_up, _rule.Scale * (_rule.Init ?? Layer.Init).StandardDeviation(Layer.Shape()), part: 1);
        }

        public override void SendError(int images, BufferView error, BufferView inputError, bool accumulate)
        {
            ConvShape s = Layer.Shape(images);
            var down = new ConvShape(images, s.P, s.Q, s.K, _rank, 1, 1, 1, 0);
            var up = new ConvShape(images, s.H, s.W, s.C, _rank, s.R, s.S, s.Stride, s.Padding);
            Layer.Backend.ConvForward(down, error, _down.Operand, Scratch[0]);
            Layer.Backend.ConvFeedback(up, Scratch[0], _up.Operand, FeedbackLayout.Feedback, inputError, accumulate);
        }

        public override WeightAlignment? Align()
        {
            ConvShape s = Layer.Shape();
            long tap = (long)s.K * s.C;
            using DeviceBuffer product = Layer.Backend.Allocate(s.WeightLength, $"{Layer.Name} product of the feedback factors");
            for (int i = 0; i < s.R * s.S; i++)
            {
                Layer.Backend.ConvForward(
                    ConvShape.Linear(s.K, _rank, s.C), _down.Operand, _up.Operand.Slice((long)i * _rank * s.C, (long)_rank * s.C, _up.Name),
                    product.Slice(i * tap, tap, "tap"));
            }

            return Layer.Backend.Align(s, Layer.Weight.Value, product);
        }

        private void Fill(Parameter factor, float deviation, uint part)
        {
            Layer.Backend.FillGaussian(factor.Value, new RandomKey(_seed, RandomPurpose.FeedbackWeights, Layer.Index, part), deviation);
            factor.RefreshCopy();
        }
    }
}
