using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Models;
using FeedbackKernels.Rules;
using FeedbackKernels.Tests.Models;
using FeedbackKernels.Training;

namespace FeedbackKernels.Tests.Training;

public class TrainerTests
{
    private static readonly DataSet Data = DataSet.Open("synthetic", 3, 320, 100);

    public static TheoryData<string> Rules => ["bp", "fa", "ss", "ss-batch", "ss-fixed", "wm", "wm-full", "kp", "kp-early", "kp-closed", "dfa", "mixed"];

    [Theory, MemberData(nameof(Rules))]
    public void The_same_seed_gives_the_same_bits_for_any_number_of_threads(string rule)
    {
        float[] one = Run(rule, threads: 1), two = Run(rule, threads: 2), three = Run(rule, threads: 3), again = Run(rule, threads: 2);
        Assert.Equal(one, two);
        Assert.Equal(one, three);
        Assert.Equal(two, again);
        Assert.All(one, v => Assert.True(float.IsFinite(v)));

        static float[] Run(string rule, int threads)
        {
            using var backend = new CpuBackend(threads);
            using Model model = NewModel(backend, rule);
            new Trainer(model, Data, Options(epochs: 1)).Run(cancel: TestContext.Current.CancellationToken);
            return [.. TestNets.Weights(model), .. model.Layers.Where(l => l.Feedback?.OwnWeights is not null).SelectMany(l => backend.Download(l.Feedback!.OwnWeights!.Value))];
        }
    }

    [Theory, MemberData(nameof(Rules))]
    public void Every_rule_learns_something(string rule)
    {
        using var backend = new CpuBackend();
        using Model model = NewModel(backend, rule);
        TrainingResult result = new Trainer(model, Data, Options(epochs: 8)).Run(cancel: TestContext.Current.CancellationToken);
        Assert.Equal(8, result.Epochs.Count);
        Assert.True(result.Epochs[^1].TrainLoss < 0.95 * result.Epochs[0].TrainLoss, $"loss {result.Epochs[0].TrainLoss} to {result.Epochs[^1].TrainLoss}");
        Assert.True(result.ImagesPerSecond > 0);
    }

    [Fact]
    public void Alignment_is_measured_at_each_layer_and_is_zero_under_backprop()
    {
        using var backend = new CpuBackend();
        using Model model = NewModel(backend, "bp");
        TrainingResult result = new Trainer(model, Data, Options(epochs: 2) with { AlignEvery = 1 }).Run(cancel: TestContext.Current.CancellationToken);
        Assert.Equal(3 * model.Layers.Count, result.Alignment.Count);
        Assert.All(result.Alignment, a => Assert.Equal(0, a.DeltaAngle, 0.01));
        Assert.All(result.Alignment, a => Assert.True(double.IsNaN(a.WeightAngle)));
    }

    [Fact]
    public void Alignment_tells_aligned_from_random_feedback()
    {
        using var backend = new CpuBackend();
        foreach ((string rule, double least, double most) in ((string, double, double)[])[("wm", 0, 10), ("fa", 60, 120), ("ss", 30, 45)])
        {
            using Model model = NewModel(backend, rule);
            TrainingResult result = new Trainer(model, Data, Options(epochs: 1) with { AlignEvery = 1 }).Run(cancel: TestContext.Current.CancellationToken);
            LayerAlignment[] last = [.. result.Alignment.Where(a => a.Epoch == 1 && !double.IsNaN(a.WeightAngle))];
            Assert.Equal(model.Layers.Count - 1, last.Length);
            Assert.InRange(last.Average(a => a.WeightAngle), least, most);
            // The error of the classifier is the gradient of the loss under every rule.
            Assert.Equal(0, result.Alignment[^1].DeltaAngle, 0.01);
        }
    }

    [Fact]
    public void Measuring_does_not_change_the_run()
    {
        float[] without = Run(0);
        Assert.Equal(without, Run(1));
        Assert.Equal(without, Run(0.3));

        static float[] Run(double alignEvery)
        {
            using var backend = new CpuBackend();
            using Model model = NewModel(backend, "kp");
            new Trainer(model, Data, Options(epochs: 2) with { AlignEvery = alignEvery }).Run(cancel: TestContext.Current.CancellationToken);
            return TestNets.Weights(model);
        }
    }

    [Fact]
    public void A_loss_that_is_not_finite_stops_the_run_with_step_and_layer()
    {
        using var backend = new CpuBackend();
        using Model model = NewModel(backend, "bp");
        float[] weights = backend.Download(model.Layers[2].Weight.Value);
        weights[5] = float.NaN;
        backend.Upload<float>(weights, model.Layers[2].Weight.Value);
        var e = Assert.Throws<NonFiniteLossException>(() => new Trainer(model, Data, Options(epochs: 1)).Run(cancel: TestContext.Current.CancellationToken));
        Assert.Equal((1, 0), (e.Epoch, e.Step));
        Assert.Contains(model.Layers[2].Name, e.Place);

        using Model diverging = NewModel(backend, "bp");
        var wild = Options(epochs: 1) with { Schedule = new LearningRateSchedule(ScheduleKind.Constant, 1e30f) };
        Assert.True(Assert.Throws<NonFiniteLossException>(() => new Trainer(diverging, Data, wild).Run(cancel: TestContext.Current.CancellationToken)).Step > 0);
    }

    [Fact]
    public void Cancelling_finishes_the_step_and_returns_what_there_is()
    {
        using var backend = new CpuBackend();
        using Model model = NewModel(backend, "bp");
        using var cancel = new CancellationTokenSource();
        var observer = new CancelAt(cancel, epoch: 2, step: 3);
        TrainingResult result = new Trainer(model, Data, Options(epochs: 5)).Run(observer, cancel.Token);
        Assert.True(result.Cancelled);
        Assert.Single(result.Epochs);
        Assert.Equal((2, 3), observer.Last);
    }

    [Fact]
    public void Clipping_limits_the_norm_of_all_gradients_together()
    {
        using var backend = new CpuBackend();
        using Model model = NewModel(backend, "bp");
        var pixels = new float[8 * Data.Train.RequireShape().Length];
        new RandomKey(1, RandomPurpose.User).FillGaussian(pixels, 1);
        model.Load(pixels, [.. Enumerable.Range(0, 8).Select(i => i % TestNets.Classes)]);
        TestNets.Step(model, 8);
        float[] before = TestNets.Weights(model);
        new Sgd(model, Options(1) with { ClipNorm = 0.01f, Momentum = 0, Nesterov = false, WeightDecay = 0 }).Update(0, 1);
        double moved = Math.Sqrt(before.Zip(TestNets.Weights(model), (a, b) => Math.Pow((double)a - b, 2)).Sum());
        Assert.Equal(0.01, moved, 1e-4);
    }

    [Fact]
    public void What_does_not_fit_together_is_refused()
    {
        using var backend = new CpuBackend();
        using Model model = NewModel(backend, "bp");
        Assert.Contains("batch", Assert.Throws<ArgumentException>(() => new Trainer(model, Data with { Train = Data.Train.Take(10) }, Options(1))).Message);
        Assert.Contains("planned for", Assert.Throws<ArgumentException>(() => new Trainer(model, Data, Options(1) with { Batch = 64 })).Message);
        using var other = new Model(backend, TestNets.Residual(), RuleSet.Of(new Backprop()), 32, 1);
        Assert.Contains("32x32x3", Assert.Throws<ArgumentException>(() => new Trainer(other, Data, Options(1))).Message);
        Assert.Throws<ArgumentOutOfRangeException>(() => new Trainer(model, Data, Options(1) with { Momentum = 1 }));
        Assert.Throws<ArgumentOutOfRangeException>(() => new Trainer(model, Data, Options(1) with { Epochs = 0 }));
        Assert.Throws<ArgumentOutOfRangeException>(() => new Trainer(model, Data, Options(1) with { WeightDecay = float.NaN }));
    }

    [Theory]
    [InlineData("constant")]
    [InlineData("cosine")]
    [InlineData("one-cycle")]
    [InlineData("multi-step")]
    public void Schedules_have_their_known_values(string name)
    {
        ScheduleKind kind = ScheduleCatalog.Find(name)!;
        const int perEpoch = 100, epochs = 10;
        var schedule = new LearningRateSchedule(kind, 0.4f, WarmUpEpochs: 1);
        float[] rates = [.. Enumerable.Range(0, perEpoch * epochs).Select(step => schedule.At(step, perEpoch, epochs))];
        Assert.Equal(0.4, rates.Max(), 1e-4);
        if (kind != ScheduleKind.OneCycle) Assert.Equal([0.004, 0.2, 0.4], [rates[0], rates[49], rates[99]], (a, b) => Math.Abs(a - b) < 1e-5);
        (double middle, double end) = name switch
        {
            "constant" => (0.4, 0.4),
            "cosine" => (0.2, 0),
            "multi-step" => (0.4, 0.004),
            _ => (0.4 * 0.5 * (1 + Math.Cos(Math.PI * 0.25 / 0.7)), 0),
        };
        Assert.Equal(middle, rates[kind == ScheduleKind.MultiStep ? 499 : 550], 1e-3);
        Assert.Equal(end, rates[^1], 1e-3);
        if (kind == ScheduleKind.OneCycle) Assert.Equal(0.4 / 25, rates[0], 1e-5);
        if (kind == ScheduleKind.MultiStep) Assert.Equal([0.04, 0.04, 0.004], [rates[500], rates[749], rates[750]], (a, b) => Math.Abs(a - b) < 1e-6);
    }

    internal static Model NewModel(Backend backend, string rule) =>
        new(backend, ModelCatalog.Create("resnet8", Data.Train.RequireShape(), 10), RulesOf(rule), 32, seed: 4);

    internal static RuleSet RulesOf(string rule)
    {
        return rule switch
        {
            "mixed" => new RuleSet(new WeightMirror(WarmUpSteps: 2), [new RuleFor("layer2.*", new SignSymmetry()), new RuleFor("fc", new Backprop())]),
            _ => RuleSet.Of(rule switch
            {
                "bp" => new Backprop(),
                "fa" => new FeedbackAlignment(),
                "ss" => new SignSymmetry(),
                "ss-batch" => new SignSymmetry(SignMagnitude.BatchRandom),
                "ss-fixed" => new SignSymmetry(SignMagnitude.FixedRandom),
                "wm" => new WeightMirror(WarmUpSteps: 16),
                "wm-full" => new WeightMirror(Samples: 4, Noise: NoiseKind.Gaussian, Form: MirrorForm.FullMap, ReluResponse: true, WarmUpSteps: 2),
                "kp" => new KolenPollack(),
                "kp-early" => new KolenPollack(EarlyShrink: 0.5f, Early: EarlyDecay.InTraining, EarlySteps: 5),
                "kp-closed" => new KolenPollack(Form: KolenPollackForm.ClosedForm),
                _ => new DirectFeedbackAlignment(),
            }),
        };
    }

    internal static TrainingOptions Options(int epochs) => new()
    {
        Epochs = epochs,
        Batch = 32,
        Schedule = new LearningRateSchedule(ScheduleKind.Cosine, 0.05f),
        AlignEvery = 0,
    };

    private sealed class CancelAt(CancellationTokenSource source, int epoch, int step) : ITrainingObserver
    {
        public (int, int) Last { get; private set; }

        public void OnStep(in StepReport report)
        {
            Last = (report.Epoch, report.Step);
            if (report.Epoch == epoch && report.Step == step) source.Cancel();
        }

        public void OnEpoch(EpochReport report)
        {
        }

        public void OnAlignment(IReadOnlyList<LayerAlignment> layers)
        {
        }
    }
}
