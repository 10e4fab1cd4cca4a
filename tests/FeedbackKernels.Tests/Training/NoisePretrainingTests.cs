using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;
using FeedbackKernels.Rules;
using FeedbackKernels.Training;

namespace FeedbackKernels.Tests.Training;

/// <summary>Training on noise before training on data.</summary>
public sealed class NoisePretrainingTests : IDisposable
{
    private const int Batch = 16;

    private static readonly DataSet Data = DataSet.Open("synthetic", 3, 4 * Batch, Batch);

    private readonly CpuBackend _backend = new(2);

    public void Dispose() => _backend.Dispose();

    [Theory]
    [InlineData(1, 2)]
    [InlineData(3, 1)]
    public void The_steps_are_those_of_the_rule_on_normal_pixels_and_random_labels(int steps, int parts)
    {
        // LeNet has no batch norm. The streams and the update are made anew here.
        using Model expected = NewModel("lenet", new KolenPollack(), Batch / parts), found = NewModel("lenet", new KolenPollack(), Batch / parts);
        TrainingOptions options = TrainerTests.Options(1) with { Batch = Batch, Accumulate = parts, LabelSmoothing = 0.2f, NoisePretraining = steps, NoisePretrainingRate = 0.03f, Seed = 7 };
        using var sgd = new Sgd(expected, options);
        using var sum = new GradientSum(expected, parts);
        for (int step = 0; step < steps; step++)
        {
            for (int part = 0; part < parts; part++)
            {
                uint stream = (uint)(step * parts + part);
                int images = Batch / parts;
                var pixels = new float[images * 3072];
                new RandomKey(7, RandomPurpose.NoiseImages, 0, stream).FillGaussian(pixels, 1);
                var random = new RandomSequence(new RandomKey(7, RandomPurpose.NoiseLabels, 0, stream));
                expected.Load(pixels, [.. Enumerable.Range(0, images).Select(_ => random.NextInt(10))]);
                expected.Forward(Pass.Train(images));
                expected.Loss(images, 0.2f, gradient: true);
                expected.Backward(images);
                if (parts > 1) sum.AddPart();
            }

            sgd.Update(step, 0.03f);
        }

        using var other = new Sgd(found, options);
        using GradientSum? gradients = parts > 1 ? new GradientSum(found, parts) : null;
        float[] before = All(found);
        NoisePretraining.Run(found, other, gradients, options, Communicator.Alone, shared: null, TestContext.Current.CancellationToken);
        Assert.Equal(All(expected), All(found));
        Assert.NotEqual(before, All(found));
        Assert.Equal(0, other.Step);
    }

    [Fact]
    public void Running_statistics_stay_as_they_were_and_the_schedule_begins_afterwards()
    {
        using Model model = NewModel("resnet8", new FeedbackAlignment(), Batch);
        var statistics = model.Norms.SelectMany(n => (float[])[.. _backend.Download(n.RunningMean), .. _backend.Download(n.RunningVariance)]).ToArray();
        TrainingOptions options = TrainerTests.Options(1) with { Batch = Batch, NoisePretraining = 3 };
        using (var sgd = new Sgd(model, options)) NoisePretraining.Run(model, sgd, gradients: null, options, Communicator.Alone, shared: null, TestContext.Current.CancellationToken);
        Assert.Equal(statistics, model.Norms.SelectMany(n => (float[])[.. _backend.Download(n.RunningMean), .. _backend.Download(n.RunningVariance)]));

        TrainingResult plain = Train(0), pretrained = Train(3);
        Assert.Equal(plain.Epochs.Select(e => (e.Step, e.LearningRate)), pretrained.Epochs.Select(e => (e.Step, e.LearningRate)));
        Assert.NotEqual(plain.Epochs[0].TrainLoss, pretrained.Epochs[0].TrainLoss);

        TrainingResult Train(int steps)
        {
            using Model fresh = NewModel("resnet8", new FeedbackAlignment(), Batch);
            using var trainer = new Trainer(fresh, Data, options with { NoisePretraining = steps });
            return trainer.Run(cancel: TestContext.Current.CancellationToken);
        }
    }

    [Fact]
    public void A_run_that_is_stopped_meanwhile_has_no_results()
    {
        using Model model = NewModel("lenet", new FeedbackAlignment(), Batch);
        using var trainer = new Trainer(model, Data, TrainerTests.Options(1) with { Batch = Batch, NoisePretraining = int.MaxValue });
        using var stop = new CancellationTokenSource(TimeSpan.FromMilliseconds(200));
        TrainingResult result = trainer.Run(cancel: stop.Token);
        Assert.True(result.Cancelled);
        Assert.Empty(result.Epochs);
    }

    [Theory]
    [InlineData(-1, 0.1f, "noise pretraining")]
    [InlineData(1, -1f, "noise pretraining rate")]
    [InlineData(1, float.NaN, "noise pretraining rate")]
    public void Settings_out_of_range_are_refused(int steps, float rate, string name) =>
        Assert.Throws<ArgumentOutOfRangeException>(name, () => new TrainingOptions { NoisePretraining = steps, NoisePretrainingRate = rate }.Validate());

    private Model NewModel(string name, FeedbackRule rule, int batch) =>
        new(_backend, ModelCatalog.Create(name, Data.Train.RequireShape(), 10), RuleSet.Of(rule), batch, seed: 4);

    private float[] All(Model model) => [.. model.TensorsAndFeedback().SelectMany(t => _backend.Download(t.Buffer))];
}
