using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;
using FeedbackKernels.Rules;
using FeedbackKernels.Tests.Cli;
using FeedbackKernels.Tests.Models;
using FeedbackKernels.Training;

namespace FeedbackKernels.Tests.Rules;

/// <summary>Symmetric alignment. Its settings are also tested by <see cref="RuleCatalogTests"/>, its backward pass by
/// <see cref="ShamTests"/>.</summary>
public sealed class SymmetricAlignmentTests : IDisposable
{
    private const int Images = 4;

    private readonly CpuBackend _backend = new(2);

    public void Dispose() => _backend.Dispose();

    [Fact]
    public void B_follows_its_gradient_by_SGD_with_momentum()
    {
        // a = 1/2 and b = 2: the gradient is B - 2 Wᵀ.
        using Model model = NewModel(new SymmetricAlignment(Alpha: 0.5f, Beta: 2));
        using var sgd = new Sgd(model, new TrainingOptions { Batch = Images, Momentum = 0.5f, Nesterov = false, WeightDecay = 0 });
        ConvLayer layer = Fed(model).First();
        Fill(layer.Weight, 3);
        Fill(layer.Feedback!.OwnWeights!, 2);
        // Gradient 2 - 6 = -4, velocity -4: B = 2 + 4 / 2.
        Update(sgd, model, 0, 0.5f);
        AssertAll(4, layer);
        // Gradient 4 - 6 = -2, velocity -4 / 2 - 2 = -4: B = 4 + 4 / 2.
        Update(sgd, model, 1, 0.5f);
        AssertAll(6, layer);
        // Gradient 6 - 6 = 0, velocity -4 / 2 = -2: B = 6 + 2 / 2.
        Update(sgd, model, 2, 0.5f);
        AssertAll(7, layer);
    }

    [Fact]
    public void B_follows_its_gradient_by_SGD_with_Nesterov_momentum()
    {
        using Model model = NewModel(new SymmetricAlignment(Alpha: 0.5f, Beta: 2));
        using var sgd = new Sgd(model, new TrainingOptions { Batch = Images, Momentum = 0.5f, Nesterov = true, WeightDecay = 0 });
        ConvLayer layer = Fed(model).First();
        Fill(layer.Weight, -1);
        Fill(layer.Feedback!.OwnWeights!, 4);
        // Gradient 4 + 2 = 6, velocity 6, move 6 + 6 / 2 = 9: B = 4 - 9 / 2.
        Update(sgd, model, 0, 0.5f);
        AssertAll(-0.5f, layer);
    }

    [Fact]
    public void Weight_decay_and_clipping_are_for_W_alone()
    {
        // W is 0, so that its decay leaves it there.
        using Model model = NewModel(new SymmetricAlignment(Alpha: 0.5f, Beta: 2));
        using var sgd = new Sgd(model, new TrainingOptions { Batch = Images, Momentum = 0, Nesterov = false, WeightDecay = 0.5f, ClipNorm = 0.125f });
        foreach (ConvLayer layer in model.Layers) Fill(layer.Weight, 0);
        foreach (ConvLayer layer in Fed(model)) Fill(layer.Feedback!.OwnWeights!, 4);
        Update(sgd, model, 0, 0.25f);
        // Gradient 4: B = 4 - 4 / 4.
        foreach (ConvLayer layer in Fed(model)) AssertAll(3, layer);
    }

    [Fact]
    public void Elements_of_W_reach_their_transposed_places()
    {
        // One step at a rate of 1 without momentum: B - (B - 2 Wᵀ) = 2 Wᵀ.
        using Model model = NewModel(new SymmetricAlignment(Alpha: 0.5f, Beta: 2));
        using var sgd = new Sgd(model, new TrainingOptions { Batch = Images, Momentum = 0, Nesterov = false, WeightDecay = 0 });
        foreach (ConvLayer layer in Fed(model))
        {
            _backend.Upload<float>([.. Enumerable.Range(0, (int)layer.Weight.Length).Select(i => (float)(i % 251 - 125))], layer.Weight.Value);
            Fill(layer.Feedback!.OwnWeights!, 8);
        }

        Update(sgd, model, 0, 1);
        foreach (ConvLayer layer in Fed(model)) Assert.Equal(Transposed(layer, 2), B(layer));
    }

    [Theory]
    [InlineData(1e-3f, 2e-3f)]
    [InlineData(0.25f, 0.125f)]
    public void B_converges_to_beta_over_two_alpha_times_W(float alpha, float beta)
    {
        using Model model = NewModel(new SymmetricAlignment(alpha, beta));
        using var sgd = new Sgd(model, new TrainingOptions { Batch = Images, Momentum = 0, Nesterov = false, WeightDecay = 0 });
        float[][] limits = [.. Fed(model).Select(layer => Transposed(layer, beta / (2 * alpha)))];
        double[] start = [.. Fed(model).Select((layer, i) => Distance(B(layer), limits[i]))];
        Assert.All(start, distance => Assert.True(distance > 0.1));
        // Each step leaves 1 - 2 a lr of the distance, here a half.
        for (int step = 0; step < 12; step++)
        {
            Update(sgd, model, step, 0.25f / alpha);
            double[] now = [.. Fed(model).Select((layer, i) => Distance(B(layer), limits[i]))];
            for (int i = 0; i < now.Length; i++) Assert.Equal(Math.Pow(0.5, step + 1), now[i] / start[i], 1e-5);
        }
    }

    [Fact]
    public void Training_aligns_B_with_W()
    {
        using Model model = NewModel(new SymmetricAlignment(Alpha: 0.1f, Beta: 0.2f));
        using var sgd = new Sgd(model, new TrainingOptions { Batch = Images });
        Assert.All(Fed(model), layer => Assert.InRange(Angle(layer), 60, 120));
        for (int step = 0; step < 100; step++)
        {
            TestNets.LoadBatch(model, Images, (uint)step);
            TestNets.Step(model, Images);
            sgd.Update(step, 0.02f);
        }

        Assert.All(Fed(model), layer => Assert.InRange(Angle(layer), 0, 10));
    }

    [Theory]
    [InlineData(0f, 2e-3f, "Alpha")]
    [InlineData(-1f, 2e-3f, "Alpha")]
    [InlineData(1e-3f, 0f, "Beta")]
    [InlineData(1e-3f, float.NaN, "Beta")]
    public void Constants_that_are_not_positive_are_refused(float alpha, float beta, string name) =>
        Assert.Throws<ArgumentOutOfRangeException>(name, () => NewModel(new SymmetricAlignment(alpha, beta)));

    private Model NewModel(FeedbackRule rule)
    {
        var model = new Model(_backend, TestNets.Residual(), RuleSet.Of(rule), Images, seed: 1);
        foreach (ConvLayer layer in model.Layers) layer.Feedback?.BeforeTraining(TestContext.Current.CancellationToken);
        return model;
    }

    /// <summary>One update with gradients of 0, in which only B moves.</summary>
    private void Update(Sgd sgd, Model model, int step, float rate)
    {
        float[][] before = [.. model.Layers.Select(layer => _backend.Download(layer.Weight.Value))];
        foreach (Parameter parameter in model.Parameters) _backend.Fill(parameter.Gradient, 0);
        sgd.Update(step, rate);
        Assert.Equal(before, model.Layers.Select(layer => _backend.Download(layer.Weight.Value)));
    }

    private void Fill(Parameter parameter, float value)
    {
        _backend.Fill(parameter.Value, value);
        parameter.RefreshCopy();
    }

    private void AssertAll(float expected, ConvLayer layer)
    {
        float[] b = B(layer);
        Assert.NotEmpty(b);
        Assert.All(b, value => Assert.Equal(expected, value));
    }

    private float[] B(ConvLayer layer) => _backend.Download(layer.Feedback!.OwnWeights!.Value);

    private double Angle(ConvLayer layer) => _backend.Align(layer.Shape(), layer.Weight.Value, layer.Feedback!.OwnWeights!.Value).AngleDegrees;

    /// <summary>W times a factor in the layout of B.</summary>
    private float[] Transposed(ConvLayer layer, float factor)
    {
        ConvShape s = layer.Shape();
        float[] w = _backend.Download(layer.Weight.Value), b = new float[w.Length];
        for (int i = 0; i < w.Length; i++)
        {
            int k = i % s.K, c = i / s.K % s.C, tap = i / (s.K * s.C);
            b[(tap * s.K + k) * s.C + c] = factor * w[i];
        }

        return b;
    }

    private static double Distance(float[] one, float[] other) => Math.Sqrt(one.Zip(other, (a, b) => Math.Pow((double)a - b, 2)).Sum());

    private static IEnumerable<ConvLayer> Fed(Model model) => model.Layers.Where(layer => layer.Feedback is not null);

    /// <summary>The options of the rule on the command line.</summary>
    private sealed class Options : IRuleOptionCases
    {
        public RuleEntry Rule => SymmetricAlignment.Entry;

        public IEnumerable<OptionCase> Cases =>
        [
            new("--sa-alpha 0.25", OptionCase.OtherModel, "rule.alpha", "0.25"), new("--sa-beta 0.25", OptionCase.OtherModel, "rule.beta", "0.25"),
            new("--feedback-init xavier", OptionCase.OtherModel, "rule.init", "xavier"), new("--feedback-scale 0.75", OptionCase.OtherModel, "rule.scale", "0.75"),
        ];
    }
}
