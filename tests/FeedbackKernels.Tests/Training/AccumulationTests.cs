using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;
using FeedbackKernels.Rules;
using FeedbackKernels.Storage;
using FeedbackKernels.Training;

namespace FeedbackKernels.Tests.Training;

/// <summary>Gradient accumulation and the average of the weights, by hand.</summary>
public sealed class AccumulationTests : IDisposable
{
    private readonly CpuBackend _backend = new(2);
    private readonly string _file = Path.GetTempFileName();

    public void Dispose()
    {
        _backend.Dispose();
        File.Delete(_file);
    }

    [Theory]
    [InlineData(2)]
    [InlineData(4)]
    public void A_step_in_parts_is_the_step_of_the_whole_batch(int parts)
    {
        // LeNet has no batch norm. 100 images: three steps, and parts that make no fourth.
        DataSet data = DataSet.Open("synthetic", 3, 100, 16);
        (float[] whole, TrainingResult one) = Train("lenet", data, parts: 1);
        (float[] inParts, TrainingResult many) = Train("lenet", data, parts);
        float largest = whole.Max(Math.Abs);
        Assert.All(whole.Zip(inParts), pair => Assert.Equal(pair.First, pair.Second, 2e-5f * largest));
        // Whether steps were left out would show: an untrained model is far away.
        using Model initial = New("lenet", data, 32);
        Assert.Contains(whole.Zip(Weights(initial)), pair => Math.Abs(pair.First - pair.Second) > 0.01f * largest);
        Assert.Equal(one.Epochs.Select(e => e.Step), many.Epochs.Select(e => e.Step));
        Assert.Equal(3, one.Epochs[0].Step);
        Assert.All(one.Epochs.Zip(many.Epochs), pair =>
        {
            Assert.Equal(pair.First.LearningRate, pair.Second.LearningRate);
            Assert.Equal(pair.First.TrainLoss, pair.Second.TrainLoss, 1e-4);
            Assert.Equal(pair.First.TestLoss, pair.Second.TestLoss, 1e-3);
        });
    }

    [Theory]
    [InlineData(2)]
    [InlineData(3)]
    public void The_gradient_is_the_mean_of_those_of_the_parts_with_batch_norm_in_each(int parts)
    {
        DataSet data = DataSet.Open("synthetic", 3, 24, 16);
        using Model model = New("resnet8", data, 8);
        using var sum = new GradientSum(model, parts);
        DeviceBuffer gradients = model.Weights.Gradients!;
        // Twice, because nothing of a step may be left in the next.
        for (int step = 0; step < 2; step++)
        {
            float[] expected = new float[gradients.Length];
            for (int part = 0; part < parts; part++)
            {
                Load(model, data, first: 8 * part, count: 8);
                model.Forward(Pass.Train(8));
                model.Loss(8, 0, gradient: true);
                model.Backward(8);
                float[] own = _backend.Download(gradients);
                for (int i = 0; i < own.Length; i++) expected[i] += own[i] / parts;
                sum.AddPart();
            }

            float[] found = _backend.Download(gradients);
            float scale = expected.Max(Math.Abs);
            Assert.True(scale > 0);
            Assert.All(expected.Zip(found), pair => Assert.Equal(pair.First, pair.Second, 1e-6f * scale));
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void The_average_follows_its_formula_counts_steps_and_is_what_is_tested(int parts)
    {
        DataSet data = DataSet.Open("synthetic", 3, 4 * 16, 16);
        using Model model = New("resnet8", data, 16 / parts);
        TrainingOptions options = TrainerTests.Options(1) with { Batch = 16, Accumulate = parts, Ema = 0.2f };
        using var trainer = new Trainer(model, data, options);
        var average = new List<double[]>();
        var observer = new EachStep(() => average.Add(Next(average.Count == 0 ? null : average[^1], average.Count, TensorsOf(model))));
        TrainingResult result = trainer.Run(observer, TestContext.Current.CancellationToken);
        Assert.Equal(4, average.Count);
        float[] raw = TensorsOf(model), found = trainer.WithAverage(() => TensorsOf(model));
        Assert.All(average[^1].Zip(found), pair => Assert.Equal(pair.First, pair.Second, 1e-5 * Math.Max(1, Math.Abs(pair.First))));
        Assert.Contains(raw.Zip(found), pair => Math.Abs(pair.First - pair.Second) > 1e-3);
        // The weights themselves come back with all bits.
        Assert.Equal(raw, TensorsOf(model));
        Evaluation test = trainer.WithAverage(() => new Evaluator(model).Run(data.Test, trainer.Preprocessing, cancel: TestContext.Current.CancellationToken));
        Assert.Equal((result.Epochs[0].TestLoss, result.Epochs[0].TestTop1), (test.Loss, test.Top1));
        Assert.NotEqual(test.Loss, new Evaluator(model).Run(data.Test, trainer.Preprocessing, cancel: TestContext.Current.CancellationToken).Loss);

        // The decay is 0 at first, then 2/11, then 0.2 instead of 3/12.
        static double[] Next(double[]? before, int step, float[] weights)
        {
            double decay = step == 0 ? 0 : Math.Min(0.2, (1.0 + step) / (10 + step));
            return [.. weights.Select((w, i) => decay * (before?[i] ?? 0) + (1 - decay) * w)];
        }
    }

    [Fact]
    public void Average_and_parts_go_on_exactly()
    {
        DataSet data = DataSet.Open("synthetic", 3, 5 * 16 + 9, 16);
        Run(stopAfter: int.MaxValue, from: false, $"{_file}.ended");
        Run(stopAfter: 7, from: false, _file);
        Run(stopAfter: int.MaxValue, from: true, $"{_file}.resumed");
        Assert.Equal(CheckpointContent.Of($"{_file}.ended"), CheckpointContent.Of($"{_file}.resumed"));
        Assert.Contains(CheckpointContent.Of(_file), line => line.StartsWith("conv1.weight.average: ", StringComparison.Ordinal));
        File.Delete($"{_file}.ended");
        File.Delete($"{_file}.resumed");

        void Run(int stopAfter, bool from, string to)
        {
            using Model model = New("resnet8", data, 8, new WeightMirror(Samples: 5, WarmUpSteps: 2));
            using var trainer = new Trainer(model, data, TrainerTests.Options(2) with { Batch = 16, Accumulate = 2, Ema = 0.9f, AlignEvery = 1 });
            if (from) Checkpoint.Load(trainer, _backend, _file);
            using var stop = new CancellationTokenSource();
            int steps = 0;
            trainer.Run(new EachStep(() =>
            {
                if (++steps == stopAfter) stop.Cancel();
            }), stop.Token);
            Assert.Equal(stopAfter < int.MaxValue ? stopAfter : 10, trainer.Step);
            Checkpoint.Save(trainer, _backend, to);
        }
    }

    [Fact]
    public void Parts_divide_the_batch()
    {
        string message = Assert.Throws<ArgumentOutOfRangeException>(() => new TrainingOptions { Batch = 32, Accumulate = 3 }.Validate()).Message;
        Assert.Contains("wanted a divisor of the batch, 32", message);
    }

    [Fact]
    public void The_flipped_test_takes_the_mean_of_the_logits_of_both_images()
    {
        DataSet data = DataSet.Open("synthetic", 3, 16, 12);
        using Model model = New("lenet", data, 16);
        Preprocessing preprocessing = Preprocessing.Of(data, NormalisationKind.Standard);
        ImageSet images = (ImageSet)data.Test;
        float[] plain = Logits(images, flip: false), mirrored = Logits(Mirrored(images), flip: false), mean = Logits(images, flip: true);
        Assert.NotEqual(plain, mirrored);
        Assert.Equal(plain.Zip(mirrored, (a, b) => (a + b) / 2), mean);

        float[] Logits(ImageSet source, bool flip)
        {
            Assert.Equal(12, new Evaluator(model, flip).Run(source, preprocessing, cancel: TestContext.Current.CancellationToken).Images);
            var logits = new float[12 * 10];
            model.ReadLogits(logits);
            return logits;
        }

        static ImageSet Mirrored(ImageSet images)
        {
            MapShape shape = images.Shape;
            byte[] pixels = [.. images.Pixels];
            for (int row = 0; row < pixels.Length / (shape.W * shape.C); row++)
            {
                for (int x = 0; x < shape.W; x++)
                {
                    for (int c = 0; c < shape.C; c++) pixels[(row * shape.W + x) * shape.C + c] = images.Pixels[(row * shape.W + shape.W - 1 - x) * shape.C + c];
                }
            }

            return new ImageSet(shape, 10, pixels, [.. Enumerable.Range(0, images.Count).Select(images.Label)]);
        }
    }

    private (float[] Weights, TrainingResult Result) Train(string name, DataSet data, int parts)
    {
        using Model model = New(name, data, 32 / parts);
        using var trainer = new Trainer(model, data, TrainerTests.Options(2) with { Accumulate = parts });
        TrainingResult result = trainer.Run(cancel: TestContext.Current.CancellationToken);
        return (Weights(model), result);
    }

    private Model New(string name, DataSet data, int batch, FeedbackRule? rule = null) =>
        new(_backend, ModelCatalog.Create(name, data.Train.RequireShape(), 10), RuleSet.Of(rule ?? new Backprop()), batch, seed: 4);

    private float[] Weights(Model model) => [.. model.Parameters.SelectMany(p => _backend.Download(p.Value))];

    private float[] TensorsOf(Model model) => [.. model.Tensors().SelectMany(t => _backend.Download(t.Buffer))];

    private static void Load(Model model, DataSet data, int first, int count)
    {
        int length = data.Train.RequireShape().Length;
        var pixels = new byte[count * length];
        data.Train.Read([.. Enumerable.Range(first, count)], pixels);
        model.Load([.. pixels.Select(p => p / 255f)], [.. Enumerable.Range(first, count).Select(data.Train.Label)]);
    }

    private sealed class EachStep(Action action) : ITrainingObserver
    {
        public void OnStep(in StepReport report) => action();
    }
}
