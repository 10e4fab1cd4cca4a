using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;
using FeedbackKernels.Rules;
using FeedbackKernels.Tests.Cli;
using FeedbackKernels.Tests.Conformance;
using FeedbackKernels.Tests.Models;
using FeedbackKernels.Training;

namespace FeedbackKernels.Tests.Rules;

/// <summary>Feedback through two thin factors.</summary>
public sealed class LowRankFeedbackTests : IDisposable
{
    private const int Images = 4;

    private readonly CpuBackend _backend = new(2);

    public void Dispose() => _backend.Dispose();

    public static TheoryData<string, string> Sham()
    {
        var data = new TheoryData<string, string>();
        foreach (string net in (string[])["residual", "residual-relu-bn", "plain"])
        {
            data.Add(net, "reference");
            foreach (string candidate in Candidates.WithTruncation()) data.Add(net, candidate);
        }

        return data;
    }

    [Theory, MemberData(nameof(Sham))]
    public void With_the_identity_and_W_transposed_as_factors_the_backward_pass_is_that_of_backprop(string net, string backendName)
    {
        using Backend backend = backendName == "reference" ? new ReferenceBackend() : Candidates.Create(backendName, exact: false);
        using var expected = new Model(backend, TestNets.ByName(net), RuleSet.Of(new Backprop()), Images, seed: 7);
        using var actual = new Model(backend, TestNets.ByName(net), RuleSet.Of(new LowRankFeedback(Rank: 1000)), Images, seed: 7);
        foreach (ConvLayer layer in Fed(actual))
        {
            Parameter down = layer.Feedback!.Parameters[0], up = layer.Feedback.Parameters[1];
            int k = layer.Shape().K;
            Assert.Equal([k, k], down.Sizes);
            backend.Upload<float>([.. Enumerable.Range(0, k * k).Select(i => i % (k + 1) == 0 ? 1f : 0)], down.Value);
            down.RefreshCopy();
            backend.TransposedCombine(layer.Shape(), 1, layer.Weight.Value, 0, default, up.Value, up.Copy);
            Assert.Equal(0, layer.Feedback.Align()!.Value.AngleDegrees, backend.ActivationType == ElementType.Float32 ? 0.01 : 0.3);
        }

        foreach (Model model in (Model[])[expected, actual])
        {
            TestNets.LoadBatch(model, Images);
            TestNets.Step(model, Images);
        }

        Assert.Equal(TestNets.Gradients(expected), TestNets.Gradients(actual));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    [InlineData(16)]
    public void The_error_is_that_of_the_product_of_both_factors(int rank)
    {
        // Integers, so that every sum is exact.
        using Model model = NewModel(new LowRankFeedback(rank)), full = NewModel(new FeedbackAlignment());
        foreach ((ConvLayer layer, ConvLayer other) in Fed(model).Zip(Fed(full)))
        {
            ConvShape s = layer.Shape();
            int r = Math.Min(rank, s.K);
            Parameter down = layer.Feedback!.Parameters[0], up = layer.Feedback.Parameters[1];
            Assert.Equal([s.K, r], down.Sizes);
            Assert.Equal([s.R, s.S, r, s.C], up.Sizes);
            float[] p = Integers(down.Length, 3), q = Integers(up.Length, 5), b = new float[s.WeightLength];
            _backend.Upload<float>(p, down.Value);
            _backend.Upload<float>(q, up.Value);
            for (int i = 0; i < b.Length; i++)
            {
                int c = i % s.C, k = i / s.C % s.K, tap = i / (s.C * s.K);
                for (int m = 0; m < r; m++) b[i] += p[k * r + m] * q[(tap * r + m) * s.C + c];
            }

            _backend.Upload<float>(b, other.Feedback!.OwnWeights!.Value);
            WeightAlignment expected = _backend.Align(s, layer.Weight.Value, other.Feedback.OwnWeights.Value), found = layer.Feedback.Align()!.Value;
            Assert.Equal(expected.AngleDegrees, found.AngleDegrees, 1e-3);
            Assert.Equal(expected.NormRatio, found.NormRatio, 1e-4 * expected.NormRatio);
            float[] error = Integers(3 * s.OutputLength, 7);
            Assert.Equal(Sent(other, error, accumulate: false), Sent(layer, error, accumulate: false));
            Assert.Equal(Sent(other, error, accumulate: true), Sent(layer, error, accumulate: true));
        }
    }

    [Fact]
    public void Factors_never_move_and_their_product_has_the_variance_of_a_full_B()
    {
        using Model model = new(_backend, ModelCatalog.Create("resnet8", new MapShape(32, 32, 3), 10), RuleSet.Of(new LowRankFeedback(8, WeightInit.Xavier, 2)), Images, seed: 1);
        using var sgd = new Sgd(model, new TrainingOptions { Batch = Images });
        float[][] before = Factors();
        foreach (ConvLayer layer in Fed(model).Where(l => l.Shape().WeightLength > 2000))
        {
            double ratio = layer.Feedback!.Align()!.Value.NormRatio * Norm(_backend.Download(layer.Weight.Value)) / Math.Sqrt(layer.Weight.Length);
            Assert.Equal(1, ratio / (2 * WeightInit.Xavier.StandardDeviation(layer.Shape())), 0.35);
        }

        var pixels = new float[Images * 3072];
        new RandomKey(1, RandomPurpose.User).FillGaussian(pixels, 1);
        model.Load(pixels, [0, 1, 2, 3]);
        TestNets.Step(model, Images);
        sgd.Update(0, 0.1f);
        Assert.Equal(before, Factors());

        float[][] Factors() => [.. model.Layers.SelectMany(l => l.Feedback?.Parameters ?? []).Select(p => _backend.Download(p.Value))];
    }

    private Model NewModel(FeedbackRule rule) => new(_backend, TestNets.Residual(), RuleSet.Of(rule), Images, seed: 1);

    private float[] Sent(ConvLayer layer, float[] error, bool accumulate)
    {
        ConvShape s = layer.Shape(3);
        using DeviceBuffer dy = _backend.Allocate(s.OutputLength, "dy"), dx = _backend.Allocate(s.InputLength, "dx");
        _backend.Upload<float>(error, dy);
        _backend.Fill(dx, 5);
        layer.Feedback!.SendError(3, dy, dx, accumulate);
        return _backend.Download(dx);
    }

    private static float[] Integers(long length, int period) => [.. Enumerable.Range(0, (int)length).Select(i => (float)((i * 7 + i / 11) % period - period / 2))];

    private static double Norm(float[] values) => Math.Sqrt(values.Sum(v => (double)v * v));

    private static IEnumerable<ConvLayer> Fed(Model model) => model.Layers.Where(layer => layer.Feedback is not null);

    private sealed class Options : IRuleOptionCases
    {
        public RuleEntry Rule => LowRankFeedback.Entry;

        public IEnumerable<OptionCase> Cases =>
        [
            new("--feedback-rank 3", OptionCase.OtherModel, "rule.rank", "3"), new("--feedback-init xavier", OptionCase.OtherModel, "rule.init", "xavier"),
            new("--feedback-scale 0.75", OptionCase.OtherModel, "rule.scale", "0.75"),
        ];
    }
}
