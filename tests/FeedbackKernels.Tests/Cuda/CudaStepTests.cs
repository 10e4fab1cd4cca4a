using System.Reflection;
using System.Runtime.CompilerServices;
using FeedbackKernels.Data;
using FeedbackKernels.Interop;
using FeedbackKernels.Layers;
using FeedbackKernels.Models;
using FeedbackKernels.Tests.Conformance;
using FeedbackKernels.Tests.Models;
using FeedbackKernels.Tests.Training;
using FeedbackKernels.Training;

namespace FeedbackKernels.Tests.Cuda;

/// <summary>Steps as graphs: the same bits as kernel by kernel, few calls of the driver, and a backend that outlives what
/// goes wrong.</summary>
public class CudaStepTests
{
    public static MatrixTheoryData<string, CudaPrecision> Rules => new(
        ["bp", "fa", "ss", "ss-batch", "ss-fixed", "wm", "wm-full", "kp", "kp-early", "kp-closed", "dfa", "aa", "ia", "pfa", "lrf", "dkp", "kp-noise"], Enum.GetValues<CudaPrecision>());

    [Theory, MemberData(nameof(Rules))]
    public void Graphs_change_no_bit(string rule, CudaPrecision precision)
    {
        CudaUnderTest.Require();
        float[] expected = Train(rule, graphs: false, precision: precision);
        Assert.All(expected, v => Assert.True(float.IsFinite(v)));
        using EmulatedDriver.Setting? late = CudaUnderTest.Deferred();
        Values.AssertSameBits(expected, Train(rule, graphs: true, out long launches, precision: precision));
        Assert.True(launches >= 9);
    }

    [Fact]
    public void Numbers_that_are_read_in_a_step_divide_it()
    {
        CudaUnderTest.Require();
        using EmulatedDriver.Setting? late = CudaUnderTest.Deferred();
        using CudaBackend backend = CudaUnderTest.CreateBackend();
        using DeviceBuffer x = backend.Allocate(100, "x");
        using Readback between = backend.CreateReadback(100, "between");
        using (StepScope step = backend.BeginStep())
        {
            for (int i = 0; i <= 9; i++) backend.Fill(x, i);
            between.Queue(x, 100);
            for (int i = 0; i <= 9; i++) backend.Fill(x, 2 * i);
            Assert.Equal(100 * 18 * 18, backend.Compare(100, x, x).SquaredNorm);
            backend.Fill(x, 5);
            step.Complete();
        }

        var read = new float[100];
        between.Read<float>(read);
        Assert.All(read, v => Assert.Equal(9, v));
        Assert.All(backend.Download(x), v => Assert.Equal(5, v));
    }

    [Fact]
    public void Clipping_leaves_a_step_one_launch()
    {
        CudaUnderTest.Require();
        float[] expected = Train("kp", graphs: false, clip: 0.1f), unclipped = Train("kp", graphs: false);
        Assert.NotEqual(expected, unclipped);
        using EmulatedDriver.Setting? late = CudaUnderTest.Deferred();
        Values.AssertSameBits(expected, Train("kp", graphs: true, out long launches, clip: 0.1f));
        // Six steps, and three evaluations.
        Assert.Equal(9, launches);
    }

    [Fact]
    public void The_trainer_has_the_next_step_queued_when_it_looks_at_one()
    {
        CudaUnderTest.Require();
        var observed = new Watch();
        TrainingResult whole = TrainLenet(graphs: true, 0.02f, observed, TestContext.Current.CancellationToken);
        TrainingResult single = TrainLenet(graphs: false, 0.02f, new Watch(), TestContext.Current.CancellationToken);
        Assert.Equal([1, 2, 3, 4, 1, 2, 3, 4], observed.Steps);
        // The last step of an epoch is looked at when it is done, and one evaluation comes between the epochs.
        Assert.Equal([2, 3, 4, 4, 7, 8, 9, 9], observed.Launches);
        foreach ((EpochReport a, EpochReport b) in whole.Epochs.Zip(single.Epochs))
            Assert.Equal((b.Step, b.TrainLoss, b.TrainTop1, b.TestLoss, b.TestTop1), (a.Step, a.TrainLoss, a.TrainTop1, a.TestLoss, a.TestTop1));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_loss_that_is_not_finite_is_said_of_its_own_step(bool graphs)
    {
        CudaUnderTest.Require();
        var e = Assert.Throws<NonFiniteLossException>(() => TrainLenet(graphs, 1e30f, new Watch(), TestContext.Current.CancellationToken));
        Assert.Equal((1, 1), (e.Epoch, e.Step));
    }

    [Fact]
    public void A_run_that_is_cancelled_reports_every_step_that_was_queued()
    {
        CudaUnderTest.Require();
        using var cancel = new CancellationTokenSource();
        var observed = new Watch { At = (2, cancel) };
        TrainingResult result = TrainLenet(graphs: true, 0.02f, observed, cancel.Token);
        Assert.True(result.Cancelled);
        Assert.Equal([1, 2, 3], observed.Steps);
    }

    [Fact]
    public void A_step_that_is_the_same_again_is_one_launch()
    {
        using CudaBackend backend = CudaUnderTest.CreateBackend();
        using var model = new Model(backend, TestNets.Residual(), TrainerTests.RulesOf("kp"), 6, seed: 7);
        var sgd = new Sgd(model, TrainerTests.Options(1) with { Batch = 6 });
        for (int step = 0; step < 2; step++) Step(step, 0.05f);
        LaunchCounts before = backend.Launched;
        Step(2, 0.05f);
        LaunchCounts after = backend.Launched;
        Assert.Equal((1, 0), (after.Graphs - before.Graphs, after.Updates - before.Updates));
        Assert.True(after.Kernels - before.Kernels > 100);

        // Another learning rate is a call for each kernel that takes it, and no more: the update of all parameters without feedback weights
        // of their own, and that of W and B.
        Step(3, 0.04f);
        LaunchCounts slower = backend.Launched;
        Assert.Equal((1, 2), (slower.Graphs - after.Graphs, slower.Updates - after.Updates));

        void Step(int step, float rate)
        {
            TestNets.LoadBatch(model, 6, (uint)step);
            OneStep(model, sgd, 6, step, rate);
        }
    }

    [Fact]
    [EmulatedOnly("counts the calls that the driver gets")]
    public void A_step_that_is_the_same_again_is_a_handful_of_calls()
    {
        using CudaBackend backend = CudaUnderTest.CreateBackend();
        using var model = new Model(backend, TestNets.Residual(), TrainerTests.RulesOf("kp"), 6, seed: 7);
        var sgd = new Sgd(model, TrainerTests.Options(1) with { Batch = 6 });
        for (int step = 0; step < 2; step++) CallsOfStep(step, 0.05f);
        long same = CallsOfStep(2, 0.05f);
        // Two uploads and a download go through the ring, six or seven calls each; the rest is the launch and its context.
        Assert.InRange(same, 1, 30);
        // One for each kernel that takes the learning rate.
        Assert.Equal(same + 2, CallsOfStep(3, 0.04f));

        long CallsOfStep(int step, float rate)
        {
            long before = EmulatedDriver.Get("calls");
            TestNets.LoadBatch(model, 6, (uint)step);
            OneStep(model, sgd, 6, step, rate);
            return EmulatedDriver.Get("calls") - before;
        }
    }

    [Fact]
    public void Batches_of_two_sizes_and_evaluation_have_a_graph_each()
    {
        CudaUnderTest.Require();
        CudaUnderTest.Counter graphs = CudaUnderTest.Count("graphs");
        using (CudaBackend backend = CudaUnderTest.CreateBackend())
        {
            using var model = new Model(backend, TestNets.Residual(), TrainerTests.RulesOf("bp"), 6, seed: 7);
            var sgd = new Sgd(model, TrainerTests.Options(1) with { Batch = 6 });
            for (int step = 0; step < 6; step++)
            {
                int images = step % 3 == 2 ? 4 : 6;
                TestNets.LoadBatch(model, images, (uint)step);
                OneStep(model, sgd, images, step, 0.05f);
                Evaluate(model, 6);
            }

            Assert.Equal(3, backend.KeptGraphs);
            graphs.AssertGrewBy(3);
        }

        graphs.AssertGrewBy(0);
    }

    [Fact]
    public void A_step_that_is_given_up_leaves_the_backend_as_it_was()
    {
        CudaUnderTest.Require();
        using EmulatedDriver.Setting? late = CudaUnderTest.Deferred();
        using CudaBackend backend = CudaUnderTest.CreateBackend();
        using DeviceBuffer x = backend.Allocate(100, "x");
        Assert.Throws<TimeoutException>(GiveUp);
        Assert.All(backend.Download(x), v => Assert.Equal(0, v));
        using (StepScope step = backend.BeginStep())
        {
            for (int i = 0; i < 20; i++) backend.Fill(x, 8);
            Assert.Throws<InvalidOperationException>(() => backend.BeginStep());
            step.Complete();
            Assert.Throws<InvalidOperationException>(() => step.Complete());
        }

        Assert.All(backend.Download(x), v => Assert.Equal(8, v));
        StepScope open = backend.BeginStep();
        backend.Fill(x, 9);
        backend.Dispose();
        Assert.Throws<ObjectDisposedException>(() => open.Complete());
        open.Dispose();

        void GiveUp()
        {
            using StepScope step = backend.BeginStep();
            for (int i = 0; i < 20; i++) backend.Fill(x, 7);
            throw new TimeoutException();
        }
    }

    [Fact]
    public void A_kernel_that_cannot_be_launched_is_named_with_its_sizes()
    {
        CudaUnderTest.Require();
        // More taps than a grid has layers.
        var shape = new ConvShape(1, 300, 300, 1, 1, 300, 300, 1, 0);
        using CudaBackend backend = CudaUnderTest.CreateBackend();
        using DeviceBuffer w = backend.Allocate(shape.WeightLength, "w"), b = backend.Allocate(shape.WeightLength, "b");
        foreach (int others in (int[])[0, 20])
        {
            var e = Assert.Throws<CudaException>(() =>
            {
                using StepScope step = backend.BeginStep();
                for (int i = 0; i < others; i++) backend.Fill(w, i);
                backend.TransposedCombine(shape, 1, w, 0, default, b);
                step.Complete();
            });
            Assert.Equal(1, e.Result);
            // A driver may find it out when all nodes are there.
            if (others != 0 && !CudaUnderTest.IsEmulated) continue;
            Assert.Equal(others == 0 ? "cuLaunchKernel" : "cuGraphAddKernelNode", e.Call);
            Assert.Contains($"TransposedCombine of {shape}, kernel transposed_combine, launch {others + 1} of {others + 1} of a step", e.Message);
        }

        Assert.All(backend.Download(w), v => Assert.Equal(0, v));
    }

    [Fact]
    [EmulatedOnly("plants a fault, which on a real device ends the whole process")]
    public void A_fault_in_a_graph_is_reported_and_the_next_step_works()
    {
        using CudaBackend backend = CudaUnderTest.CreateBackend();
        using DeviceBuffer x = backend.Allocate(100, "x");
        for (int attempt = 0; attempt < 2; attempt++)
        {
            // The caller lies about the length of the last.
            var e = Assert.Throws<CudaException>(() => Fill(BufferView.FromPointer(x.Address, 9000)));
            Assert.Equal((700, "cuGraphLaunch"), (e.Result, e.Call));
            Assert.Contains("a step of 10 kernels, from Fill of 100 elements", e.Message);
            Assert.Contains("kernel fill", e.Message);
            Fill(x);
            Assert.All(backend.Download(x), v => Assert.Equal(9, v));
        }

        void Fill(BufferView last)
        {
            using StepScope step = backend.BeginStep();
            for (int i = 0; i < 9; i++) backend.Fill(x, i);
            backend.Fill(last, 9);
            step.Complete();
        }
    }

    [Fact]
    public void Memory_that_is_given_back_in_a_step_stays_until_it_has_been_launched()
    {
        CudaUnderTest.Require();
        using EmulatedDriver.Setting? late = CudaUnderTest.Deferred();
        using CudaBackend backend = CudaUnderTest.CreateBackend();
        using DeviceBuffer y = backend.Allocate(100, "y");
        CudaUnderTest.Counter releases = CudaUnderTest.Count("releases");
        using (StepScope step = backend.BeginStep())
        {
            using (DeviceBuffer x = backend.Allocate(100, "x"))
            {
                for (int i = 0; i < 10; i++) backend.Fill(x, i);
                backend.ActivationForward(Activation.None, 100, x, y);
            }

            releases.AssertGrewBy(0);
            step.Complete();
        }

        releases.AssertGrewBy(1);
        Assert.All(backend.Download(y), v => Assert.Equal(9, v));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_loss_that_is_not_finite_is_seen_before_the_update_where_there_is_no_graph(bool graphs)
    {
        CudaUnderTest.Require();
        DataSet data = DataSet.Open("synthetic", 3, 32, 32);
        using CudaBackend backend = CudaUnderTest.CreateBackend(graphs: graphs);
        using var model = new Model(
            backend, ModelCatalog.Create("lenet", data.Train.RequireShape(), data.Train.Classes), TrainerTests.RulesOf("bp"), 16, seed: 7);
        float[] weights = backend.Download(model.Layers[1].Weight.Value);
        weights[5] = float.NaN;
        backend.Upload<float>(weights, model.Layers[1].Weight.Value);
        TrainingOptions options = TrainerTests.Options(1) with { Batch = 16 };
        var e = Assert.Throws<NonFiniteLossException>(() => new Trainer(model, data, options).Run(cancel: TestContext.Current.CancellationToken));
        Assert.Equal(0, e.Step);
        Assert.Equal(graphs, e.Place.StartsWith("after the update, ", StringComparison.Ordinal));
        if (!graphs) Assert.Contains(model.Layers[1].Name, e.Place);
    }

    [Fact]
    public void Arguments_have_no_holes_whose_contents_would_count_as_changed()
    {
        Type[] arguments = [.. typeof(CudaBackend).GetNestedTypes(BindingFlags.NonPublic).Where(t => t.Name.EndsWith("Arguments", StringComparison.Ordinal))];
        Assert.True(arguments.Length > 20);
        foreach (Type type in arguments) Assert.True(SizeOf(type) == FieldsOf(type), $"{type.Name}: {SizeOf(type)} bytes, its fields have {FieldsOf(type)}");

        static int FieldsOf(Type type) =>
            type.IsPrimitive || type.IsPointer || type.IsEnum || type.IsDefined(typeof(UnsafeValueTypeAttribute), false)
                ? SizeOf(type)
                : (type.GetCustomAttribute<InlineArrayAttribute>()?.Length ?? 1)
                    * type.GetFields(BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic).Sum(f => FieldsOf(f.FieldType));

        static int SizeOf(Type type) => type.IsPointer
            ? IntPtr.Size
            : (int)typeof(Unsafe).GetMethod(nameof(Unsafe.SizeOf))!.MakeGenericMethod(type).Invoke(null, null)!;
    }

    [Fact]
    public void Other_backends_compute_at_once()
    {
        using var backend = new CpuBackend();
        using DeviceBuffer x = backend.Allocate(10, "x");
        using StepScope step = backend.BeginStep();
        backend.Fill(x, 2);
        Assert.False(step.IsDeferred);
        Assert.All(backend.Download(x), v => Assert.Equal(2, v));
        step.Complete();
    }

    private static void OneStep(Model model, Sgd sgd, int images, int step, float rate)
    {
        using StepScope scope = model.Backend.BeginStep();
        model.Forward(Pass.Train(images));
        model.Loss(images, 0.1f, gradient: true);
        model.Backward(images);
        sgd.Update(step, rate);
        scope.Complete();
        model.ReadLosses(new float[images]);
    }

    private static float[] Evaluate(Model model, int images)
    {
        var losses = new float[images];
        using (StepScope scope = model.Backend.BeginStep())
        {
            model.Forward(Pass.Evaluate(images));
            model.Loss(images, 0, gradient: false);
            scope.Complete();
        }

        model.ReadLosses(losses);
        return losses;
    }

    /// <summary>Steps of two batch sizes, with rate and momentum changing, and evaluation in between.</summary>
    private static float[] Train(string rule, bool graphs, float clip = 0, CudaPrecision precision = CudaPrecision.Fp32) =>
        Train(rule, graphs, out _, clip, precision);

    private static float[] Train(string rule, bool graphs, out long graphLaunches, float clip = 0, CudaPrecision precision = CudaPrecision.Fp32)
    {
        using CudaBackend backend = CudaUnderTest.CreateBackend(precision: precision, graphs: graphs);
        const string noise = "-noise";
        using var model = new Model(backend, TestNets.Residual(), TrainerTests.RulesOf(rule.Replace(noise, "", StringComparison.Ordinal)), 6, seed: 7);
        TrainingOptions options = TrainerTests.Options(1) with { Batch = 6, ClipNorm = clip, UpdateNoise = rule.EndsWith(noise, StringComparison.Ordinal) ? 0.1f : 0 };
        Sgd[] updates = [new(model, options), new(model, options with { Momentum = 0.5f })];
        var results = new List<float>();
        for (int step = 0; step < 6; step++)
        {
            int images = step % 3 == 2 ? 4 : 6;
            TestNets.LoadBatch(model, images, (uint)step);
            OneStep(model, updates[step / 4], images, step, 0.05f / (1 + step));
            if (step % 2 == 1) results.AddRange(Evaluate(model, images));
        }

        foreach (ConvLayer layer in model.Layers)
        {
            if (layer.Feedback?.OwnWeights is { } own) results.AddRange(backend.Download(own.Value));
        }

        graphLaunches = backend.Launched.Graphs;
        return [.. results, .. TestNets.Weights(model)];
    }

    private static TrainingResult TrainLenet(bool graphs, float rate, Watch observer, CancellationToken cancel)
    {
        DataSet data = DataSet.Open("synthetic", 3, 64, 16);
        using CudaBackend backend = CudaUnderTest.CreateBackend(graphs: graphs);
        using var model = new Model(
            backend, ModelCatalog.Create("lenet", data.Train.RequireShape(), data.Train.Classes), TrainerTests.RulesOf("bp"), 16, seed: 7);
        TrainingOptions options = TrainerTests.Options(2) with { Batch = 16, Schedule = new LearningRateSchedule(ScheduleKind.Constant, rate) };
        observer.Backend = backend;
        return new Trainer(model, data, options).Run(observer, cancel);
    }

    /// <summary>Notes how many graphs have been launched when a step is reported.</summary>
    private sealed class Watch : ITrainingObserver
    {
        public CudaBackend? Backend { get; set; }

        public (int Step, CancellationTokenSource? Cancel) At { get; init; }

        public List<int> Steps { get; } = [];

        public List<int> Launches { get; } = [];

        public void OnStep(in StepReport report)
        {
            Steps.Add(report.Step);
            Launches.Add((int)Backend!.Launched.Graphs);
            if (report.Step == At.Step) At.Cancel?.Cancel();
        }

        public void OnEpoch(EpochReport report)
        {
        }

        public void OnAlignment(IReadOnlyList<LayerAlignment> layers)
        {
        }
    }
}
