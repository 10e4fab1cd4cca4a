using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;
using FeedbackKernels.Rules;
using FeedbackKernels.Training;

namespace FeedbackKernels.Tests.Training;

/// <summary>
/// Accuracies and losses of a model whose weights are zero. Its logits are the biases of its last layer for every image, so the
/// expected results are counted by hand.
/// </summary>
public sealed class CountingTests : IDisposable
{
    private const int Classes = 8;

    // Ranks 1 to 8: classes 3, 0, 6, 1, 7, 4, 2, 5.
    private static readonly float[] Logits = [4, 2, -2, 5, -1, -3, 3, 1];
    private static readonly int[] ByRank = [3, 0, 6, 1, 7, 4, 2, 5];
    private static readonly Preprocessing Unit = new(Images(0).Shape, [0.0], [1.0], Images(0).ClassNames);

    private readonly CpuBackend _backend = new(1);

    public void Dispose() => _backend.Dispose();

    [Fact]
    public void Top_1_is_the_first_and_top_5_the_first_five()
    {
        using Model model = NewModel(Logits);
        for (int rank = 0; rank < Classes; rank++)
        {
            Evaluation found = new Evaluator(model).Run(Images(ByRank[rank]), Unit, cancel: TestContext.Current.CancellationToken);
            Assert.Equal((rank < 1 ? 1 : 0, rank < 5 ? 1 : 0, 1), (found.Top1, found.Top5, found.Images));
            Assert.Equal(LossOf(ByRank[rank]), found.Loss, 1e-5);
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    [InlineData(64)]
    public void Shares_and_losses_are_means_over_all_images_whatever_the_batch(int batch)
    {
        // Seven images: batches of 3 leave one over. Ranks 1, 1, 2, 5, 6, 7, 8.
        int[] labels = [3, 3, 0, 7, 4, 2, 5];
        using Model model = NewModel(Logits, batch);
        Evaluation found = new Evaluator(model).Run(Images(labels), Unit, cancel: TestContext.Current.CancellationToken);
        Assert.Equal(2.0 / 7, found.Top1, 1e-9);
        Assert.Equal(4.0 / 7, found.Top5, 1e-9);
        Assert.Equal(labels.Average(LossOf), found.Loss, 1e-5);
        Assert.Equal(7, found.Images);
    }

    [Fact]
    public void Ties_and_NaN_count_against_the_label()
    {
        Check(new float[Classes], 2, top1: 0, top5: 0);
        // An equal logit counts as ahead of the label: the label is second, then sixth.
        Check([1, 1, 0, 0, 0, 0, 0, 0], 1, top1: 0, top5: 1);
        Check([5, 5, 4, 3, 2, 1, 1, 0], 5, top1: 0, top5: 0);
        Check([5, 4, 3, 2, 1, 1, 0, 0], 4, top1: 0, top5: 0);
        Check([float.NaN, 1, 0, 0, 0, 0, 0, 0], 1, top1: 0, top5: 1);
        Check([float.NaN, 1, 0, 0, 0, 0, 0, 0], 0, top1: 0, top5: 0);

        void Check(float[] logits, int label, double top1, double top5)
        {
            using Model model = NewModel(logits);
            Evaluation found = new Evaluator(model).Run(Images(label), Unit, cancel: TestContext.Current.CancellationToken);
            Assert.Equal((top1, top5), (found.Top1, found.Top5));
        }
    }

    [Fact]
    public void A_run_reports_training_and_test_images_each_by_their_own()
    {
        // Training: ranks 1, 1, 1, 2; test: 1, 5, 6, 7, 8, 8. The rate is too small to change a logit.
        int[] train = [3, 3, 3, 0], test = [3, 7, 4, 2, 5, 5];
        const float smoothing = 0.25f;
        using Model model = NewModel(Logits, batch: 2);
        var data = new DataSet("made", Images(train), Images(test), Augmentation.None);
        var options = new TrainingOptions
        {
            Epochs = 3,
            Batch = 2,
            LabelSmoothing = smoothing,
            WeightDecay = 0,
            Schedule = new LearningRateSchedule(ScheduleKind.Constant, 1e-20f),
            AlignEvery = 0,
        };
        var observer = new Keeper();
        TrainingResult result = new Trainer(model, data, options).Run(observer, TestContext.Current.CancellationToken);
        Assert.Equal(result.Epochs, observer.Epochs);
        Assert.Equal([1, 2, 3], result.Epochs.Select(e => e.Epoch));
        Assert.Equal([2, 4, 6], result.Epochs.Select(e => e.Step));
        foreach (EpochReport epoch in result.Epochs)
        {
            Assert.Equal(0.75, epoch.TrainTop1, 1e-9);
            Assert.Equal(1.0 / 6, epoch.TestTop1, 1e-9);
            Assert.Equal(2.0 / 6, epoch.TestTop5, 1e-9);
            Assert.Equal(train.Average(label => (1 - smoothing) * LossOf(label) + smoothing * Enumerable.Range(0, Classes).Average(LossOf)), epoch.TrainLoss, 1e-5);
            Assert.Equal(test.Average(LossOf), epoch.TestLoss, 1e-5);
            Assert.Equal(1e-20, epoch.LearningRate, 1e-22);
        }

        Assert.False(result.Cancelled);
        Assert.Equal(result.Epochs.Select(e => e.Seconds).Order(), result.Epochs.Select(e => e.Seconds));
        Assert.Equal(result.Epochs.Select(e => e.ImagesPerSecond).Order().ElementAt(1), result.ImagesPerSecond);
        StepReport step = observer.Steps[^1];
        Assert.Equal((3, 2, 2, 6), (step.Epoch, step.Step, step.StepsInEpoch, observer.Steps.Count));
        Assert.Equal((result.Epochs[^1].TrainLoss, result.Epochs[^1].TrainTop1), (step.Loss, step.Top1));
    }

    [Theory]
    [InlineData(0, new int[0])]
    [InlineData(1, new[] { 0, 1, 2, 3, 4, 5 })]
    [InlineData(2, new[] { 0, 2, 4, 5 })]
    [InlineData(9, new[] { 0, 5 })]
    public void Alignment_is_measured_before_training_every_n_epochs_and_at_the_end(double every, int[] measured)
    {
        using Model model = NewModel(Logits, batch: 2);
        var data = new DataSet("made", Images(3, 0), Images(3, 1), Augmentation.None);
        var options = new TrainingOptions { Epochs = 5, Batch = 2, Schedule = new LearningRateSchedule(ScheduleKind.Constant, 0.01f), AlignEvery = every };
        TrainingResult result = new Trainer(model, data, options).Run(cancel: TestContext.Current.CancellationToken);
        foreach (string layer in (string[])["fc1", "fc2"])
        {
            Assert.Equal(measured, result.Alignment.Where(a => a.Layer == layer).Select(a => (int)a.Epoch));
            Assert.Equal(measured, result.Alignment.Where(a => a.Layer == layer).Select(a => a.Step));
        }
    }

    /// <summary>-log softmax by hand.</summary>
    private static double LossOf(int label) => Math.Log(Logits.Sum(z => Math.Exp(z))) - Logits[label];

    private static ImageSet Images(params int[] labels) =>
        new(new MapShape(2, 2, 1), Classes, [.. labels.SelectMany(label => (byte[])[(byte)label, 9, 200, 30])], labels);

    private Model NewModel(float[] logits, int batch = 4)
    {
        var spec = new ModelSpec(
            "biases", new MapShape(2, 2, 1), Classes, LossKind.SoftmaxCrossEntropy, NormOrder.ConvBnRelu,
            [new LinearSpec("fc1", 3, Activation.Relu, WeightInit.He), new LinearSpec("fc2", Classes, Activation.None, WeightInit.He)]);
        var model = new Model(_backend, spec, RuleSet.Of(new Backprop()), batch, seed: 1);
        foreach (Parameter parameter in model.Parameters) _backend.Fill(parameter.Value, 0);
        _backend.Upload<float>(logits, model.Layers[^1].Bias!.Value);
        return model;
    }

    private sealed class Keeper : ITrainingObserver
    {
        public List<EpochReport> Epochs { get; } = [];

        public List<StepReport> Steps { get; } = [];

        public void OnStep(in StepReport report) => Steps.Add(report);

        public void OnEpoch(EpochReport report) => Epochs.Add(report);

        public void OnAlignment(IReadOnlyList<LayerAlignment> layers)
        {
        }
    }
}
