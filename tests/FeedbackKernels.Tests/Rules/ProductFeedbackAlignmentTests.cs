using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;
using FeedbackKernels.Rules;
using FeedbackKernels.Tests.Cli;
using FeedbackKernels.Tests.Models;
using FeedbackKernels.Training;

namespace FeedbackKernels.Tests.Rules;

/// <summary>The closed form of product feedback alignment against its two matrices.</summary>
public sealed class ProductFeedbackAlignmentTests : IDisposable
{
    private const int Images = 4;

    private readonly CpuBackend _backend = new(2);

    public void Dispose() => _backend.Dispose();

    [Theory]
    [InlineData(false, 0f, 2f)]
    [InlineData(true, 0f, 2f)]
    [InlineData(true, 0.5f, 2f)]
    [InlineData(false, 0.5f, 0.5f)]
    public void The_feedback_weights_are_the_product_of_B_and_an_R_that_is_trained_by_its_own_gradient(bool nesterov, float clip, float expansion)
    {
        const float rate = 0.25f, momentum = 0.5f, decay = 0.125f;
        using Model model = NewModel(new ProductFeedbackAlignment(expansion, decay));
        using var sgd = new Sgd(model, new TrainingOptions { Batch = Images, Momentum = momentum, Nesterov = nesterov, WeightDecay = 0.01f, ClipNorm = clip });
        TwoMatrices[] twins = [.. Fed(model).Select(layer => new TwoMatrices(_backend, layer, expansion))];
        foreach (TwoMatrices twin in twins) twin.RequireFeedback();
        Prepare(model);
        foreach (TwoMatrices twin in twins) twin.RequireFeedback();
        for (int step = 0; step < 5; step++)
        {
            TestNets.LoadBatch(model, Images, (uint)step);
            TestNets.Step(model, Images);
            double norm = Math.Sqrt(TestNets.Gradients(model).Sum(g => (double)g * g)), factor = clip > 0 && norm > clip ? clip / norm : 1;
            float[][] gradients = [.. twins.Select(twin => _backend.Download(twin.Layer.Weight.Gradient!))];
            sgd.Update(step, rate);
            foreach ((TwoMatrices twin, float[] gradient) in twins.Zip(gradients))
            {
                twin.Update(gradient, factor, rate, momentum, decay, nesterov);
                twin.RequireFeedback();
            }
        }
    }

    [Fact]
    public void The_angle_to_W_is_that_of_the_expansion_once_the_mismatch_has_decayed()
    {
        // A large decay: a few steps leave nothing of the initial mismatch, and W is a multiple of the gradient that it gets.
        using Model model = new(_backend, ModelCatalog.Create("resnet8", new MapShape(32, 32, 3), 10), RuleSet.Of(new ProductFeedbackAlignment(Expansion: 4, Decay: 0.5f)), Images, seed: 1);
        using var sgd = new Sgd(model, new TrainingOptions { Batch = Images, Momentum = 0, Nesterov = false });
        Prepare(model);
        Assert.All(Fed(model).Where(l => l.Weight.Length > 1000), layer => Assert.InRange(layer.Feedback!.Align()!.Value.AngleDegrees, 60, 120));
        for (int step = 0; step < 20; step++)
        {
            foreach (ConvLayer layer in model.Layers) _backend.FillGaussian(layer.Weight.Gradient!, new RandomKey(3, RandomPurpose.User, layer.Index), 1);
            sgd.Update(step, 1);
        }

        foreach (ConvLayer layer in Fed(model).Where(l => l.Shape().K >= 32))
        {
            int k = layer.Shape().K;
            double law = double.RadiansToDegrees(Math.Atan(Math.Sqrt((k + 1) / (4.0 * k))));
            Assert.Equal(law, layer.Feedback!.Align()!.Value.AngleDegrees, 3.0);
        }
    }

    private Model NewModel(FeedbackRule rule) => new(_backend, TestNets.Residual(), RuleSet.Of(rule), Images, seed: 1);

    private static void Prepare(Model model)
    {
        foreach (ConvLayer layer in model.Layers) layer.Feedback?.BeforeTraining(TestContext.Current.CancellationToken);
    }

    private static IEnumerable<ConvLayer> Fed(Model model) => model.Layers.Where(layer => layer.Feedback is not null);

    /// <summary>B and R as the paper has them, in double precision. B, [K][M], is drawn here as the rule says that it is.</summary>
    private sealed class TwoMatrices
    {
        private readonly Backend _backend;
        private readonly int _middle;
        private readonly double[] _b, _r, _velocity;

        public TwoMatrices(Backend backend, ConvLayer layer, float expansion)
        {
            (_backend, Layer) = (backend, layer);
            ConvShape s = layer.Shape();
            _middle = (int)Math.Round(expansion * (double)s.K);
            float[] b = new float[_middle * s.K], r = new float[s.FanIn * _middle];
            new RandomKey(1, RandomPurpose.FeedbackWeights, layer.Index).FillGaussian(b, 1 / MathF.Sqrt(_middle));
            new RandomKey(1, RandomPurpose.FeedbackWeights, layer.Index, 1).FillGaussian(r, layer.Init.StandardDeviation(s));
            (_b, _r, _velocity) = ([.. b], [.. r], new double[r.Length]);
        }

        public ConvLayer Layer { get; }

        /// <summary>grad R = x (Bᵀ dy)ᵀ: the convolution's gradient with Bᵀ dy in place of dy, and so Bᵀ times that of W.</summary>
        public void Update(float[] gradient, double clip, double rate, double momentum, double decay, bool nesterov)
        {
            int k = Layer.Shape().K;
            for (int row = 0; row < Layer.Shape().FanIn; row++)
            {
                for (int m = 0; m < _middle; m++)
                {
                    int at = row * _middle + m;
                    double sum = 0;
                    for (int i = 0; i < k; i++) sum += _b[m * k + i] * gradient[row * k + i];
                    double g = clip * sum + decay * _r[at];
                    _velocity[at] = momentum * _velocity[at] + g;
                    _r[at] -= rate * (nesterov ? g + momentum * _velocity[at] : _velocity[at]);
                }
            }
        }

        /// <summary>dx = Rᵀ (Bᵀ dy): the feedback weights of tap, k and c are the sum over m of B[k][m] R[tap, c][m].</summary>
        public void RequireFeedback()
        {
            ConvShape s = Layer.Shape();
            float[] found = _backend.Download(Layer.Feedback!.OwnWeights!.Value);
            var expected = new double[found.Length];
            for (int i = 0; i < found.Length; i++)
            {
                int c = i % s.C, k = i / s.C % s.K, tap = i / (s.C * s.K);
                for (int m = 0; m < _middle; m++) expected[i] += _b[m * s.K + k] * _r[(tap * s.C + c) * _middle + m];
            }

            double scale = expected.Max(Math.Abs);
            Assert.True(scale > 0.01);
            for (int i = 0; i < found.Length; i++) Assert.Equal(expected[i], found[i], 1e-4 * scale);
        }
    }

    private sealed class Options : IRuleOptionCases
    {
        public RuleEntry Rule => ProductFeedbackAlignment.Entry;

        public IEnumerable<OptionCase> Cases =>
        [
            new("--pfa-expansion 2", OptionCase.OtherModel, "rule.expansion", "2"), new("--pfa-decay 0.05", OptionCase.OtherModel, "rule.decay", "0.05"),
            new("--feedback-init xavier", OptionCase.OtherModel, "rule.init", "xavier"), new("--feedback-scale 0.75", OptionCase.OtherModel, "rule.scale", "0.75"),
        ];
    }
}
