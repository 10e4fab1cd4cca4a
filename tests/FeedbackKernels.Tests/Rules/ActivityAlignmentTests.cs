using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;
using FeedbackKernels.Rules;
using FeedbackKernels.Tests.Cli;
using FeedbackKernels.Tests.Models;
using FeedbackKernels.Training;

namespace FeedbackKernels.Tests.Rules;

/// <summary>Activation and information alignment: the gradient of B is the derivative of the published losses, which are computed here by
/// plain loops over the primitives of the authors' code. The losses are quadratic in B, so that central differences are exact.</summary>
public sealed class ActivityAlignmentTests : IDisposable
{
    private const int Images = 3, Classes = 4;

    private readonly CpuBackend _backend = new(2);

    public void Dispose() => _backend.Dispose();

    public static TheoryData<string, bool, string> Cases()
    {
        var data = new TheoryData<string, bool, string>();
        foreach (string rule in (string[])["aa", "ia"])
        {
            foreach (bool sums in (bool[])[false, true])
            {
                foreach (string unit in (string[])["plain", "bn", "relu-bn", "sigmoid", "strided"]) data.Add(rule, sums, unit);
            }
        }

        return data;
    }

    [Theory, MemberData(nameof(Cases))]
    public void The_gradient_of_B_is_the_derivative_of_the_published_loss(string name, bool sums, string unit)
    {
        const float a = 0.5f, b = 0.75f, c = 0.25f;
        FeedbackRule rule = name == "aa" ? new ActivationAlignment(a, b, sums) : new InformationAlignment(a, b, c, sums);
        using Model model = NewModel(rule, unit);
        ConvLayer layer = model.Layers[1];
        float[] pixels = Load(model);
        TestNets.Step(model, Images);
        double[] w = [.. _backend.Download(layer.Weight.Value)], own = [.. _backend.Download(layer.Feedback!.OwnWeights!.Value)];
        float[] found = _backend.Download(layer.Feedback.OwnWeights.Gradient!);
        ConvShape shape = layer.Shape(Images);
        // conv1 is the identity.
        double pixelsOfOutput = sums ? 1 : shape.P * shape.Q;
        Func<double[], double> loss = name == "aa"
            ? values => (a * Sparse(shape, pixels, values) + b * Amp(shape, pixels, w, values)) / pixelsOfOutput
            : values => (a * Amp(shape, pixels, w, values) + b * Null(shape, pixels, w, values)) / pixelsOfOutput + c * values.Sum(v => v * v);
        double[] expected = Derivative(loss, own);
        double scale = expected.Max(Math.Abs);
        Assert.True(scale > 1e-3);
        for (int i = 0; i < expected.Length; i++) Assert.Equal(expected[i], found[i], 2e-5 * scale);
    }

    [Fact]
    public void Activation_alignment_in_numbers()
    {
        // A linear layer of 2 inputs and 1 output: x = (1, 2), W = (3, 1), B = (1, 1). xW = 5, xB = 3.
        // a = 1/2, b = 2: gradient = (2 a xB - b xW) x = (3 - 10) x = (-7, -14).
        Assert.Equal([-7f, -14f], GradientOf(new ActivationAlignment(0.5f, 2), [3, 1], [1, 1]));
    }

    [Fact]
    public void Information_alignment_in_numbers()
    {
        // The same layer: y = 5, yB = (5, 5). a = 2, b = 1/2, c = 1/4:
        // gradient = y (2 b yB - a x) + 2 c B = 5 ((5, 5) - (2, 4)) + (1/2, 1/2) = (15.5, 5.5).
        Assert.Equal([15.5f, 5.5f], GradientOf(new InformationAlignment(2, 0.5f, 0.25f), [3, 1], [1, 1]));
    }

    [Fact]
    public void B_that_equals_W_stays_under_activation_alignment()
    {
        // With powers of two the difference of the responses has no rounding.
        using Model model = new(_backend, TestNets.Residual(), RuleSet.Of(new ActivationAlignment(0.25f, 0.5f)), Images, seed: 1);
        foreach (ConvLayer layer in Fed(model))
            _backend.TransposedCombine(layer.Shape(), 1, layer.Weight.Value, 0, default, layer.Feedback!.OwnWeights!.Value);
        TestNets.LoadBatch(model, Images);
        TestNets.Step(model, Images);
        foreach (ConvLayer layer in Fed(model)) Assert.All(_backend.Download(layer.Feedback!.OwnWeights!.Gradient!), v => Assert.Equal(0, v));
        Assert.Contains(TestNets.Gradients(model), v => v != 0);
    }

    [Theory]
    [InlineData("aa", 35)]
    [InlineData("ia", 75)]
    public void Training_aligns_B_with_W(string name, double most)
    {
        FeedbackRule rule = name == "aa" ? new ActivationAlignment(0.05f, 0.1f) : new InformationAlignment(0.1f, 0.05f, 0.05f);
        using var model = new Model(_backend, TestNets.Residual(), RuleSet.Of(rule), 8, seed: 1);
        using var sgd = new Sgd(model, new TrainingOptions { Batch = 8 });
        Assert.All(Fed(model), layer => Assert.InRange(Angle(layer), 60, 120));
        for (int step = 0; step < 300; step++)
        {
            TestNets.LoadBatch(model, 8, (uint)step);
            TestNets.Step(model, 8);
            sgd.Update(step, 0.02f);
        }

        Assert.InRange(Fed(model).Average(Angle), 0, most);
    }

    [Theory]
    [InlineData("aa")]
    [InlineData("ia")]
    [InlineData("dkp")]
    public void A_step_in_parts_moves_B_as_the_whole_batch_does(string rule)
    {
        // No batch norm: the step is the same up to rounding.
        float[] whole = Train(1), parts = Train(2), none = Train(0);
        float scale = whole.Max(Math.Abs);
        Assert.All(whole.Zip(parts), pair => Assert.Equal(pair.First, pair.Second, 1e-4f * scale));
        Assert.Contains(whole.Zip(none), pair => Math.Abs(pair.First - pair.Second) > 1e-2f * scale);

        float[] Train(int accumulate)
        {
            int batch = 8 / Math.Max(1, accumulate);
            using var model = new Model(_backend, TestNets.Plain(), RuleSet.Of(RuleOf(rule)), batch, seed: 1);
            using var sgd = new Sgd(model, new TrainingOptions { Batch = 8 });
            using GradientSum? sum = accumulate > 1 ? new GradientSum(model, accumulate) : null;
            for (int step = 0; step < 3 && accumulate > 0; step++)
            {
                var pixels = new float[8 * TestNets.Images.Length];
                new RandomKey(5, RandomPurpose.User, (uint)step).FillGaussian(pixels, 1);
                for (int part = 0; part < accumulate; part++)
                {
                    model.Load(pixels.AsSpan(part * batch * TestNets.Images.Length, batch * TestNets.Images.Length), [.. Enumerable.Range(part * batch, batch).Select(i => i % TestNets.Classes)]);
                    TestNets.Step(model, batch);
                    sum?.AddPart();
                }

                sgd.Update(step, 0.5f);
            }

            return [.. model.Layers.SelectMany(l => l.Feedback?.Parameters ?? []).SelectMany(p => _backend.Download(p.Value))];
        }
    }

    [Theory]
    [InlineData("Alpha", 0f, 1f, 1f)]
    [InlineData("Beta", 1f, float.NaN, 1f)]
    [InlineData("Gamma", 1f, 1f, -1f)]
    public void Constants_out_of_range_are_refused(string name, float a, float b, float c)
    {
        Assert.Throws<ArgumentOutOfRangeException>(name, () => new InformationAlignment(a, b, c).Validate());
        if (name != "Gamma") Assert.Throws<ArgumentOutOfRangeException>(name, () => new ActivationAlignment(a, b).Validate());
    }

    private static FeedbackRule RuleOf(string name) => name switch
    {
        "aa" => new ActivationAlignment(0.05f, 0.1f),
        "ia" => new InformationAlignment(0.1f, 0.05f, 0.05f),
        _ => RuleCatalog.Find(name)!.Create(),
    };

    /// <summary>A 1x1 convolution that passes the pixels on, the convolution under test, a classifier.</summary>
    private Model NewModel(FeedbackRule rule, string unit)
    {
        ConvSpec under = unit switch
        {
            "plain" => new ConvSpec("conv2", 5, 3, 1, 1, null, Activation.None),
            "bn" => new ConvSpec("conv2", 5, 3, 1, 1, "bn2"),
            "relu-bn" => new ConvSpec("conv2", 5, 3, 1, 1, "bn2"),
            "sigmoid" => new ConvSpec("conv2", 5, 3, 1, 1, null, Activation.Sigmoid),
            _ => new ConvSpec("conv2", 5, 3, 2, 1, "bn2"),
        };
        var spec = new ModelSpec(
            "small", new MapShape(5, 4, 3), Classes, LossKind.SoftmaxCrossEntropy, unit == "relu-bn" ? NormOrder.ConvReluBn : NormOrder.ConvBnRelu,
            [new ConvSpec("conv1", 3, 1, 1, 0, null, Activation.None), under, new LinearSpec("fc", Classes, Activation.None, WeightInit.He)]);
        var model = new Model(_backend, spec, RuleSet.Of(rule), Images, seed: 2);
        _backend.Upload<float>([1, 0, 0, 0, 1, 0, 0, 0, 1], model.Layers[0].Weight.Value);
        // A bias is no part of the response.
        if (model.Layers[1].Bias is { } bias) _backend.Fill(bias.Value, 0.5f);
        return model;
    }

    private static float[] Load(Model model)
    {
        var pixels = new float[Images * model.Spec.Input.Length];
        new RandomKey(7, RandomPurpose.User).FillGaussian(pixels, 1);
        model.Load(pixels, [.. Enumerable.Range(0, Images).Select(i => i % Classes)]);
        return pixels;
    }

    private float[] GradientOf(FeedbackRule rule, float[] w, float[] b)
    {
        var spec = new ModelSpec(
            "numbers", new MapShape(1, 1, 2), 1, LossKind.SigmoidCrossEntropy, NormOrder.ConvBnRelu,
            [new LinearSpec("fc1", 2, Activation.None, WeightInit.He), new LinearSpec("fc2", 1, Activation.None, WeightInit.He)]);
        using var model = new Model(_backend, spec, RuleSet.Of(rule), 1, seed: 1);
        _backend.Upload<float>([1, 0, 0, 1], model.Layers[0].Weight.Value);
        _backend.Upload<float>(w, model.Layers[1].Weight.Value);
        _backend.Upload<float>(b, model.Layers[1].Feedback!.OwnWeights!.Value);
        model.Load([1, 2], [0]);
        TestNets.Step(model, 1);
        return _backend.Download(model.Layers[1].Feedback!.OwnWeights!.Gradient!);
    }

    private static IEnumerable<ConvLayer> Fed(Model model) => model.Layers.Where(layer => layer.Feedback is not null);

    private double Angle(ConvLayer layer) => _backend.Align(layer.Shape(), layer.Weight.Value, layer.Feedback!.OwnWeights!.Value).AngleDegrees;

    private static double[] Derivative(Func<double[], double> loss, double[] at)
    {
        var derivative = new double[at.Length];
        for (int i = 0; i < at.Length; i++)
        {
            double here = at[i];
            at[i] = here + 0.5;
            double above = loss(at);
            at[i] = here - 0.5;
            derivative[i] = above - loss(at);
            at[i] = here;
        }

        return derivative;
    }

    // The primitives: sums over the elements of a map, means over images. Only the terms that B is in.
    private static double Sparse(in ConvShape s, float[] x, double[] b) => Projection(s, x, b, transposed: true).Sum(v => v * v) / s.N;

    private static double Amp(in ConvShape s, float[] x, double[] w, double[] b) =>
        -Projection(s, x, w, transposed: false).Zip(Projection(s, x, b, transposed: true), (y, own) => y * own).Sum() / s.N;

    private static double Null(in ConvShape s, float[] x, double[] w, double[] b)
    {
        double[] y = Projection(s, x, w, transposed: false), back = new double[s.InputLength];
        ForEach(s, (input, output, tap, c, k, shape) => back[input + c] += y[output + k] * b[(tap * shape.K + k) * shape.C + c]);
        return back.Sum(v => v * v) / s.N;
    }

    /// <summary>The convolution with W, [R][S][C][K], or with B, [R][S][K][C], in its place.</summary>
    private static double[] Projection(in ConvShape s, float[] x, double[] weights, bool transposed)
    {
        var y = new double[s.OutputLength];
        ForEach(s, (input, output, tap, c, k, shape) =>
            y[output + k] += x[input + c] * weights[transposed ? (tap * shape.K + k) * shape.C + c : (tap * shape.C + c) * shape.K + k]);
        return y;
    }

    private static void ForEach(in ConvShape s, Action<int, int, int, int, int, ConvShape> product)
    {
        for (int n = 0; n < s.N; n++)
        {
            for (int p = 0; p < s.P; p++)
            {
                for (int q = 0; q < s.Q; q++)
                {
                    for (int tap = 0; tap < s.R * s.S; tap++)
                    {
                        int h = p * s.Stride - s.Padding + tap / s.S, w = q * s.Stride - s.Padding + tap % s.S;
                        if (h < 0 || h >= s.H || w < 0 || w >= s.W) continue;
                        for (int c = 0; c < s.C; c++)
                        {
                            for (int k = 0; k < s.K; k++) product(((n * s.H + h) * s.W + w) * s.C, ((n * s.P + p) * s.Q + q) * s.K, tap, c, k, s);
                        }
                    }
                }
            }
        }
    }

    private sealed class ActivationOptions : IRuleOptionCases
    {
        public RuleEntry Rule => ActivationAlignment.Entry;

        public IEnumerable<OptionCase> Cases =>
        [
            new("--aa-alpha 0.25", OptionCase.OtherModel, "rule.alpha", "0.25"), new("--aa-beta 0.25", OptionCase.OtherModel, "rule.beta", "0.25"),
            new("--alignment-pixels sum", OptionCase.OtherModel, "rule.sumsPixels", "True"),
            new("--feedback-init xavier", OptionCase.OtherModel, "rule.init", "xavier"), new("--feedback-scale 0.75", OptionCase.OtherModel, "rule.scale", "0.75"),
        ];
    }

    private sealed class InformationOptions : IRuleOptionCases
    {
        public RuleEntry Rule => InformationAlignment.Entry;

        public IEnumerable<OptionCase> Cases =>
        [
            new("--ia-alpha 0.25", OptionCase.OtherModel, "rule.alpha", "0.25"), new("--ia-beta 0.25", OptionCase.OtherModel, "rule.beta", "0.25"),
            new("--ia-gamma 0.25", OptionCase.OtherModel, "rule.gamma", "0.25"), new("--alignment-pixels sum", OptionCase.OtherModel, "rule.sumsPixels", "True"),
            new("--feedback-init xavier", OptionCase.OtherModel, "rule.init", "xavier"), new("--feedback-scale 0.75", OptionCase.OtherModel, "rule.scale", "0.75"),
        ];
    }
}
