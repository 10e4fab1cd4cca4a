using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;
using FeedbackKernels.Rules;
using FeedbackKernels.State;
using FeedbackKernels.Training;

namespace FeedbackKernels.Tests.Training;

/// <summary>Several processes, here threads, that train one model together.</summary>
public sealed class SharedTrainingTests
{
    private const int Batch = 12, Images = 100;

    // 17 test images: with batches of 4 in each of several processes, the last one is smaller than their number.
    private static readonly DataSet Data = DataSet.Open("synthetic", 3, Images, 17);

    public static TheoryData<string> Rules => [.. RuleCatalog.All.Select(entry => entry.Name)];

    /// <summary>
    /// The sums of one process and of several differ by their order alone. A gradient is a mean over n = 12 images and, in a convolution of
    /// LeNet, 28 * 28 positions; its error is at most n * 2^-24 of the sum of absolute values (Higham 2002, eq. 4.4), in the mean about
    /// sqrt(n) * 2^-24 = 6e-6 for n = 9408. Eight steps add such errors, each relative to the step itself. What the test finds is 1e-6 to 4e-5 of
    /// the distance that the weights move; a gradient of one process alone, or weighted wrongly, is off by a tenth and more.
    /// </summary>
    [Theory, MemberData(nameof(Rules))]
    public void Two_and_three_processes_learn_what_one_learns(string rule)
    {
        foreach (string model in (string[])["mlp", "lenet"])
        {
            Trained one = Train(1, model, rule)[0];
            double moved = Distance(one.Weights, one.Initial);
            Assert.True(moved > 0.01, $"{model} moved by {moved}");
            foreach (int processes in (int[])[2, 3])
            {
                Trained[] all = Train(processes, model, rule);
                Assert.All(all, process => Assert.Equal(all[0].Weights, process.Weights));
                double apart = Distance(one.Weights, all[0].Weights);
                Assert.True(apart < 3e-4 * moved, $"{model}, {processes} processes: {apart / moved} of {moved}");
                Assert.All(all, process => Assert.Equal(one.Result.Epochs[0].TrainLoss, process.Result.Epochs[0].TrainLoss, 1e-4));
                Assert.All(all, process => Assert.Equal(one.Result.Epochs[0].TrainTop1, process.Result.Epochs[0].TrainTop1, 0.011));
            }
        }
    }

    [Theory]
    // 10 images for 3 processes: 3, 3 and 4 of them.
    [InlineData(3, 10, 1)]
    [InlineData(2, 12, 2)]
    [InlineData(4, 12, 3)]
    public void Unequal_shares_and_parts_give_the_gradient_of_the_mean_over_all_images(int processes, int batch, int parts)
    {
        TrainingOptions options = Options with { Batch = batch, Accumulate = parts, ClipNorm = 0.5f, Ema = 0.9f, NoisePretraining = 2, LabelSmoothing = 0.1f };
        Trained one = Train(1, "lenet", "bp", options)[0];
        Trained[] all = Train(processes, "lenet", "bp", options);
        Assert.True(Distance(one.Weights, all[0].Weights) < 3e-4 * Distance(one.Weights, one.Initial));
        Assert.All(all, process => Assert.Equal(all[0].State, process.State));
    }

    [Fact]
    public void The_mirror_takes_the_samples_of_the_whole_batch()
    {
        // Four samples for each image below batch 16: 48 of one process with 12 images, and of two with 6 each.
        Trained one = Train(1, "mlp", "weight-mirror", images: Batch)[0];
        Assert.Equal(one.Positions, Train(2, "mlp", "weight-mirror", images: Batch)[1].Positions);
        Assert.Contains(one.Positions, position => position > 0);
    }

    /// <summary>Two processes with 16 samples each take the 32 rows that one takes: in a cycle that corrects B, in one that a step takes as a
    /// whole, and in averages.</summary>
    [Theory]
    [InlineData(16, MirrorUpdate.Correct, NoiseKind.Balanced)]
    [InlineData(5, MirrorUpdate.Correct, NoiseKind.Balanced)]
    [InlineData(1000, MirrorUpdate.Correct, NoiseKind.Balanced)]
    [InlineData(16, MirrorUpdate.Average, NoiseKind.Balanced)]
    [InlineData(16, MirrorUpdate.Average, NoiseKind.Gaussian)]
    public void Processes_divide_the_samples_of_the_mirror(int samples, MirrorUpdate update, NoiseKind noise)
    {
        // Without steps before training, B shows what the samples of the steps have brought.
        var rule = new WeightMirror(samples, noise, Update: update, WarmUpSteps: 0);
        // Slowly: a B that is still random would let rounding grow.
        TrainingOptions options = Options with { Schedule = new LearningRateSchedule(ScheduleKind.Constant, 0.003f) };
        foreach (int processes in (int[])[2, 3])
        {
            Trained one = Train(1, rule with { Samples = samples * processes }, options, split: false)[0];
            Trained[] all = Train(processes, rule, options, split: true);
            Assert.All(all, process => Assert.Equal(all[0].State, process.State));
            Assert.Equal(one.Positions, all[0].Positions);
            double moved = Distance(one.Weights, one.Initial), apart = Distance(one.Weights, all[0].Weights);
            double alone = Distance(one.Weights, Train(processes, rule, options, split: false)[0].Weights);
            Assert.True(apart < 3e-4 * moved, $"{processes} processes: {apart} of {moved}");
            // A step that takes a whole cycle anyway learns no more from more samples.
            if (samples < 1000) Assert.True(alone > 0.01 * moved, $"without division {alone} of {moved}");
        }
    }

    [Fact]
    public void Running_statistics_are_means_over_the_processes_and_equal_in_all()
    {
        Trained one = Train(1, "resnet8", "bp", images: Batch)[0];
        Trained[] two = Train(2, "resnet8", "bp", images: Batch);
        Assert.Equal(two[0].State, two[1].State);
        // The first norm sees the same maps: the mean of two means over 6 images is that over 12. The means of the variances lack the
        // difference between the means.
        Assert.All(one.RunningMean.Zip(two[0].RunningMean), pair => Assert.Equal(pair.First, pair.Second, 1e-6f));
        Assert.Contains(one.RunningMean, mean => Math.Abs(mean) > 1e-3);
        Assert.NotEqual(one.RunningVariance, two[0].RunningVariance);
        Assert.All(one.RunningVariance.Zip(two[0].RunningVariance), pair => Assert.Equal(pair.First, pair.Second, 0.02f));
    }

    /// <summary>With the statistics of all images, forward and backward pass are those of one process up to the order of sums, which statistics
    /// in single precision make somewhat larger than in nets without norms. Without, the gradients of six images and of twelve differ.</summary>
    [Theory]
    [InlineData(NormOrder.ConvBnRelu, 2)]
    [InlineData(NormOrder.ConvBnRelu, 3)]
    [InlineData(NormOrder.ConvReluBn, 2)]
    public void Synchronised_batch_norms_are_those_of_one_process(NormOrder order, int processes)
    {
        // 13 images: unequal shares.
        TrainingOptions options = Options with { Batch = 13, NoisePretraining = 1 };
        Trained one = Train(1, "resnet8", "bp", options, images: 3 * 13, order)[0];
        Trained[] all = Train(processes, "resnet8", "bp", options with { SyncBatchNorm = true }, images: 3 * 13, order);
        Assert.All(all, process => Assert.Equal(all[0].State, process.State));
        double moved = Distance(one.Weights, one.Initial), synchronised = Distance(one.Weights, all[0].Weights);
        double local = Distance(one.Weights, Train(processes, "resnet8", "bp", options, images: 3 * 13, order)[0].Weights);
        // A ReLU whose input is almost 0 may be on in one and off in the other.
        Assert.True(synchronised < 0.05 * local && local > 0.05 * moved, $"moved by {moved}, apart by {synchronised}, without synchronised norms by {local}");
        Assert.All(one.RunningVariance.Zip(all[0].RunningVariance), pair => Assert.Equal(pair.First, pair.Second, 1e-3f * pair.First));
        Assert.All(one.RunningMean.Zip(all[0].RunningMean), pair => Assert.Equal(pair.First, pair.Second, 1e-3f));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(5)]
    public void Each_test_image_is_evaluated_once(int processes)
    {
        Evaluation[] found = ThreadGroup.Run(processes, group =>
        {
            using var backend = new CpuBackend(1);
            using Model model = NewModel(backend, "lenet", "bp", batch: 4, group.Size);
            var evaluator = new Evaluator(model);
            return evaluator.Run(Data.Test, Preprocessing.Of(Data, NormalisationKind.Standard), group: group, cancel: TestContext.Current.CancellationToken);
        });
        Assert.All(found, f => Assert.Equal(17, f.Images));
        Evaluation alone = ThreadGroup.Run(1, _ =>
        {
            using var backend = new CpuBackend(1);
            using Model model = NewModel(backend, "lenet", "bp", batch: 17, 1);
            return new Evaluator(model).Run(Data.Test, Preprocessing.Of(Data, NormalisationKind.Standard), cancel: TestContext.Current.CancellationToken);
        })[0];
        Assert.All(found, f => Assert.Equal((alone.Top1, alone.Top5), (f.Top1, f.Top5)));
        Assert.All(found, f => Assert.Equal(alone.Loss, f.Loss, 1e-5));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    public void A_process_that_is_asked_to_stop_stops_all_after_the_same_step(int asked)
    {
        int[] steps = ThreadGroup.Run(2, group =>
        {
            using var backend = new CpuBackend(1);
            using Model model = NewModel(backend, "mlp", "bp", Batch, group.Size);
            using var trainer = new Trainer(model, Data, Options, group);
            using var cancel = new CancellationTokenSource();
            TrainingResult result = trainer.Run(new AtStep(3, () => { if (group.Rank == asked) cancel.Cancel(); }), cancel.Token);
            Assert.True(result.Cancelled);
            Assert.True(trainer.IsBetweenSteps);
            return trainer.Step;
        });
        // The third step asks, the fourth says so to the others.
        Assert.Equal([4, 4], steps);
    }

    [Fact]
    public void A_loss_that_is_not_finite_in_one_process_ends_all_and_its_place_is_known_to_all()
    {
        // The second process gets a model whose first activation overflows.
        string[] places = ThreadGroup.Run(2, group =>
        {
            using var backend = new CpuBackend(1);
            using Model model = NewModel(backend, "mlp", "bp", Batch, group.Size);
            using var trainer = new Trainer(model, Data, Options, group);
            if (group.Rank == 1)
            {
                float[] weights = backend.Download(model.Layers[1].Weight.Value);
                weights[3] = float.NaN;
                backend.Upload<float>(weights, model.Layers[1].Weight.Value);
            }

            return Assert.Throws<NonFiniteLossException>(() => trainer.Run(cancel: TestContext.Current.CancellationToken)).Place;
        });
        Assert.Equal(places[0], places[1]);
        Assert.Contains("weights of fc2 in process 1", places[0]);
    }

    [Fact]
    public void Processes_whose_weights_differ_are_found_out()
    {
        var e = Assert.Throws<AggregateException>(() => ThreadGroup.Run(3, group =>
        {
            using var backend = new CpuBackend(1);
            using Model model = NewModel(backend, "mlp", "bp", Batch, group.Size);
            using var trainer = new Trainer(model, Data, Options, group);
            if (group.Rank == 2) backend.Fill(model.Layers[1].Bias!.Value, 1e-7f);
            return trainer.Run(cancel: TestContext.Current.CancellationToken);
        }));
        Assert.All(e.InnerExceptions, inner => Assert.Contains("process 2 has another fc2.bias than process 0", Assert.IsType<CommunicationException>(inner).Message));
    }

    [Fact]
    public void All_processes_begin_with_the_state_of_the_first()
    {
        Trained[] all = ThreadGroup.Run(2, group =>
        {
            using var backend = new CpuBackend(1);
            using Model model = NewModel(backend, "resnet8", "weight-mirror", Batch, group.Size, seed: (ulong)(1 + group.Rank));
            using var trainer = new Trainer(model, Data, Options, group);
            StateAgreement.Spread(group, trainer, backend);
            return Trained.Of(trainer, model, default!, []);
        });
        Assert.Equal(all[0].State, all[1].State);
        Assert.Equal(all[0].Weights, all[1].Weights);
    }

    [Fact]
    public void A_batch_that_is_smaller_than_the_number_of_processes_is_refused()
    {
        var e = Assert.Throws<AggregateException>(() => Train(3, "mlp", "bp", Options with { Batch = 2 }));
        Assert.Contains("a batch of 2 images for 3 processes", e.InnerExceptions[0].Message);
    }

    [Fact]
    public void The_first_process_measures_the_alignment_and_it_is_that_of_one_process()
    {
        Trained one = Train(1, "mlp", "kp", Options with { AlignEvery = 1 })[0];
        Trained[] two = Train(2, "mlp", "kp", Options with { AlignEvery = 1 });
        Assert.Equal(one.Result.Alignment.Count, two[0].Result.Alignment.Count);
        Assert.All(one.Result.Alignment.Zip(two[0].Result.Alignment), pair => Assert.Equal(pair.First.DeltaAngle, pair.Second.DeltaAngle, 0.2));
        Assert.Empty(two[1].Result.Alignment);
    }

    private static TrainingOptions Options => TrainerTests.Options(1) with { Batch = Batch, AlignEvery = 0, Augmentation = Augmentation.CropFlip };

    private static Trained[] Train(int processes, string model, string rule, TrainingOptions? options = null, int images = Images, NormOrder order = default) => ThreadGroup.Run(processes, group =>
    {
        TrainingOptions used = options ?? Options;
        using var backend = new CpuBackend(1);
        using Model made = NewModel(backend, model, rule, used.PartBatch, group.Size, order: order);
        using var trainer = new Trainer(made, Data with { Train = Data.Train.Take(images) }, used, group);
        float[] initial = Weights(made);
        TrainingResult result = trainer.Run(cancel: TestContext.Current.CancellationToken);
        return Trained.Of(trainer, made, result, initial);
    });

    private static Trained[] Train(int processes, WeightMirror rule, TrainingOptions options, bool split) => ThreadGroup.Run(processes, group =>
    {
        using var backend = new CpuBackend(1);
        ModelSpec spec = ModelCatalog.Create("lenet", Data.Train.RequireShape(), 10);
        using var model = new Model(backend, spec, RuleSet.Of(rule), Communicator.LargestShareOf(Batch, group.Size), seed: 4, Batch, split ? group : null);
        using var trainer = new Trainer(model, Data, options, group);
        float[] initial = Weights(model);
        return Trained.Of(trainer, model, trainer.Run(cancel: TestContext.Current.CancellationToken), initial);
    });

    private static Model NewModel(Backend backend, string model, string rule, int batch, int processes, ulong seed = 4, NormOrder order = default) => new(
        backend, ModelCatalog.Create(model, Data.Train.RequireShape(), 10, new ModelOptions(order)), RuleSet.Of(RuleCatalog.Find(rule)!.Create()),
        Communicator.LargestShareOf(batch, processes), seed, batch);

    private static float[] Weights(Model model) => [.. model.TensorsAndFeedback().SelectMany(t => model.Backend.Download(t.Buffer))];

    private static double Distance(float[] a, float[] b) => Math.Sqrt(a.Zip(b, (x, y) => Math.Pow((double)x - y, 2)).Sum());

    private sealed record Trained(float[] Weights, float[] Initial, string State, float[] RunningMean, float[] RunningVariance, long[] Positions, TrainingResult Result)
    {
        public static Trained Of(Trainer trainer, Model model, TrainingResult result, float[] initial)
        {
            var reader = new Reader(model.Backend);
            trainer.Walk(reader);
            float[] Statistics(Func<FeedbackKernels.Layers.BatchNorm, DeviceBuffer> which) => model.Norms.Count == 0 ? [] : model.Backend.Download(which(model.Norms[0]));
            return new Trained(
                SharedTrainingTests.Weights(model), initial, reader.Text, Statistics(n => n.RunningMean), Statistics(n => n.RunningVariance), [.. reader.Positions], result);
        }
    }

    /// <summary>The whole state as text, but for times and measurements.</summary>
    private sealed class Reader(Backend backend) : IStateWalker
    {
        private readonly System.Text.StringBuilder _text = new();

        public string Text => _text.ToString();

        public List<long> Positions { get; } = [];

        public bool Replaces => false;

        public void Tensor(string name, IReadOnlyList<int> sizes, DeviceBuffer buffer) => _text.AppendLine($"{name} {string.Join(' ', backend.Download(buffer).Select(BitConverter.SingleToInt32Bits))}");

        public void Scalar(string name, ref long value)
        {
            _text.AppendLine($"{name} {value}");
            if (name.EndsWith("mirror_position", StringComparison.Ordinal)) Positions.Add(value);
        }

        public void Scalar(string name, ref double value)
        {
            if (name != "trainer.seconds") _text.AppendLine($"{name} {value:R}");
        }

        void IStateWalker.Text(string name, ref string value)
        {
        }
    }

    private sealed class AtStep(int step, Action act) : ITrainingObserver
    {
        private int _steps;

        public void OnStep(in StepReport report)
        {
            if (++_steps == step) act();
        }
    }
}
