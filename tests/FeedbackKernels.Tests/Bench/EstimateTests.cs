using FeedbackKernels.Bench;
using FeedbackKernels.Bench.Estimates;
using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;
using FeedbackKernels.Tests.Cuda;

namespace FeedbackKernels.Tests.Bench;

/// <summary>The launches of a step on paper are those of a driver, and their times follow from the assumptions.</summary>
public class EstimateTests
{
    private const int Images = 2, Steps = 2;

    public static MatrixTheoryData<string, string, CudaPrecision, string> Choices => new(
        ["resnet8", "bottleneck"], BenchRules.All.Select(r => r.Name), Enum.GetValues<CudaPrecision>(), ["h200", "a100"]);

    [Theory, MemberData(nameof(Choices))]
    [EmulatedOnly("sets the compute capability of the device, and counts its launches by kernel")]
    public void A_step_on_paper_launches_what_a_driver_runs(string model, string rule, CudaPrecision precision, string card)
    {
        IReadOnlyList<PaperLaunch> paper =
            EstimateCommand.Launches(Card.Named(card), SpecOf(model), s => s.ToString(), Images, BenchRules.Find(rule)!, precision, Steps);

        using EmulatedDriver.Setting capability = EmulatedDriver.With("compute-major", Card.Named(card).Major, 8);
        using CudaBackend backend = CudaUnderTest.CreateBackend(precision: precision);
        using var stepper = new Stepper(backend, SpecOf(model), BenchRules.Find(rule)!, Images);
        backend.Synchronize();
        Dictionary<string, long> before = Ran();
        var recorder = new LaunchRecorder(s => s.ToString(), precision == CudaPrecision.Bf16 ? 2 : 4);
        backend.Watcher = recorder;
        for (int step = 0; step < Steps; step++) stepper.Step();
        backend.Synchronize();
        Dictionary<string, long> after = Ran();

        // Kernel by kernel, as the driver counted them; and with grids, shared memory and what the arguments say of the work.
        Assert.Equal(
            after.Select(a => (a.Key, a.Value - before[a.Key])).Where(a => a.Item2 > 0).Order(),
            paper.GroupBy(l => l.Kernel).Select(g => (g.Key, (long)g.Count())).Order());
        Assert.Equal(recorder.Launches, paper);
        Assert.Equal(card == "h200" && precision == CudaPrecision.Bf16, paper.Any(l => l.Kernel.Contains("_sm90_", StringComparison.Ordinal)));
    }

    [Fact]
    public void Every_kernel_has_a_model()
    {
        var shape = new ConvShape(1, 8, 8, 8, 8, 3, 3, 1, 1);
        // Those of the CPU are not nested, and have other names.
        Type[] structs = [.. typeof(CudaBackend).Assembly.GetTypes().Where(t => t.IsValueType && t.Name.EndsWith("Arguments", StringComparison.Ordinal)
            && (t.DeclaringType is not null || t.Name.StartsWith("Conv", StringComparison.Ordinal)))];
        Assert.True(structs.Length > 35, $"{structs.Length} structs");
        foreach (Type type in structs)
        {
            object sizes = type.Name.Contains("Slab", StringComparison.Ordinal) ? new CudaBackend.Elements(1) : shape;
            // Arguments of zeros are not valid: what matters is that the struct is known.
            Exception? e = Record.Exception(() => KernelModel.WorkOf(
                new LaunchFacts("conv_128_128", nameof(CudaBackend.ConvForwardCore), new CudaBackend.Grid(1L), 2), Activator.CreateInstance(type)!, sizes));
            Assert.False(e is NotSupportedException, $"{type.Name}: {e?.Message}");
        }
    }

    [Fact]
    public void ResNet_50_has_the_launches_that_its_layers_make()
    {
        Dictionary<string, double> kinds = KindsOf("resnet50", "backprop", 256, "h200");
        // 53 convolutions with a batch norm and the classifier; the first sends no error back.
        Assert.Equal(54, kinds["forward convolution"]);
        Assert.Equal(53, kinds["feedback convolution"]);
        Assert.Equal(54, kinds["weight gradient"]);
        // Forward, the statistics come with the convolution and are finished by a kernel of their own; backward there are three kernels.
        Assert.Equal(2 * 53, kinds["norm finish"]);
        Assert.Equal(53, kinds["norm fold"]);
        Assert.Equal(53, kinds["norm forward"]);
        Assert.Equal(53, kinds["norm backward sums"]);
        Assert.Equal(53, kinds["norm backward apply"]);
        Assert.Equal(4, kinds["pooling"]);
        Assert.Equal(1, kinds["loss"]);
        Assert.Equal(1, kinds["update"]);
        // The bias of the classifier; and sums of weight gradients that are split. Nothing of the initial weights.
        Assert.Equal(2, kinds["bias gradient"]);
        Assert.Contains("sum of splits", kinds.Keys);
        Assert.Equal(13, kinds.Count);
    }

    [Fact]
    public void ResNet_50_takes_what_a_reading_of_the_kernels_expects()
    {
        // A review that knew the kernels, but not this model: 34 to 56 ms.
        double seconds = Step("resnet50", "backprop", 256, "h200").Sum(l => l.Count * LaunchCost.Of(l.Launch, Card.Named("h200")).Seconds);
        Assert.InRange(1000 * seconds, 34, 56);
    }

    [Fact]
    public void A_convolution_has_each_operand_once_and_loads_a_tile_for_each_tap()
    {
        IReadOnlyList<(PaperLaunch Launch, double Count)> step = Step("resnet50", "backprop", 4, "h200");
        ConvShape shape = LayerShapes.Of("resnet50", 4).Single(l => l.Name == "r50_3x3_64-64@56").Shape;
        (PaperLaunch launch, double count) = Assert.Single(
            step, l => l.Launch is { Subject: "r50_3x3_64-64@56", Work.Kind: "forward convolution" });
        Assert.Equal(3, count);
        Assert.Equal("conv_gather_sm90_64", launch.Kernel);
        // 4 x 56 x 56 pixels are 98 boxes of 128, such as 4 images by 4 rows by 8 columns; two floats a box for each of 64 channels.
        const int pixels = 4 * 56 * 56, boxes = 98, channels = 64;
        double statistics = boxes * channels * 2.0 * 4, results = 2.0 * pixels * channels + statistics;
        Assert.Equal(2.0 * pixels * channels + 2 * 9 * channels * channels + results, launch.Work.Hbm);
        Assert.Equal(boxes * 9.0 * (128 + 64) * 64 * 2 + results, launch.Work.L2);
        Assert.Equal(2.0 * pixels * channels * channels * 9, launch.Work.Flops);
        Assert.Equal(launch.Work.Flops, launch.Work.Executed);
        Assert.Equal(shape.Flops, launch.Work.Flops);

        // A filter of one pixel and stride 2 reads every fourth.
        shape = LayerShapes.Of("resnet50", 4).Single(l => l.Name == "r50_1x1s2_256-512@56").Shape;
        launch = Assert.Single(step, l => l.Launch is { Subject: "r50_1x1s2_256-512@56", Work.Kind: "forward convolution" }).Launch;
        double without = 2.0 * (shape.InputLength / 4 + shape.WeightLength + shape.OutputLength);
        Assert.InRange(launch.Work.Hbm - without, 1, 0.1 * without);
    }

    [Fact]
    public void Elementwise_kernels_move_their_tensors_once()
    {
        IReadOnlyList<(PaperLaunch Launch, double Count)> step = Step("resnet50", "backprop", 256, "h200");
        // The stem's norm: 256 x 112 x 112 rows of 64 channels in bf16, read and written; its errors are read twice with x, and written.
        const double map = 2.0 * 256 * 112 * 112 * 64;
        Assert.Equal(2 * map, Only("norm forward").Hbm);
        Assert.Equal(3 * map, Only("norm backward apply").Hbm);
        // The chunks of a finish are the stem's boxes of 8 by 16 pixels: 256 x 14 x 7, on 8 blocks of 64 strips with 4 loads in flight.
        KernelWork finish = step.Where(l => l.Launch.Work.Kind == "norm finish").MaxBy(l => l.Launch.Work.Rounds).Launch.Work;
        Assert.Equal((98 + 2, 2.0 * 4 * 25_088 * 64), (finish.Rounds, finish.Hbm));
        // 25.6 million parameters (He et al. 2015): value, gradient and velocity in fp32, two of them written, and a copy in bf16.
        PaperLaunch update = Assert.Single(step, l => l.Launch.Work.Kind == "update").Launch;
        Assert.Equal(25.557e6 * (5 * 4 + 2), update.Work.Hbm, 0.001 * update.Work.Hbm);

        KernelWork Only(string kind) => Assert.Single(
            step, l => l.Launch.Work.Kind == kind && l.Launch.Subject == "3211264 rows of 64 channels").Launch.Work;
    }

    [Fact]
    public void Rules_differ_by_what_moves_B()
    {
        double backprop = Flops("backprop"), mirror = Flops("weight-mirror"), kolenPollack = Flops("kolen-pollack");
        Assert.Equal(backprop, kolenPollack);
        Assert.InRange(mirror / backprop, 1.003, 1.1);
        // B that never moves is drawn before the first step.
        Assert.Equal(KindsOf("resnet20", "backprop", 128, "h200"), KindsOf("resnet20", "feedback-alignment", 128, "h200"));
        Assert.Contains("feedback weights", KindsOf("resnet20", "sign-symmetry", 128, "h200").Keys);

        static double Flops(string rule) => Step("resnet20", rule, 128, "h200").Sum(l => l.Count * l.Launch.Work.Flops);
    }

    [Theory]
    // Two blocks of 100,000 bytes of shared memory fit on one of 132 multiprocessors.
    [InlineData(264, 1)]
    [InlineData(528, 1)]
    [InlineData(265, (1 + 0.5) * 264 / 265)]
    [InlineData(132, 1)]
    [InlineData(66, 2)]
    [InlineData(400, (1 + 1) * 264 / 400.0)]
    public void A_wave_that_is_not_full_takes_as_long_as_its_fullest_multiprocessor(long blocks, double expected)
    {
        var launch = new PaperLaunch("k", "s", blocks, 288, 100_000, new KernelWork("k", 0));
        Assert.Equal(264, LaunchCost.PlacesOf(launch, Card.Named("h200")));
        Assert.Equal(expected, LaunchCost.Unevenness(launch, Card.Named("h200")), 12);
    }

    [Fact]
    public void The_longest_of_four_times_counts()
    {
        Card card = Card.Named("h200").With(new Dictionary<Figure, double>
        {
            [Figure.HbmBytes] = 4e12,
            [Figure.StreamHbm] = 0.5,
            [Figure.L2Bytes] = 5e12,
            [Figure.SmBytes] = 1e12,
            [Figure.TensorFlops] = 1e15,
            [Figure.Wgmma64] = 0.25,
            [Figure.LaunchGap] = 1e-6,
            [Figure.LoadLatency] = 2e-6,
            [Figure.StepLatency] = 0.5e-6,
        });
        // Full waves of 264 blocks: 8 MB at 2 TB/s are 4 us, 30 MB at 5 TB/s 6 us, 2 GFLOP at 250 TFLOP/s 8 us; 5 loads of 2 us one after
        // the other in each of two waves 20 us, and 30 steps of half a microsecond 30 us more. The gap and one load come first.
        var work = new KernelWork("k", 8e6) { L2 = 30e6, Executed = 2e9, Products = Figure.Wgmma64 };
        AssertCost(11e-6, Limit.Products, work with { Rounds = 1 });
        AssertCost(23e-6, Limit.Latency, work with { Rounds = 5 });
        AssertCost(53e-6, Limit.Latency, work with { Rounds = 5, Steps = 30 });
        AssertCost(9e-6, Limit.L2, work with { Rounds = 1, Executed = 1e9 });
        AssertCost(7e-6, Limit.Memory, work with { Rounds = 1, Executed = 1e8, L2 = 1e6, Hbm = 8.0001e6 });
        AssertCost(7e-6, Limit.Latency, work with { Rounds = 1, Executed = 1e8, L2 = 1e6, Hbm = 7e6 });
        AssertCost(3e-6, Limit.Launch, new KernelWork("k", 100) { Rounds = 0 });

        void AssertCost(double seconds, Limit limit, KernelWork costs)
        {
            LaunchCost cost = LaunchCost.Of(new PaperLaunch("k", "s", 528, 288, 100_000, costs), card);
            Assert.Equal(seconds, cost.Seconds, 1e-9);
            Assert.Equal(limit, cost.Limit);
        }
    }

    [Fact]
    public void A_few_blocks_do_not_take_what_the_memory_delivers()
    {
        Card card = Card.Named("h200").With(new Dictionary<Figure, double> { [Figure.SmBytes] = 50e9, [Figure.LoadLatency] = 1e-9, [Figure.LaunchGap] = 1e-9 });
        // 8 multiprocessors at 50 GB/s.
        LaunchCost cost = LaunchCost.Of(new PaperLaunch("k", "s", 8, 512, 0, new KernelWork("k", 8e6)), card);
        Assert.Equal(20e-6, cost.Memory, 1e-12);
    }

    private static Dictionary<string, long> Ran() => CudaBackend.AllKernels.Select(k => k.Name).Distinct().ToDictionary(k => k, k => EmulatedDriver.Get($"launches of {k}"));

    private static Dictionary<string, double> KindsOf(string model, string rule, int images, string card) =>
        Step(model, rule, images, card).GroupBy(l => l.Launch.Work.Kind).ToDictionary(g => g.Key, g => g.Sum(l => l.Count));

    private static IReadOnlyList<(PaperLaunch Launch, double Count)> Step(string model, string rule, int images, string card)
    {
        const int steps = 8;
        return EstimateCommand.Average(LaunchesOf(model, rule, images, card, steps), steps);
    }

    /// <summary>The launches of some steps of a model of the catalogue, in bf16.</summary>
    internal static IReadOnlyList<PaperLaunch> LaunchesOf(string model, string rule, int images, string card, int steps)
    {
        int size = ModelCatalog.UsualImageSize(model);
        ModelSpec spec = ModelCatalog.Create(model, new MapShape(size, size, 3), ModelCatalog.UsualClasses(model));
        return EstimateCommand.Launches(
            Card.Named(card), spec, EstimateCommand.NamesOf(model, images), images, BenchRules.Find(rule)!, CudaPrecision.Bf16, steps);
    }

    private static ModelSpec SpecOf(string model) =>
        model == "resnet8" ? ModelCatalog.Create(model, new MapShape(8, 8, 3), 10) : Bottleneck();

    // Wide enough for Hopper's kernels: a stem, a max pool, a strided bottleneck with a projection and a plain one.
    private static ModelSpec Bottleneck() => new(
        "bottleneck", new MapShape(12, 12, 3), 10, LossKind.SoftmaxCrossEntropy, NormOrder.ConvBnRelu,
        [
            new ConvSpec("conv1", 32, 3, 1, 1, "bn1"),
            new PoolSpec("maxpool", PoolKind.Max, 3, 2, 1),
            new ResidualSpec(
                "a",
                [new ConvSpec("a.conv1", 32, 1, 1, 0, "a.bn1"), new ConvSpec("a.conv2", 32, 3, 2, 1, "a.bn2"), new ConvSpec("a.conv3", 64, 1, 1, 0, "a.bn3")],
                new ConvSpec("a.downsample.0", 64, 1, 2, 0, "a.downsample.1", Activation.None)),
            new ResidualSpec(
                "b", [new ConvSpec("b.conv1", 32, 1, 1, 0, "b.bn1"), new ConvSpec("b.conv2", 32, 3, 1, 1, "b.bn2"), new ConvSpec("b.conv3", 64, 1, 1, 0, "b.bn3")],
                null),
            new PoolSpec("avgpool", PoolKind.Average, 0),
            new LinearSpec("fc", 10, Activation.None, WeightInit.Uniform),
        ]);
}
