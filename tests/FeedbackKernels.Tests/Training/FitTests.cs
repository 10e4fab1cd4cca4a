using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;
using FeedbackKernels.Rules;
using FeedbackKernels.Training;

namespace FeedbackKernels.Tests.Training;

/// <summary>Models, images and settings that do not fit together are rejected with a message that names both sides.</summary>
public sealed class FitTests : IDisposable
{
    private static readonly DataSet Data = DataSet.Open("synthetic", 3, 64, 32);

    private readonly CpuBackend _backend = new(1);

    public void Dispose() => _backend.Dispose();

    [Fact]
    public void Test_images_of_another_shape_or_more_classes_are_refused()
    {
        using Model model = NewModel("mlp", Data.Train.RequireShape());
        // The same number of bytes, but grey.
        ImageSet grey = new(new MapShape(32, 96, 1), 10, Data.Test.Pixels, Data.Test.Labels);
        ImageSet more = new(Data.Test.RequireShape(), 11, Data.Test.Pixels, Data.Test.Labels);
        foreach ((ImageSet wrong, string found, string wanted) in ((ImageSet, string, string)[])[(grey, "32x96x1", "32x32x3"), (more, "11 classes", "10 classes")])
        {
            string message = Assert.Throws<ArgumentException>(() => Data with { Test = wrong }).Message;
            Assert.Contains(found, message);
            Assert.Contains(wanted, message);
            message = Assert.Throws<ArgumentException>(() => new Trainer(model, new DataSet("both", wrong, wrong, Augmentation.None), Options())).Message;
            Assert.Contains(found, message);
            Assert.Contains(wanted, message);
            message = Assert.Throws<ArgumentException>(
                () => new Evaluator(model).Run(wrong, Preprocessing.Of(Data, NormalisationKind.Unit), cancel: TestContext.Current.CancellationToken)).Message;
            Assert.Contains(found, message);
            Assert.Contains(wanted, message);
        }
    }

    [Fact]
    public void A_normalisation_of_other_channels_is_refused()
    {
        using Model model = NewModel("mlp", Data.Train.RequireShape());
        var e = Assert.Throws<ArgumentException>(
            () => new Evaluator(model).Run(Data.Test, Preprocessing.Of(Data, NormalisationKind.Unit) with { Means = [0.5], Deviations = [0.25] }, cancel: TestContext.Current.CancellationToken));
        Assert.Equal("preprocessing", e.ParamName);
        Assert.Contains("1 channels, the images have 3", e.Message);
    }

    [Fact]
    public void A_trainer_runs_once()
    {
        using Model model = NewModel("mlp", Data.Train.RequireShape());
        var trainer = new Trainer(model, Data, Options());
        Assert.Single(trainer.Run(cancel: TestContext.Current.CancellationToken).Epochs);
        Assert.Throws<InvalidOperationException>(() => trainer.Run(cancel: TestContext.Current.CancellationToken));
    }

    [Fact]
    public void A_model_for_evaluation_and_too_many_steps_are_refused()
    {
        using var model = Model.ForEvaluation(_backend, ModelCatalog.Create("mlp", Data.Train.RequireShape(), 10), 16, 1);
        Assert.Contains("planned for evaluation", Assert.Throws<ArgumentException>(() => new Trainer(model, Data, Options())).Message);
        using Model trained = NewModel("mlp", Data.Train.RequireShape());
        Assert.Contains("2147483647", Assert.Throws<ArgumentException>(() => new Trainer(trained, Data, Options() with { Epochs = int.MaxValue })).Message);
    }

    [Theory]
    [InlineData("resnet18", 32, 1, "layer4.0.bn1")]
    [InlineData("resnet8", 4, 1, "layer3.0.bn1")]
    [InlineData("resnet18", 32, 2, null)]
    [InlineData("resnet18", 64, 1, null)]
    [InlineData("mlp", 1, 1, null)]
    public void A_batch_norm_over_one_value_is_refused_when_the_model_is_planned_for_training(string name, int size, int batch, string? norm)
    {
        ModelSpec spec = ModelCatalog.Create(name, new MapShape(size, size, 3), 10);
        if (norm is null)
        {
            using var model = new Model(_backend, spec, RuleSet.Of(new Backprop()), batch, 1);
            // The same in a pass with one image.
            if (name == "resnet18" && size == 32) Assert.Throws<ArgumentException>(() => model.Forward(Pass.Train(1)));
            else model.Forward(Pass.Train(1));
            return;
        }

        string message = Assert.Throws<ArgumentException>(() => new Model(_backend, spec, RuleSet.Of(new Backprop()), batch, 1)).Message;
        Assert.Contains($"'{norm}'", message);
        Assert.Contains("N = 1, P = 1, Q = 1", message);
        using var evaluated = Model.ForEvaluation(_backend, spec, batch, 1);
        evaluated.Forward(Pass.Evaluate(1));
    }

    [Fact]
    public void A_single_test_image_is_too_few_to_measure_alignment_with()
    {
        using var model = new Model(_backend, ModelCatalog.Create("resnet8", new MapShape(4, 4, 3), 10), RuleSet.Of(new Backprop()), 4, 1);
        ImageSet images = new(new MapShape(4, 4, 3), 10, new byte[8 * 48], new int[8]);
        var data = new DataSet("tiny", images, images.Take(1), Augmentation.None);
        Assert.Contains("one value a channel", Assert.Throws<ArgumentException>(() => new Trainer(model, data, Options() with { Batch = 4, AlignEvery = 1 })).Message);
        new Trainer(model, data, Options() with { Batch = 4 }).Run(cancel: TestContext.Current.CancellationToken);
    }

    [Fact]
    public void Warming_up_can_be_cancelled()
    {
        using var model = new Model(
            _backend, ModelCatalog.Create("mlp", Data.Train.RequireShape(), 10, new ModelOptions(Hidden: 8)), RuleSet.Of(new WeightMirror(WarmUpSteps: 10_000_000)), 16, 1);
        using var cancel = new CancellationTokenSource(TimeSpan.FromMilliseconds(100));
        TrainingResult result = new Trainer(model, Data, Options()).Run(cancel: cancel.Token);
        Assert.True(result.Cancelled);
        Assert.Empty(result.Epochs);
        Assert.InRange(result.Seconds, 0, 20);
    }

    [Fact]
    public void Weights_that_the_last_update_made_infinite_are_seen_at_the_end_of_the_epoch()
    {
        using Model model = NewModel("mlp", Data.Train.RequireShape());
        // The loss of the only step is that of the initial weights, and finite. The update is the decay, 1e38 * w, times 1e3.
        var trainer = new Trainer(model, Data, Options() with { Batch = 64, WeightDecay = 1e38f, Schedule = new LearningRateSchedule(ScheduleKind.Constant, 1e3f) });
        var e = Assert.Throws<NonFiniteLossException>(() => trainer.Run(cancel: TestContext.Current.CancellationToken));
        Assert.Equal((1, 0), (e.Epoch, e.Step));
        Assert.Contains("after the update", e.Place);
        Assert.True(double.IsFinite(e.Loss));
        Assert.Empty(e.Result!.Epochs);
    }

    [Theory]
    [InlineData("bp")]
    [InlineData("wm")]
    [InlineData("kp")]
    [InlineData("dfa")]
    public void Every_tensor_that_a_checkpoint_holds_is_searched_for_values_that_are_not_finite(string rule)
    {
        using Model model = TrainerTests.NewModel(_backend, rule);
        Assert.Null(model.FirstTensorNotFinite());
        foreach ((string name, _, DeviceBuffer buffer) in model.TensorsAndFeedback())
        {
            float[] values = _backend.Download(buffer);
            foreach (float wrong in (float[])[float.NaN, float.NegativeInfinity])
            {
                _backend.Upload<float>([.. values[..^1], wrong], buffer);
                Assert.Equal(name, model.FirstTensorNotFinite());
            }

            _backend.Upload<float>(values, buffer);
        }

        // The largest numbers are finite.
        _backend.Fill(model.Layers[0].Weight.Value, float.MaxValue);
        Assert.Null(model.FirstTensorNotFinite());
    }

    private Model NewModel(string name, MapShape images) =>
        new(_backend, ModelCatalog.Create(name, images, 10, new ModelOptions(Hidden: name == "mlp" ? 8 : 0)), RuleSet.Of(new Backprop()), 64, 1);

    private static TrainingOptions Options() => new() { Epochs = 1, Batch = 16, AlignEvery = 0 };
}
