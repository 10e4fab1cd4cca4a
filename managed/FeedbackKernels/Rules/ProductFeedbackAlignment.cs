using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Settings;
using FeedbackKernels.State;

namespace FeedbackKernels.Rules;

/// <summary>
/// Product feedback alignment (Ji-An and Benna 2024, "Deep learning without weight symmetry", arXiv 2405.20594): errors go back through two
/// matrices, a fixed random Bᵀ from the layer's output to M further neurons, then Rᵀ to its input. R gets the gradient that its own
/// neurons see, x (Bᵀ dy)ᵀ, and the decay of W. So BR approaches B Bᵀ W, which is close to W where M is large, although neither
/// matrix comes to resemble W.
/// </summary>
/// <remarks>
/// R's gradient is Bᵀ times that of W, for every step. With the same optimiser, R_t - Bᵀ W_t sees no gradient and decays like the
/// difference of Kolen-Pollack: R_t = Bᵀ W_t + r_t (R_0 - Bᵀ W_0) with one scalar r_t. The feedback weights are therefore
/// <c>B R_t = B Bᵀ W_t + r_t B (R_0 - Bᵀ W_0)</c>, which is computed here instead of a second set of weights, gradients and velocities: one
/// small matrix product after each update. The elements of B are normal with variance 1 / M: once r_t has decayed, the angle of BR to W is
/// tan² = (K + 1) / M.
/// </remarks>
/// <param name="Expansion">M / K.</param>
/// <param name="Decay">Weight decay of W and R; null for the run's own.</param>
/// <param name="Init">Distribution that gives the elements of the initial R their variance; null for that of the layer's W.</param>
/// <param name="Scale">Factor on the initial R.</param>
public sealed record ProductFeedbackAlignment(float Expansion = 8, float? Decay = null, WeightInit? Init = null, float Scale = 1)
    : FeedbackRule(RuleName)
{
    /// <summary>Name on the command line, in config.json and in reports.</summary>
    public const string RuleName = "product-feedback-alignment";

    /// <summary>The rule in the catalogue.</summary>
    public static RuleEntry Entry { get; } = new RuleEntry<ProductFeedbackAlignment>(RuleName, "pfa", "product feedback alignment", () => new())
        .Setting(
            nameof(Expansion),
            new NumberOption<float>(
                "--pfa-expansion", new Bounds(0.001, 64), "neurons between the two feedback matrices, for each output channel of the layer. More align better."),
            rule => rule.Expansion, (rule, value) => rule with { Expansion = value })
        .Setting(
            nameof(Decay),
            new OptionalNumberOption<float>(
                "--pfa-decay", Bounds.Share, "weight decay of W and of the learned feedback matrix. A larger one aligns them sooner.", whenOmitted: "--weight-decay"),
            rule => rule.Decay, (rule, value) => rule with { Decay = value })
        .Setting(nameof(Init), RuleOption.FeedbackInit, rule => rule.Init, (rule, value) => rule with { Init = value })
        .Setting(nameof(Scale), RuleOption.FeedbackScale, rule => rule.Scale, (rule, value) => rule with { Scale = value });

    /// <inheritdoc/>
    public override Feedback? Attach(ConvLayer layer, in LayerPlace place) => place.IsFirst ? null : new Product(layer, this, place.Seed);

    private sealed class Product : Feedback
    {
        private readonly ProductFeedbackAlignment _rule;
        private readonly ulong _seed;

        // B Bᵀ, [K][K].
        private readonly Parameter _square;

        // Of the feedback weights and B Bᵀ W.
        private readonly InitialMismatch _mismatch;

        // B Bᵀ W in W's layout.
        private readonly DeviceBuffer _product;

        public Product(ConvLayer layer, ProductFeedbackAlignment rule, ulong seed) : base(layer)
        {
            (_rule, _seed) = (rule, seed);
            int channels = layer.Shape().K;
            OwnWeights = NewFeedbackWeights(layer);
            _square = new Parameter(layer.Backend, $"{layer.Name}.feedback_square", [channels, channels], decays: false, multiplies: true);
            _mismatch = new InitialMismatch(layer, OwnWeights);
            _product = layer.Backend.Allocate(layer.Weight.Length, $"{layer.Name} product of B Bᵀ and W");
        }

        public override string RuleName => ProductFeedbackAlignment.RuleName;

        public override Parameter OwnWeights { get; }

        public override IReadOnlyList<Parameter> Parameters => [OwnWeights, _square];

        public override (BufferView Weights, FeedbackLayout Layout) Weights => (OwnWeights.Operand, FeedbackLayout.Feedback);

        public override bool SupposesEqualUpdates => true;

        public override UpdateTerms Adjust(UpdateTerms terms, int step) => terms with { WeightDecay = _rule.Decay ?? terms.WeightDecay };

        public override void Initialise()
        {
            Backend backend = Layer.Backend;
            ConvShape shape = Layer.Shape();
            int rows = shape.FanIn, middle = Math.Max(1, (int)Math.Round(_rule.Expansion * (double)shape.K));
            float deviation = _rule.Scale * (_rule.Init ?? Layer.Init).StandardDeviation(shape);
            using DeviceBuffer b = backend.Allocate((long)middle * shape.K, $"{Layer.Name} B transposed"), r = backend.Allocate((long)rows * middle, $"{Layer.Name} R");
            using DeviceBuffer turned = backend.Allocate(b.Length, $"{Layer.Name} B");
            backend.FillGaussian(b, new RandomKey(_seed, RandomPurpose.FeedbackWeights, Layer.Index), 1 / MathF.Sqrt(middle));
            backend.FillGaussian(r, new RandomKey(_seed, RandomPurpose.FeedbackWeights, Layer.Index, 1), deviation);
            backend.TransposedCombine(ConvShape.Linear(1, middle, shape.K), 1, b, 0, default, turned);
            Multiply(ConvShape.Linear(shape.K, middle, shape.K), turned, b, _square.Value);
            _square.RefreshCopy();
            Multiply(ConvShape.Linear(rows, middle, shape.K), r, b, _product);
            backend.TransposedCombine(shape, 1, _product, 0, default, OwnWeights.Value, OwnWeights.Copy);
        }

        public override void BeforeTraining(CancellationToken cancel = default)
        {
            MultiplyWeights();
            _mismatch.Start(_product);
        }

        public override void AfterUpdate(WeightUpdate update, int step)
        {
            MultiplyWeights();
            _mismatch.Follow(update, _product);
        }

        public override void Walk(IStateWalker walker)
        {
            base.Walk(walker);
            _mismatch.Walk(walker);
        }

        protected override void Dispose(bool disposing)
        {
            _mismatch.Dispose();
            _product.Dispose();
            base.Dispose(disposing);
        }

        // The taps and input channels of W are rows, which a linear layer with the weights B Bᵀ takes to B Bᵀ W.
        private void MultiplyWeights()
        {
            ConvShape shape = Layer.Shape();
            Layer.Backend.ConvForward(ConvShape.Linear(shape.FanIn, shape.K, shape.K), Layer.Weight.Operand, _square.Operand, _product);
        }

        private void Multiply(in ConvShape shape, DeviceBuffer rows, DeviceBuffer weights, DeviceBuffer result)
        {
            Backend backend = Layer.Backend;
            using DeviceBuffer? rounded = backend.ActivationType == ElementType.Float32 ? null : backend.Allocate(rows.Length, rows.Name, backend.ActivationType);
            if (rounded is not null) backend.Convert(rows.Length, rows, rounded);
            backend.ConvForward(shape, rounded ?? rows, weights, result);
        }
    }
}
