using FeedbackKernels.Bench;
using FeedbackKernels.Interop;
using FeedbackKernels.Models;
using FeedbackKernels.Rules;
using FeedbackKernels.Tests.Conformance;
using FeedbackKernels.Tests.Models;
using FeedbackKernels.Tests.Training;
using FeedbackKernels.Training;

namespace FeedbackKernels.Tests.Cuda;

/// <summary>
/// Copies, memory, events and order between streams. Queued work runs no sooner than somebody waits for it, so that a wait
/// which is missing gives other numbers, and one that is not needed is counted.
/// </summary>
public class CudaHostTests
{
    [Fact]
    public void An_upload_returns_before_its_copy_and_its_source_may_be_overwritten()
    {
        using EmulatedDriver.Setting? late = Start();
        using CudaBackend backend = CudaUnderTest.CreateBackend();
        using DeviceBuffer x = backend.Allocate(1000, "x"), y = backend.Allocate(1000, "y");
        CudaUnderTest.Counter waits = Waits();
        float[] source = Values.Normal(1000, 1), first = [.. source];
        backend.Upload<float>(source, x);
        Array.Fill(source, -1);
        backend.Upload<float>(source, y);
        Array.Fill(source, -2);
        waits.AssertGrewBy(0);
        Assert.Equal(first, backend.Download(x));
        Assert.All(backend.Download(y), v => Assert.Equal(-1, v));
    }

    [Fact]
    public void Uploads_wait_where_the_ring_is_full()
    {
        using EmulatedDriver.Setting? late = Start();
        CudaUnderTest.Counter pinned = CudaUnderTest.Count("pinned"), events = CudaUnderTest.Count("events");
        using (CudaBackend backend = CudaUnderTest.CreateBackend())
        {
            const int elements = CudaStage.BlockBytes / sizeof(float) * CudaStage.MostBlocks;
            using DeviceBuffer x = backend.Allocate(elements + 5, "x");
            float[] source = [.. Enumerable.Range(0, elements + 5).Select(i => (float)i)];
            CudaUnderTest.Counter waits = Waits();
            backend.Upload<float>(source.AsSpan(0, elements), x);
            waits.AssertGrewBy(0);
            backend.Upload<float>(source.AsSpan(elements), x.Slice(elements, 5));
            waits.AssertGrewBy(1);
            pinned.AssertGrewBy(CudaStage.MostBlocks);
            Assert.Equal(source, backend.Download(x));
        }

        pinned.AssertGrewBy(0);
        events.AssertGrewBy(0);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(0)]
    public void Training_is_the_same_with_and_without_a_memory_pool_however_late_work_runs(int pools)
    {
        float[] expected = Train();
        using EmulatedDriver.Setting? late = Start(), kind = CudaUnderTest.Set("memory-pools", pools, 1);
        Values.AssertSameBits(expected, Train());

        static float[] Train()
        {
            using CudaBackend backend = CudaUnderTest.CreateBackend(graphs: false);
            using var model = new Model(backend, TestNets.Residual(), TrainerTests.RulesOf("wm"), 6, seed: 7);
            var sgd = new Sgd(model, TrainerTests.Options(1) with { Batch = 6 });
            for (int step = 0; step < 2; step++)
            {
                TestNets.LoadBatch(model, 6, (uint)step);
                TestNets.Step(model, 6);
                sgd.Update(step, 0.05f);
            }

            return TestNets.Weights(model);
        }
    }

    [Fact]
    public void Memory_of_the_pool_goes_back_in_the_order_of_the_stream()
    {
        using EmulatedDriver.Setting? late = Start();
        using CudaBackend backend = CudaUnderTest.CreateBackend();
        using DeviceBuffer y = backend.Allocate(100, "y");
        using (DeviceBuffer x = backend.Allocate(100, "x"))
        {
            backend.Fill(x, 3);
            backend.ActivationForward(Activation.Relu, 100, x, y);
        }

        Assert.All(backend.Download(y), v => Assert.Equal(3, v));
    }

    [Fact]
    public void An_event_is_complete_when_what_was_called_before_has_run()
    {
        using EmulatedDriver.Setting? late = Start();
        using CudaBackend backend = CudaUnderTest.CreateBackend();
        using DeviceBuffer x = backend.Allocate(100, "x");
        CudaUnderTest.Counter launches = CudaUnderTest.Count("launches");
        backend.Fill(x, 1);
        backend.Fill(x, 2);
        using CudaEvent between = backend.RecordEvent();
        backend.Fill(x, 3);
        if (CudaUnderTest.IsEmulated) Assert.False(between.IsComplete);
        between.Synchronize();
        Assert.True(between.IsComplete);
        launches.AssertGrewBy(2);
        between.Dispose();
        Assert.Throws<ObjectDisposedException>(() => between.Handle);
        Assert.Contains(nameof(CudaEvent), Assert.Throws<ObjectDisposedException>(() => between.IsComplete).Message);
        Assert.Contains(nameof(CudaEvent), Assert.Throws<ObjectDisposedException>(between.Synchronize).Message);
        Assert.Throws<ObjectDisposedException>(() => backend.WaitFor(between));
    }

    [Theory]
    [InlineData("none", 0)]
    [InlineData("event", 5)]
    [InlineData("raw event", 5)]
    [InlineData("waits for stream", 5)]
    [InlineData("makes stream wait", 5)]
    public void Streams_see_each_other_s_work_where_they_were_ordered(string order, float expected)
    {
        using EmulatedDriver.Setting? late = Start();
        using CudaBackend owner = CudaUnderTest.CreateBackend(), guest = CudaUnderTest.CreateBackend();
        using DeviceBuffer x = owner.Allocate(100, "x"), y = owner.Allocate(100, "y");
        owner.Fill(x, 5);
        using CudaEvent place = owner.RecordEvent();
        switch (order)
        {
            case "event":
                guest.WaitFor(place);
                break;
            case "raw event":
                guest.WaitForEvent(place.Handle);
                break;
            case "waits for stream":
                guest.WaitForStream(owner.Stream);
                break;
            case "makes stream wait":
                owner.MakeStreamWait(guest.Stream);
                break;
        }

        guest.ActivationForward(Activation.None, 100, x, y);
        float[] seen = guest.Download(y);
        // Without an order a real device may run either first.
        if (order != "none" || CudaUnderTest.IsEmulated) Assert.All(seen, v => Assert.Equal(expected, v));
        owner.Synchronize();
    }

    [Fact]
    public void An_open_step_is_launched_before_an_event_is_recorded()
    {
        using EmulatedDriver.Setting? late = Start();
        using CudaBackend backend = CudaUnderTest.CreateBackend();
        using DeviceBuffer x = backend.Allocate(100, "x");
        using StepScope step = backend.BeginStep();
        backend.Fill(x, 1);
        using CudaEvent place = backend.RecordEvent();
        Assert.Equal(1, backend.Launched.Kernels);
        CudaUnderTest.Counter launches = CudaUnderTest.Count("launches");
        place.Synchronize();
        launches.AssertGrewBy(1);
        step.Complete();
    }

    [Theory]
    [InlineData((long)CudaBackend.LegacyStream)]
    [InlineData((long)CudaBackend.PerThreadStream)]
    public void The_default_streams_are_taken_by_their_names(long stream)
    {
        using EmulatedDriver.Setting? late = Start();
        using CudaBackend backend = CudaUnderTest.CreateBackend((nint)stream);
        Assert.Equal((nint)stream, backend.Stream);
        using DeviceBuffer x = backend.Allocate(100, "x");
        backend.Fill(x, 4);
        Assert.All(backend.Download(x), v => Assert.Equal(4, v));
    }

    [Fact]
    public void Dispose_waits_for_kernels_on_the_caller_s_stream_also_when_that_is_gone()
    {
        using EmulatedDriver.Setting? late = Start();
        CudaBackend owner = CudaUnderTest.CreateBackend();
        using DeviceBuffer x = owner.Allocate(100, "x");
        CudaBackend guest = CudaUnderTest.CreateBackend(owner.Stream), second = CudaUnderTest.CreateBackend(owner.Stream);
        CudaUnderTest.Counter launches = CudaUnderTest.Count("launches");
        guest.Fill(x, 1);
        second.Fill(x, 2);
        guest.Dispose();
        launches.AssertGrewBy(2);
        owner.Dispose();
        second.Dispose();
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Two_backends_of_a_device_are_disposed_in_any_order(bool firstGoesFirst)
    {
        using EmulatedDriver.Setting? late = Start();
        CudaUnderTest.Counter[] held = [.. ((string[])["pinned", "events", "graphs"]).Select(name => CudaUnderTest.Count(name))];
        CudaBackend first = CudaUnderTest.CreateBackend(), second = CudaUnderTest.CreateBackend();
        DeviceBuffer x = first.Allocate(64, "x"), y = second.Allocate(64, "y");
        Work(first, x);
        Work(second, y);
        CudaBackend goes = firstGoesFirst ? first : second, stays = firstGoesFirst ? second : first;
        DeviceBuffer left = firstGoesFirst ? x : y, kept = firstGoesFirst ? y : x;
        goes.Dispose();
        Work(stays, kept);
        Assert.All(stays.Download(kept), v => Assert.Equal(9, v));
        left.Dispose();
        Work(stays, kept);
        stays.Dispose();
        kept.Dispose();
        foreach (CudaUnderTest.Counter counter in held) counter.AssertGrewBy(0);

        static void Work(CudaBackend backend, DeviceBuffer on)
        {
            backend.Upload<float>(new float[64], on);
            using StepScope step = backend.BeginStep();
            for (int i = 0; i < 10; i++) backend.Fill(on, i);
            step.Complete();
        }
    }

    [Fact]
    public void A_context_of_the_caller_is_used_and_stays()
    {
        CudaUnderTest.CreateBackend().Dispose();
        CudaUnderTest.Counter contexts = CudaUnderTest.Count("contexts");
        using (var context = new CudaContext(0))
        {
            using (var backend = new CudaBackend(driver: CudaUnderTest.Path, context: context.DangerousGetHandle()))
            {
                contexts.AssertGrewBy(1);
                using DeviceBuffer buffer = backend.Allocate(3, "numbers");
                backend.Upload<float>([1, 2, 3], buffer);
                Assert.Equal([1, 2, 3], backend.Download(buffer));
            }

            contexts.AssertGrewBy(1);
        }

        contexts.AssertGrewBy(0);
    }

    [Fact]
    [EmulatedOnly("sets results of the driver")]
    public void A_context_that_cannot_be_entered_opens_no_backend()
    {
        CudaUnderTest.CreateBackend().Dispose();
        // That this handle is no context shows that the backend enters what it is given.
        using EmulatedDriver.Setting refused = EmulatedDriver.With("push-result", 201, 0);
        Assert.Throws<CudaException>(() => new CudaBackend(driver: CudaUnderTest.Path, context: 0x1000));
    }

    [Fact]
    [EmulatedOnly("sets results of the driver")]
    public void A_backend_that_cannot_be_opened_holds_no_context()
    {
        using EmulatedDriver.Setting? late = Start();
        CudaUnderTest.Counter contexts = CudaUnderTest.Count("contexts");
        using (EmulatedDriver.With("module-result", 222, 0)) Assert.Throws<PlatformNotSupportedException>(() => CudaUnderTest.CreateBackend());
        contexts.AssertGrewBy(0);
    }

    [Fact]
    [EmulatedOnly("passes handles that do not exist, which a real driver need not survive")]
    public void The_emulated_driver_refuses_what_a_driver_refuses()
    {
        using EmulatedDriver.Setting? late = Start();
        CudaUnderTest.CreateBackend().Dispose();
        using var context = new CudaContext(0);
        using CudaContext.Scope scope = context.Enter();
        using (var stream = new CudaStream(context))
        {
            nint handle = stream.DangerousGetHandle();
            Assert.Equal(CudaResult.Success, DriverApi.MemAllocAsync(out nint address, 64, handle));
            Assert.Equal(CudaResult.Success, DriverApi.MemFreeAsync(address, handle));
            Assert.Equal(1, (int)DriverApi.MemFreeAsync(address, handle));
            Assert.Equal(1, (int)DriverApi.MemsetD8Async(address, 0, 64, handle));
            Assert.Equal(CudaResult.Success, DriverApi.MemAlloc(out nint plain, 64));
            Assert.Equal(1, (int)DriverApi.MemFreeAsync(plain, handle));
            Assert.Equal(CudaResult.Success, DriverApi.MemFree(plain));
            Assert.Equal(1, (int)DriverApi.MemFree(plain));

            // Memory that another stream has not come to take yet.
            using var other = new CudaStream(context);
            Assert.Equal(CudaResult.Success, DriverApi.MemAllocAsync(out nint early, 64, handle));
            Assert.Equal(CudaResult.Success, DriverApi.MemsetD8Async(early, 0, 64, other.DangerousGetHandle()));
            Assert.Equal(700, (int)DriverApi.StreamSynchronize(other.DangerousGetHandle()));
            Assert.Equal(CudaResult.Success, DriverApi.MemFreeAsync(early, handle));
        }

        Assert.Equal(400, (int)DriverApi.StreamSynchronize(0x1234));
        Assert.Equal(400, (int)DriverApi.EventRecord(0x1234, CudaBackend.LegacyStream));
        Assert.Equal(1, (int)DriverApi.GraphLaunch(0x1234, CudaBackend.LegacyStream));
        Assert.Equal(1, (int)DriverApi.GraphDestroy(0x1234));
    }

    [Fact]
    public void The_device_s_context_is_held_once_and_let_go_by_the_last_that_needs_it()
    {
        using EmulatedDriver.Setting? late = Start();
        CudaUnderTest.Counter contexts = CudaUnderTest.Count("contexts");
        CudaBackend backend = CudaUnderTest.CreateBackend();
        DeviceBuffer x = backend.Allocate(10, "x");
        CudaEvent place = backend.RecordEvent();
        Readback readback = backend.CreateReadback(10, "x");
        contexts.AssertGrewBy(1);
        foreach (IDisposable held in (IDisposable[])[backend, x, backend, place, x])
        {
            held.Dispose();
            contexts.AssertGrewBy(1);
        }

        Assert.Throws<ObjectDisposedException>(() => backend.Stream);
        readback.Dispose();
        contexts.AssertGrewBy(0);
        readback.Dispose();
        place.Dispose();
        contexts.AssertGrewBy(0);
    }

    [Fact]
    public void Steps_of_a_timed_loop_queue_up()
    {
        using EmulatedDriver.Setting? late = Start();
        using CudaBackend backend = CudaUnderTest.CreateBackend();
        using var stepper = new Stepper(backend, ModelCatalog.Create("lenet", new MapShape(32, 32, 3), 10), new Backprop(), 2);
        stepper.Step();
        backend.Synchronize();
        long launches = backend.Launched.Graphs;
        CudaUnderTest.Counter waits = Waits();
        for (int step = 0; step < 3; step++) stepper.Step();
        waits.AssertGrewBy(0);
        Assert.Equal(launches + 3, backend.Launched.Graphs);
        backend.Synchronize();
        waits.AssertGrewBy(1);
    }

    private static CudaUnderTest.Counter Waits() => CudaUnderTest.Count("synchronizations", "event-waits");

    private static EmulatedDriver.Setting? Start()
    {
        // The driver is loaded when the first backend is opened.
        CudaUnderTest.CreateBackend().Dispose();
        return CudaUnderTest.Deferred();
    }
}
