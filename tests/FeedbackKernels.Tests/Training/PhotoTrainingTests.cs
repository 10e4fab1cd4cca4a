using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Models;
using FeedbackKernels.Storage;
using FeedbackKernels.Tests.Data;
using FeedbackKernels.Training;

namespace FeedbackKernels.Tests.Training;

/// <summary>Training on images of several sizes: progressive resizing, test images of another size, and resuming in the midst of it.</summary>
public sealed class PhotoTrainingTests : IDisposable
{
    private const int Batch = 16, StepsPerEpoch = 4;

    private static readonly DataSet Data = new("photos", SmallPhotos.InMemory(Batch * StepsPerEpoch), SmallPhotos.InMemory(24, stream: 2), Augmentation.CropFlip);

    private static readonly ImageOptions Sizes = new()
    {
        TrainSize = 16,
        TestSize = 28,
        TestResize = 30,
        CropScaleMin = 0.4,
        ResizeSchedule = [new SizeChange(2, 24), new SizeChange(3, 20)],
    };

    private readonly string _folder = Directory.CreateTempSubdirectory("feedback-photos").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [InlineData("wm", StepsPerEpoch - 1)]
    [InlineData("wm", StepsPerEpoch)]
    [InlineData("kp", StepsPerEpoch + 2)]
    [InlineData("kp", 2 * StepsPerEpoch)]
    [InlineData("bp", 2 * StepsPerEpoch + 1)]
    public void A_run_whose_images_change_their_size_goes_on_from_any_step(string rule, int stop)
    {
        string whole = Train(rule, "whole", threads: 1), stopped = Train(rule, "stopped", threads: 1, stopAfter: stop);
        Assert.NotEqual(CheckpointContent.Of(whole), CheckpointContent.Of(stopped));
        // With other numbers of threads, of the feed and of the backend.
        Assert.Equal(CheckpointContent.Of(whole), CheckpointContent.Of(Train(rule, "resumed", threads: 3, from: stopped)));
    }

    [Fact]
    public void Every_epoch_has_its_size_and_the_test_images_theirs()
    {
        using var backend = new CpuBackend(2);
        using Model model = NewModel(backend, "bp");
        using var trainer = new Trainer(model, Data, Options());
        var seen = new Watcher(model);
        TrainingResult result = trainer.Run(seen, TestContext.Current.CancellationToken);
        Assert.Equal([16, 24, 20], seen.TrainSizes.Distinct());
        Assert.Equal((new MapShape(28, 28, 3), 30), (trainer.Preprocessing.Input, trainer.Preprocessing.Resize));
        // What is evaluated with the saved preprocessing is what the run reported.
        Evaluation again = new Evaluator(model).Run(Data.Test, trainer.Preprocessing, cancel: TestContext.Current.CancellationToken);
        Assert.Equal((result.Epochs[^1].TestLoss, result.Epochs[^1].TestTop1), (again.Loss, again.Top1));
        Evaluation smaller = new Evaluator(model).Run(Data.Test, trainer.Preprocessing.WithSize(20, 0), cancel: TestContext.Current.CancellationToken);
        Assert.NotEqual(again.Loss, smaller.Loss);
        Assert.Equal((new MapShape(20, 20, 3), 23), (trainer.Preprocessing.WithSize(20, 0).Input, trainer.Preprocessing.WithSize(20, 0).Resize));
    }

    [Fact]
    public void The_preprocessing_is_stored_with_the_model()
    {
        using var backend = new CpuBackend(1);
        using Model model = NewModel(backend, "bp");
        using var trainer = new Trainer(model, Data, Options());
        string path = Path.Combine(_folder, "model.safetensors");
        StoredModel.Save(model, path, trainer.Preprocessing);
        using StoredModel stored = StoredModel.Open(path);
        Assert.Equal((trainer.Preprocessing.Input, 30), (stored.Preprocessing!.Input, stored.Preprocessing.Resize));
        Assert.Equal(trainer.Preprocessing.Means, stored.Preprocessing.Means);
    }

    [Fact]
    public void What_does_not_fit_is_refused_before_the_first_step()
    {
        using var backend = new CpuBackend(1);
        using Model model = NewModel(backend, "bp");
        Refused("16x16", "24x24", model, Sizes with { TrainSize = 24 });
        Refused("epochs", "4", model, Sizes with { ResizeSchedule = [new SizeChange(4, 24)] });
        using Model direct = NewModel(backend, "dfa");
        Refused("direct-feedback-alignment", "24x24x3", direct, Sizes);
        using var lenet = new Model(backend, ModelCatalog.Create("lenet", new MapShape(32, 32, 3), SmallPhotos.Classes), TrainerTests.RulesOf("bp"), Batch, seed: 4);
        Refused("lenet", "28x28x3", lenet, new ImageOptions { TestSize = 28 });

        static void Refused(string first, string second, Model model, ImageOptions images)
        {
            string message = Assert.ThrowsAny<ArgumentException>(() => new Trainer(model, Data, Options() with { Images = images })).Message;
            Assert.Contains(first, message);
            Assert.Contains(second, message);
        }
    }

    [Fact]
    public void Mean_and_deviation_are_those_of_all_pixels_of_the_sample()
    {
        EncodedImages source = SmallPhotos.InMemory(10, extension: "png");
        var pixels = new List<byte>();
        for (int i = 0; i < source.Count; i++)
        {
            var encoded = new byte[source.Length(i)];
            source.Read([i], encoded);
            using SkiaSharp.SKBitmap bitmap = SkiaSharp.SKBitmap.Decode(encoded);
            foreach (SkiaSharp.SKColor colour in bitmap.Pixels) pixels.AddRange([colour.Red, colour.Green, colour.Blue]);
        }

        PixelStatistics found = PixelStatistics.Of(source);
        for (int c = 0; c < 3; c++)
        {
            double[] channel = [.. pixels.Where((_, i) => i % 3 == c).Select(p => p / 255.0)];
            double mean = channel.Average();
            Assert.Equal(mean, found.Means[c], 1e-9);
            Assert.Equal(Math.Sqrt(channel.Average(p => (p - mean) * (p - mean))), found.Deviations[c], 1e-9);
        }

        Assert.NotEqual(found.Means[0], found.Means[2], 1e-3);
        // More images than the sample: every second one.
        EncodedImages many = SmallPhotos.InMemory(2 * PixelStatistics.SampleImages, extension: "ppm");
        var half = new EncodedImages([.. Enumerable.Range(0, PixelStatistics.SampleImages).Select(i => (Bytes(many, 2 * i), 0))]);
        Assert.Equal(PixelStatistics.Of(half).Means, PixelStatistics.Of(many).Means);
        Assert.Equal(Normalisation.Of(many, NormalisationKind.Standard).Means, PixelStatistics.Of(many).Means);
    }

    [Fact]
    public void A_part_of_images_sorted_by_class_is_taken_from_all_classes()
    {
        var sorted = new Grouped(SmallPhotos.InMemory(40));
        IImageSource part = sorted.Take(8);
        Assert.Equal([0, 5, 10, 15, 20, 25, 30, 35], Enumerable.Range(0, 8).Select(i => int.Parse(part.NameOf(i))));
        Assert.Equal(Enumerable.Range(0, 8).Select(i => sorted.Label(5 * i)), Enumerable.Range(0, 8).Select(part.Label));
        Assert.Equal(Bytes(sorted, 35), Bytes(part, 7));
        Assert.True(part.IsGrouped);
        Assert.Throws<ArgumentOutOfRangeException>(() => part.Label(8));
        Assert.Equal([0, 1, 2], Enumerable.Range(0, 3).Select(i => SmallPhotos.InMemory(40).Take(3).NameOf(i)).Select(name => int.Parse(name.Split(' ')[1])));
    }

    private string Train(string rule, string name, int threads, int stopAfter = int.MaxValue, string? from = null)
    {
        using var backend = new CpuBackend(threads);
        using Model model = NewModel(backend, rule);
        using var trainer = new Trainer(model, Data, Options() with { Feed = new FeedOptions { Threads = threads } });
        if (from is not null) Checkpoint.Load(trainer, backend, from);
        using var cancel = new CancellationTokenSource();
        trainer.Run(new Stopper(stopAfter, cancel), cancel.Token);
        string path = Path.Combine(_folder, $"{name}-{rule}");
        Checkpoint.Save(trainer, backend, path);
        return path;
    }

    private static Model NewModel(Backend backend, string rule) =>
        new(backend, ModelCatalog.Create("resnet8", new MapShape(16, 16, 3), SmallPhotos.Classes), TrainerTests.RulesOf(rule), Batch, seed: 4);

    private static TrainingOptions Options() => new()
    {
        Epochs = 3,
        Batch = Batch,
        // Within an epoch, the model is planned for the size of the epoch again afterwards.
        AlignEvery = 0.5,
        Augmentation = Augmentation.CropFlip,
        Images = Sizes,
        Schedule = new LearningRateSchedule(ScheduleKind.Cosine, 0.05f),
    };

    private static byte[] Bytes(IImageSource source, int image)
    {
        var bytes = new byte[source.Length(image)];
        source.Read([image], bytes);
        return bytes;
    }

    private sealed class Stopper(int steps, CancellationTokenSource cancel) : ITrainingObserver
    {
        private int _steps;

        public void OnStep(in StepReport report)
        {
            if (++_steps == steps) cancel.Cancel();
        }
    }

    private sealed class Watcher(Model model) : ITrainingObserver
    {
        public List<int> TrainSizes { get; } = [];

        public void OnStep(in StepReport report) => TrainSizes.Add(model.Spec.Input.H);
    }

    private sealed class Grouped(IImageSource images) : IImageSource
    {
        public int Count => images.Count;

        public int Channels => 3;

        public MapShape? Shape => null;

        public bool IsGrouped => true;

        public IReadOnlyList<string> ClassNames => images.ClassNames;

        public int Label(int index) => index * SmallPhotos.Classes / images.Count;

        public int Length(int index) => images.Length(index);

        public string NameOf(int index) => $"{index}";

        public void Read(ReadOnlySpan<int> indices, Span<byte> destination) => images.Read(indices, destination);
    }
}
