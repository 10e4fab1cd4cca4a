using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;
using FeedbackKernels.Rules;
using FeedbackKernels.Tests.Cli;
using FeedbackKernels.Tests.Models;
using FeedbackKernels.Training;

namespace FeedbackKernels.Tests.Rules;

/// <summary>Direct feedback whose weights follow.</summary>
public sealed class DirectKolenPollackTests : IDisposable
{
    private const int Images = 4;

    private readonly CpuBackend _backend = new(2);

    public void Dispose() => _backend.Dispose();

    [Theory]
    [InlineData(DirectTarget.Elements, false)]
    [InlineData(DirectTarget.Channels, false)]
    [InlineData(DirectTarget.Elements, true)]
    [InlineData(DirectTarget.Channels, true)]
    public void The_gradient_of_B_is_the_output_error_times_the_output_of_the_unit(DirectTarget target, bool sums)
    {
        using Model model = NewModel(TestNets.Residual(), new DirectKolenPollack(target, SumsPixels: sums));
        TestNets.LoadBatch(model, Images);
        model.Forward(Pass.Train(Images));
        // The backward pass uses their memory for other things.
        Dictionary<Block, float[]> outputs = model.Blocks.ToDictionary(block => block, block => _backend.Download(block.Result));
        var logits = new float[Images * TestNets.Classes];
        model.ReadLogits(logits);
        model.Loss(Images, 0.1f, gradient: true);
        model.Backward(Images);
        double[] error = OutputError(logits);
        int checkedLayers = 0;
        foreach (Block block in model.Blocks.Where(b => b.Units.Any()))
        {
            ConvLayer layer = block is ResidualBlock ? block.Units.Where(u => u.Layer.Feedback!.ReceivesDirectError).Last().Layer : block.Units.Single().Layer;
            if (!layer.Feedback!.ReceivesDirectError) continue;
            ConvShape s = layer.Shape();
            float[] output = outputs[block], found = _backend.Download(layer.Feedback.LearnedWeights!.Gradient!);
            bool channels = target == DirectTarget.Channels && s.P * s.Q > 1;
            int reached = channels ? s.K : s.P * s.Q * s.K;
            Assert.Equal(TestNets.Classes * reached, found.Length);
            var expected = new double[found.Length];
            for (int n = 0; n < Images; n++)
            {
                for (int i = 0; i < s.P * s.Q * s.K; i++)
                {
                    for (int c = 0; c < TestNets.Classes; c++)
                    {
                        double share = error[n * TestNets.Classes + c] * output[n * s.P * s.Q * s.K + i];
                        expected[c * reached + (channels ? i % s.K : i)] += sums ? share : share / (s.P * s.Q);
                    }
                }
            }

            double scale = expected.Max(Math.Abs);
            Assert.True(scale > 1e-5, layer.Name);
            for (int i = 0; i < expected.Length; i++) Assert.Equal(expected[i], found[i], 1e-4 * scale);
            checkedLayers++;
        }

        Assert.Equal(4, checkedLayers);
    }

    [Theory]
    [InlineData(false, 0f)]
    [InlineData(true, 0f)]
    [InlineData(true, 0.02f)]
    public void The_last_hidden_layers_B_differs_from_the_classifiers_W_by_what_the_decay_leaves(bool nesterov, float clip)
    {
        const float rate = 0.25f, decay = 0.125f, momentum = 0.5f;
        using Model model = NewModel(TestNets.Plain(), new DirectKolenPollack(Decay: decay));
        using var sgd = new Sgd(model, new TrainingOptions { Batch = Images, Momentum = momentum, Nesterov = nesterov, WeightDecay = 0.5f, ClipNorm = clip });
        // fc1's output is fc2's input: [13] to [5].
        ConvLayer hidden = model.Layers[^2], classifier = model.Layers[^1];
        float[] start = Difference();
        double share = 1, velocity = 0;
        for (int step = 0; step < 6; step++)
        {
            TestNets.LoadBatch(model, Images, (uint)step);
            TestNets.Step(model, Images);
            sgd.Update(step, rate);
            velocity = momentum * velocity + decay * share;
            share -= rate * (nesterov ? decay * share + momentum * velocity : velocity);
            float[] now = Difference();
            for (int i = 0; i < now.Length; i++) Assert.Equal(share * start[i], now[i], 1e-5);
        }

        Assert.InRange(share, 0.3, 0.8);
        Assert.Contains(start, v => Math.Abs(v) > 0.1);

        // B [5][13] less W [13][5].
        float[] Difference()
        {
            float[] b = _backend.Download(hidden.Feedback!.LearnedWeights!.Value), w = _backend.Download(classifier.Weight.Value);
            return [.. b.Select((value, i) => value - w[i % 13 * 5 + i / 13])];
        }
    }

    [Fact]
    public void Before_its_first_update_it_is_direct_feedback_alignment()
    {
        float[][] gradients = [.. ((FeedbackRule[])[new DirectFeedbackAlignment(), new DirectKolenPollack()]).Select(rule =>
        {
            using Model model = NewModel(TestNets.Residual(), rule);
            TestNets.LoadBatch(model, Images);
            TestNets.Step(model, Images);
            return TestNets.Gradients(model);
        })];
        Assert.Equal(gradients[0], gradients[1]);
    }

    /// <summary>Gradient of the mean cross entropy with the smoothing of <see cref="TestNets.Step"/>, by hand.</summary>
    private static double[] OutputError(float[] logits)
    {
        const int classes = TestNets.Classes;
        var error = new double[logits.Length];
        for (int n = 0; n < Images; n++)
        {
            double sum = Enumerable.Range(0, classes).Sum(c => Math.Exp(logits[n * classes + c]));
            for (int c = 0; c < classes; c++)
            {
                double wanted = 0.1 / classes + (c == (n + 1) % classes ? 0.9 : 0);
                error[n * classes + c] = (Math.Exp(logits[n * classes + c]) / sum - wanted) / Images;
            }
        }

        return error;
    }

    private Model NewModel(ModelSpec spec, FeedbackRule rule) => new(_backend, spec, RuleSet.Of(rule), Images, seed: 1);

    private sealed class Options : IRuleOptionCases
    {
        public RuleEntry Rule => DirectKolenPollack.Entry;

        public IEnumerable<OptionCase> Cases =>
        [
            new("--direct-target channels", OptionCase.OtherModel, "rule.target", "channels"), new("--alignment-pixels sum", OptionCase.OtherModel, "rule.sumsPixels", "True"),
            new("--dkp-decay 0.05", OptionCase.OtherModel, "rule.decay", "0.05"),
            new("--feedback-scale 0.75", OptionCase.OtherModel, "rule.scale", "0.75"),
        ];
    }
}
