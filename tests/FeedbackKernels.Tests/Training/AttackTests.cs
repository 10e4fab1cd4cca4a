using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;
using FeedbackKernels.Rules;
using FeedbackKernels.Tests.Models;
using FeedbackKernels.Training;

namespace FeedbackKernels.Tests.Training;

/// <summary>Adversarial attacks: the gradient by the image, what an attack may do, and a case by hand.</summary>
public sealed class AttackTests
{
    private static readonly Preprocessing Plain = new(new MapShape(1, 1, 2), [0, 0], [1, 1], ["a", "b"]);

    [Theory]
    [InlineData("residual")]
    [InlineData("residual-relu-bn")]
    [InlineData("plain")]
    [InlineData("plain-sigmoid-loss")]
    public void The_gradient_by_the_images_is_the_slope_of_the_loss_in_evaluation(string net)
    {
        const int images = 4;
        using var backend = new ReferenceBackend();
        using Model model = Model.ForAttack(backend, TestNets.ByName(net), images);
        // Running statistics that are neither 0 and 1 nor those of the batch.
        TestNets.LoadBatch(model, images, stream: 7);
        for (int i = 0; i < 5; i++) model.Forward(Pass.Train(images));
        TestNets.LoadBatch(model, images);
        float[] value = backend.Download(model.Input);
        model.Forward(Pass.Evaluate(images));
        model.Loss(images, 0, gradient: true);
        model.ImageGradient(images);
        float[] gradient = backend.Download(model.InputError), direction = new float[value.Length];
        double norm = Math.Sqrt(gradient.Sum(g => (double)g * g));
        Assert.True(norm > 1e-6);
        new RandomKey(5, RandomPurpose.User).FillGaussian(direction, 1);
        for (int i = 0; i < direction.Length; i++) direction[i] += (float)(gradient[i] / norm * Math.Sqrt(value.Length));
        double analytic = gradient.Zip(direction, (g, d) => (double)g * d).Sum();
        // Large steps cross kinks of ReLU and max pooling, small ones are lost in rounding errors: one in between must agree.
        double[] slopes = [.. ((double[])[3e-3, 1e-3, 3e-4, 1e-4]).Select(h => (LossAt(h) - LossAt(-h)) / (2 * h))];
        Assert.True(slopes.Min(slope => Math.Abs(slope - analytic)) < 0.01 * Math.Abs(analytic), $"slopes {string.Join(", ", slopes)}, gradient {analytic}");

        double LossAt(double move)
        {
            backend.Upload<float>([.. value.Zip(direction, (v, d) => (float)(v + move * d))], model.Input);
            var losses = new float[images];
            model.Forward(Pass.Evaluate(images));
            model.Loss(images, 0, gradient: false, losses);
            return losses.Average(l => (double)l);
        }
    }

    [Fact]
    public void The_gradient_by_the_images_leaves_parameters_and_their_gradients_alone()
    {
        using var backend = new CpuBackend(1);
        using Model model = Model.ForAttack(backend, TestNets.Residual(), 4);
        TestNets.LoadBatch(model, 4);
        TestNets.Step(model, 4);
        float[] weights = TestNets.Weights(model), gradients = TestNets.Gradients(model);
        model.Forward(Pass.Evaluate(4));
        model.Loss(4, 0, gradient: true);
        model.ImageGradient(4);
        Assert.Equal(weights, TestNets.Weights(model));
        Assert.Equal(gradients, TestNets.Gradients(model));
    }

    /// <summary>Two numbers, two classes, logits x W: for class 0 the loss grows against the signs of W[., 0] - W[., 1].</summary>
    [Theory]
    [InlineData(AttackKind.Fgsm)]
    [InlineData(AttackKind.Pgd)]
    public void A_linear_classifier_is_attacked_as_by_hand(AttackKind kind)
    {
        using var backend = new ReferenceBackend();
        var spec = new ModelSpec("linear", Plain.Input, 2, LossKind.SoftmaxCrossEntropy, NormOrder.ConvBnRelu, [new LinearSpec("fc", 2, Activation.None, WeightInit.He)]);
        using Model model = Model.ForAttack(backend, spec, 4);
        // Class 0 - class 1: 3 for the first number, -2 for the second.
        backend.Upload<float>([2, -1, -1, 1], model.Layers[0].Weight.Value);
        model.RefreshCopies();
        // The second pixel of the second image is 2 below white: it cannot move by 10.
        var images = new ImageSet(Plain.Input, 2, [100, 50, 30, 253], [0, 1]);
        AttackResult result = new AttackEvaluator(model, new Attack(kind, 10 / 255.0, Steps: 7)).Run(images, Plain, cancel: TestContext.Current.CancellationToken);
        Assert.Equal(Mean(LossOf(100, 50, label: 0), LossOf(30, 253, label: 1)), result.Clean.Loss, 1e-5);
        Assert.Equal(Mean(LossOf(90, 60, label: 0), LossOf(40, 243, label: 1)), result.Attacked.Loss, 1e-5);
        float[] found = backend.Download(model.Input)[..4];
        foreach ((float pixel, float wanted) in found.Zip((float[])[90, 60, 40, 243])) Assert.Equal(wanted / 255, pixel, 1e-5f);

        // The other way: the second image has label 0.
        var other = new ImageSet(Plain.Input, 2, [100, 50, 30, 253], [0, 0]);
        _ = new AttackEvaluator(model, new Attack(kind, 10 / 255.0, Steps: 7)).Run(other, Plain, cancel: TestContext.Current.CancellationToken);
        foreach ((float pixel, float wanted) in backend.Download(model.Input)[..4].Zip((float[])[90, 60, 20, 255])) Assert.Equal(wanted / 255, pixel, 1e-5f);

        static double LossOf(double first, double second, int label)
        {
            double difference = (3 * first - 2 * second) / 255;
            return Math.Log(1 + Math.Exp(label == 0 ? -difference : difference));
        }

        static double Mean(double a, double b) => (a + b) / 2;
    }

    [Fact]
    public void Fgsm_lowers_the_accuracy_of_a_trained_model_and_pgd_lowers_it_further()
    {
        DataSet data = new("halves", Halves(300, seed: 1), Halves(120, seed: 2), Augmentation.None);
        using var backend = new CpuBackend(2);
        using var trained = new Model(backend, ModelCatalog.Create("resnet8", data.Test.RequireShape(), 2), RuleSet.Of(new Backprop()), 20, seed: 3);
        using var trainer = new Trainer(trained, data, TrainerTests.Options(epochs: 5) with { Batch = 20, Schedule = new LearningRateSchedule(ScheduleKind.OneCycle, 0.1f) });
        trainer.Run(cancel: TestContext.Current.CancellationToken);
        using Model model = Model.ForAttack(backend, trained.Spec, 50);
        model.CopyFrom(trained);
        Evaluation clean = new Evaluator(trained).Run(data.Test, trainer.Preprocessing, cancel: TestContext.Current.CancellationToken);
        AttackResult fgsm = Run(new Attack(Epsilon: 12 / 255.0)), pgd = Run(new Attack(AttackKind.Pgd, 12 / 255.0)), none = Run(new Attack(Epsilon: 0));
        Assert.Equal(clean, fgsm.Clean);
        Assert.Equal(clean, pgd.Clean);
        Assert.Equal(clean, none.Attacked);
        Assert.InRange(clean.Top1, 0.9, 1);
        Assert.True(fgsm.Attacked.Top1 < clean.Top1 - 0.1, $"{clean.Top1} {fgsm.Attacked.Top1}");
        Assert.True(pgd.Attacked.Loss > fgsm.Attacked.Loss, $"{fgsm.Attacked.Loss} {pgd.Attacked.Loss}");
        Assert.True(pgd.Attacked.Top1 <= fgsm.Attacked.Top1, $"{fgsm.Attacked.Top1} {pgd.Attacked.Top1}");

        AttackResult Run(Attack attack) => new AttackEvaluator(model, attack).Run(data.Test, trainer.Preprocessing, cancel: TestContext.Current.CancellationToken);
    }

    /// <summary>Noise of up to 60 levels; class 0 is 15 levels brighter in its upper half, class 1 in its lower.</summary>
    private static ImageSet Halves(int count, ulong seed)
    {
        const int size = 16, length = size * size * 3;
        var noise = new float[count * length];
        new RandomKey(seed, RandomPurpose.User).FillUniform(noise, -60, 60);
        int[] labels = [.. Enumerable.Range(0, count).Select(i => i % 2)];
        byte[] pixels = [.. noise.Select((n, i) => (byte)(128 + n + (i % length < length / 2 == (labels[i / length] == 0) ? 15 : 0)))];
        return new ImageSet(new MapShape(size, size, 3), 2, pixels, labels);
    }

    [Fact]
    public void An_attack_stays_in_its_range_and_does_not_depend_on_batches_or_threads()
    {
        const double epsilon = 20 / 255.0;
        DataSet data = DataSet.Open("synthetic", 3, 40, 9);
        var preprocessing = Preprocessing.Of(data, NormalisationKind.Standard);
        float[] original = Images(new Attack(Epsilon: 0), 9, 1), first = Images(new Attack(AttackKind.Pgd, epsilon, 3), 9, 1);
        Normalisation table = preprocessing.CreateNormalisation();
        int atLimit = 0;
        for (int i = 0; i < original.Length; i++)
        {
            float black = table[0, i % 3], white = table[255, i % 3];
            Assert.InRange(first[i], black, white);
            double share = Math.Abs(first[i] - original[i]) / (white - black) / epsilon;
            Assert.True(share < 1 + 1e-4, $"moved by {share} epsilon");
            if (share > 0.99) atLimit++;
        }

        Assert.InRange(atLimit, original.Length / 4, original.Length);
        Assert.Equal(first[^3072..], Images(new Attack(AttackKind.Pgd, epsilon, 3), 1, 2));
        Assert.NotEqual(first, Images(new Attack(AttackKind.Pgd, epsilon, 3, Seed: 2), 9, 1));
        Assert.NotEqual(first, Images(new Attack(AttackKind.Pgd, epsilon, 3, StepSize: 0.01), 9, 1));
        Assert.NotEqual(first, Images(new Attack(AttackKind.Pgd, epsilon, 4), 9, 1));

        float[] Images(Attack attack, int batch, int threads)
        {
            using var backend = new CpuBackend(threads);
            using Model model = Model.ForAttack(backend, ModelCatalog.Create("resnet8", data.Test.RequireShape(), 10), batch);
            new AttackEvaluator(model, attack).Run(data.Test, preprocessing, cancel: TestContext.Current.CancellationToken);
            return backend.Download(model.Input);
        }
    }

    [Fact]
    public void Absurd_attacks_and_models_without_a_gradient_are_refused()
    {
        using var backend = new CpuBackend(1);
        using var trained = new Model(backend, TestNets.Plain(), RuleSet.Of(new Backprop()), 2, seed: 1);
        Assert.Contains("Model.ForAttack", Assert.Throws<ArgumentException>(() => new AttackEvaluator(trained, new Attack())).Message);
        Assert.Throws<InvalidOperationException>(() => trained.ImageGradient(2));
        foreach ((Attack attack, string name) in ((Attack, string)[])
                 [(new(Epsilon: -0.1), "epsilon"), (new(Epsilon: double.NaN), "epsilon"), (new(Epsilon: 8), "epsilon"), (new(Steps: 0), "steps"), (new(StepSize: 0), "step size"), (new((AttackKind)9), "kind")])
            Assert.Equal(name, Assert.Throws<ArgumentOutOfRangeException>(attack.Validate).ParamName);
    }
}
