using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;
using FeedbackKernels.Rules;

namespace FeedbackKernels.Tests.Models;

/// <summary>Under backprop the backward pass is the derivative of the forward pass, through every kind of block.</summary>
public class GradientTests
{
    [Theory]
    [InlineData("residual")]
    [InlineData("residual-relu-bn")]
    [InlineData("plain")]
    [InlineData("plain-sigmoid-loss")]
    public void Each_parameters_gradient_is_the_slope_of_the_loss(string net)
    {
        const int images = 6;
        using var backend = new ReferenceBackend();
        using var model = new Model(backend, TestNets.ByName(net), RuleSet.Of(new Backprop()), images, seed: 3);
        TestNets.LoadBatch(model, images);
        TestNets.Step(model, images);
        float[][] gradients = [.. model.Parameters.Select(p => backend.Download(p.Gradient))];
        for (int i = 0; i < gradients.Length; i++)
        {
            Parameter parameter = model.Parameters[i];
            float[] value = backend.Download(parameter.Value);
            // Along a random direction, and along the gradient, the direction of the steepest slope.
            var direction = new float[value.Length];
            new RandomKey(5, RandomPurpose.User, (uint)i).FillGaussian(direction, 1);
            double norm = Math.Sqrt(gradients[i].Sum(g => (double)g * g));
            Assert.True(norm > 1e-6, $"{parameter.Name} has no gradient");
            for (int j = 0; j < direction.Length; j++) direction[j] += (float)(gradients[i][j] / norm * Math.Sqrt(value.Length));

            double analytic = gradients[i].Zip(direction, (g, d) => (double)g * d).Sum();
            double length = Math.Sqrt(direction.Sum(d => (double)d * d));
            // Large steps cross kinks of ReLU and max pooling, small ones are lost in rounding errors: one in between must agree.
            double reach = Math.Max(0.3, Math.Sqrt(value.Sum(v => (double)v * v))) / length;
            double[] slopes = [.. ((double[])[3e-3, 1e-3, 3e-4, 1e-4, 3e-5]).Select(share => share * reach).Select(h => (LossAt(h) - LossAt(-h)) / (2 * h))];
            backend.Upload<float>(value, parameter.Value);
            Assert.True(
                slopes.Min(slope => Math.Abs(slope - analytic)) < 0.01 * Math.Abs(analytic),
                $"{net}, {parameter.Name}: slopes {string.Join(", ", slopes)}, gradient {analytic}");

            double LossAt(double move)
            {
                backend.Upload<float>([.. value.Zip(direction, (v, d) => (float)(v + move * d))], parameter.Value);
                var losses = new float[images];
                model.Forward(Pass.Measure(images));
                model.Loss(images, 0.1f, gradient: false, losses);
                return losses.Average(l => (double)l);
            }
        }
    }

    [Theory]
    [InlineData("residual")]
    [InlineData("residual-relu-bn")]
    [InlineData("plain")]
    public void The_cpu_backend_computes_the_references_gradients(string net)
    {
        const int images = 6;
        using Backend reference = new ReferenceBackend(), cpu = new CpuBackend(2);
        using Model expected = Run(reference), actual = Run(cpu);
        float[] wanted = TestNets.Gradients(expected), found = TestNets.Gradients(actual);
        double error = Math.Sqrt(wanted.Zip(found, (a, b) => Math.Pow(a - b, 2)).Sum() / wanted.Sum(a => (double)a * a));
        Assert.True(error < 1e-5, $"relative error {error}");

        Model Run(Backend backend)
        {
            var model = new Model(backend, TestNets.ByName(net), RuleSet.Of(new Backprop()), images, seed: 3);
            TestNets.LoadBatch(model, images);
            TestNets.Step(model, images);
            return model;
        }
    }

    [Fact]
    public void A_smaller_batch_in_the_same_memory_gives_the_same_bits()
    {
        using var backend = new CpuBackend(2);
        using var exact = new Model(backend, TestNets.Residual(), RuleSet.Of(new Backprop()), 3, seed: 3);
        using var larger = new Model(backend, TestNets.Residual(), RuleSet.Of(new Backprop()), 8, seed: 3);
        TestNets.LoadBatch(larger, 8, stream: 2);
        TestNets.Step(larger, 8);
        foreach (Model model in (Model[])[exact, larger])
        {
            TestNets.LoadBatch(model, 3);
            TestNets.Step(model, 3);
        }

        Assert.Equal(TestNets.Gradients(exact), TestNets.Gradients(larger));
    }

    [Fact]
    public void The_tensors_of_another_model_are_refused_before_any_is_copied()
    {
        using var backend = new CpuBackend(1);
        using Model small = NewModel("resnet8", 10);
        float[] before = TestNets.Weights(small);
        foreach ((string name, int classes, string difference) in ((string, int, string)[])[("resnet14", 10, "it has "), ("resnet8", 11, "it lacks fc.weight [")])
        {
            using Model other = NewModel(name, classes);
            Assert.Contains(difference, Assert.Throws<ArgumentException>(() => small.CopyFrom(other)).Message);
            Assert.Equal(before, TestNets.Weights(small));
        }

        Model NewModel(string name, int classes) => new(backend, ModelCatalog.Create(name, new MapShape(32, 32, 3), classes), RuleSet.Of(new Backprop()), 4, seed: (ulong)classes);
    }

    [Fact]
    public void Evaluation_uses_running_statistics_in_the_same_or_less_memory()
    {
        using var backend = new CpuBackend(2);
        foreach (NormOrder order in Enum.GetValues<NormOrder>())
        {
            using var trained = new Model(backend, TestNets.Residual(order), RuleSet.Of(new Backprop()), 8, seed: 3);
            TestNets.LoadBatch(trained, 8);
            // The same batch again and again: the running statistics become those of the batch (except for n/(n-1)).
            for (int i = 0; i < 200; i++) trained.Forward(Pass.Train(8));
            float[] training = Logits(trained, Pass.Measure(8)), evaluation = Logits(trained, Pass.Evaluate(8));
            Assert.All(training.Zip(evaluation), pair => Assert.Equal(pair.First, pair.Second, 0.1));

            using var loaded = Model.ForEvaluation(backend, TestNets.Residual(order), 8);
            loaded.CopyFrom(trained);
            TestNets.LoadBatch(loaded, 8);
            Assert.Equal(evaluation, Logits(loaded, Pass.Evaluate(8)));
            Assert.True(loaded.ArenaBytes < trained.ArenaBytes / 2);
            Assert.Throws<InvalidOperationException>(() => loaded.Backward(8));
        }

        static float[] Logits(Model model, Pass pass)
        {
            model.Forward(pass);
            var logits = new float[pass.Images * TestNets.Classes];
            model.ReadLogits(logits);
            return logits;
        }
    }
}
