using FeedbackKernels.Interop;
using FeedbackKernels.Tests.Conformance;
using FeedbackKernels.Tests.Cuda;

namespace FeedbackKernels.Tests.Collectives;

/// <summary>Sums of buffers between devices, by an emulated NCCL that compares what each rank calls.</summary>
public class NcclTests
{
    private const string Shim = "sums by the emulated NCCL, which takes buffers of the emulated driver";

    [Theory]
    [InlineData(2, 1)]
    [InlineData(2, 100_003)]
    [InlineData(3, 70_000)]
    [EmulatedOnly(Shim)]
    public void Sums_weigh_the_numbers_of_each_rank_and_add_in_their_order(int size, int length)
    {
        float[][] values = [.. Enumerable.Range(0, size).Select(rank => Values.Normal(length, (uint)rank + 1))];
        float[] weights = [.. Enumerable.Range(0, size).Select(rank => (rank + 1) / 7f)];
        float[] expected = [.. Enumerable.Range(0, length).Select(i => Enumerable.Range(0, size).Select(rank => weights[rank] * values[rank][i]).Aggregate((a, b) => a + b))];
        Ranks.RunOnDevices(size, (group, backend) =>
        {
            using EmulatedDriver.Setting? late = CudaUnderTest.Deferred();
            using DeviceBuffer x = backend.Allocate(length, "x");
            PendingSum sum = group.CreateSum(x, "x"), again = group.CreateSum(x, "x");
            backend.Upload<float>(values[group.Rank], x);
            sum.Begin(weights[group.Rank]);
            sum.Wait();
            Values.AssertSameBits(expected, backend.Download(x));
            again.Begin();
            again.Wait();
            again.Wait();
            Values.AssertSameBits([.. expected.Select(v => Enumerable.Repeat(v, size).Aggregate((a, b) => a + b))], backend.Download(x));

            // A part of a batch with images in one process alone: all name the same kind of operation nevertheless.
            backend.Upload<float>(values[group.Rank], x);
            sum.Begin(group.Rank == 0 ? 1 : 0);
            sum.Wait();
            Assert.Equal(values[0], backend.Download(x));
        });
    }

    [Fact]
    [EmulatedOnly(Shim)]
    public void Sums_wait_for_what_computes_the_numbers_and_the_backend_for_the_sums()
    {
        foreach (bool early in (bool[])[true, false])
        {
            Ranks.RunOnDevices(2, (group, backend) =>
            {
                EmulatedNccl.RunEarly(early);
                using EmulatedDriver.Setting? late = CudaUnderTest.Deferred();
                using DeviceBuffer x = backend.Allocate(1000, "x"), y = backend.Allocate(1000, "y");
                PendingSum sum = group.CreateSum(x, "x");
                using (StepScope step = backend.BeginStep())
                {
                    for (int i = 0; i < 10; i++) backend.Fill(x, i + group.Rank);
                    sum.Begin();
                    for (int i = 0; i < 10; i++) backend.Fill(y, i);
                    sum.Wait();
                    backend.Convert(1000, x, y);
                    step.Complete();
                }

                Assert.All(backend.Download(y), v => Assert.Equal(9 + 10, v));
            });
        }
    }

    [Fact]
    [EmulatedOnly(Shim)]
    public void A_buffer_is_sent_from_any_rank()
    {
        float[] values = Values.Normal(80_000, 1);
        Ranks.RunOnDevices(3, (group, backend) =>
        {
            using DeviceBuffer x = backend.Allocate(values.Length, "x");
            for (int from = 0; from < 3; from++)
            {
                backend.Fill(x, -1);
                if (group.Rank == from) backend.Upload<float>(values, x);
                group.Broadcast(x, backend, from);
                Values.AssertSameBits(values, backend.Download(x));
            }

            Assert.Equal($"TCP to 127.0.0.1:{group.Description.Split(':')[1].Split(',')[0]}, between GPUs by NCCL 2.20.3", group.Description);
        });
    }

    [Theory]
    [InlineData("length", "a weighted sum of 100 elements of type 7", "a weighted sum of 99 elements of type 7")]
    [InlineData("type", "a weighted sum of 100 elements of type 7", "a weighted sum of 100 elements of type 9")]
    [InlineData("call", "a weighted sum of 100 elements of type 7", "a broadcast of 400 elements of type 0 from rank 1")]
    [InlineData("left", "a weighted sum of 100 elements of type 7", "has left")]
    [EmulatedOnly(Shim)]
    public void A_broken_call_is_an_error_of_all(string fault, string first, string second)
    {
        Exception?[] found = Ranks.Try(
            2, hosts =>
            {
                using var backend = new CudaBackend(driver: EmulatedDriver.Path);
                ElementType type = fault == "type" && hosts.Rank == 1 ? ElementType.BFloat16 : ElementType.Float32;
                using DeviceBuffer x = backend.Allocate(fault == "length" && hosts.Rank == 1 ? 99 : 100, "x");
                using var group = new NcclCommunicator(hosts, backend, type, EmulatedNccl.Path, Ranks.Limit);
                PendingSum sum = group.CreateGradientSum(x, "x");
                if (hosts.Rank == 1 && fault == "left")
                {
                    group.Dispose();
                    // Longer than NCCL's error waits for the news of a failure.
                    Thread.Sleep(5000);
                    return;
                }

                if (hosts.Rank == 1 && fault == "call") group.Broadcast(x, backend, 1);
                sum.Begin();
                sum.Wait();
                backend.Synchronize();
                group.Sum(new double[1]);
            },
            Ranks.Limit);
        string[] messages = [.. (fault == "left" ? found[..1] : found).Select(e => Assert.IsType<CommunicationException>(e).Message)];
        // The first to see it says it, and of the other rank's failure the second only knows that.
        string said = messages.First(message => message.Contains("rank 0"));
        Assert.Matches($"rank 0 (makes |at )?{first}", said);
        Assert.Matches($"rank 1 (makes |at )?{second}", said);
    }

    [Fact]
    [EmulatedOnly(Shim)]
    public void A_sum_that_a_rank_does_not_come_to_ends_when_the_time_is_over()
    {
        using var end = new ManualResetEventSlim();
        Exception?[] found = Ranks.TryOnDevices(
            2, (group, backend) =>
            {
                using DeviceBuffer x = backend.Allocate(10, "x");
                PendingSum sum = group.CreateSum(x, "gradients up to those of conv1");
                if (group.Rank == 1)
                {
                    end.Wait(TestContext.Current.CancellationToken);
                    return;
                }

                long start = Environment.TickCount64;
                try
                {
                    sum.Begin();
                    sum.Wait();
                }
                finally
                {
                    end.Set();
                    Assert.InRange(Environment.TickCount64 - start, 2900, 15_000);
                }
            },
            TimeSpan.FromSeconds(3));
        Assert.Matches(
            @"^NCCL: process 0 has waited 3(\.\d)? s for the sum of gradients up to those of conv1; another process hangs, or cannot be reached \(FEEDBACK_WAITING_TIME sets the limit of 3 s\)$",
            Assert.IsType<CommunicationException>(found[0]).Message);
    }

    [Fact]
    [EmulatedOnly(Shim)]
    public void A_process_that_fails_ends_the_sums_of_the_others()
    {
        long start = Environment.TickCount64;
        AssertNamedToTheOther(_ => { });
        Assert.InRange(Environment.TickCount64 - start, 0, 20_000);
    }

    /// <summary>It disposes its backend first, which takes a moment, and NCCL notices that.</summary>
    [Fact]
    [EmulatedOnly(Shim)]
    public void A_process_that_fails_is_named_though_NCCL_notices_first() => AssertNamedToTheOther(group =>
    {
        group.Dispose();
        Thread.Sleep(500);
    });

    /// <summary>One of two processes fails, after something else; the other waits for a sum of both.</summary>
    private static void AssertNamedToTheOther(Action<NcclCommunicator> before)
    {
        Exception?[] found = Ranks.TryOnDevices(
            2, (group, backend) =>
            {
                using DeviceBuffer x = backend.Allocate(10, "x");
                if (group.Rank == 1)
                {
                    before(group);
                    throw new TimeoutException();
                }

                PendingSum sum = group.CreateSum(x, "x");
                sum.Begin();
                sum.Wait();
                backend.Synchronize();
                group.Sum(new double[1]);
            },
            Ranks.Limit);
        Assert.IsType<TimeoutException>(found[1]);
        Assert.Equal("process 1 has failed; its own message says why", Assert.IsType<CommunicationException>(found[0]).Message);
    }

    [Fact]
    [EmulatedOnly(Shim)]
    public void Nothing_is_aborted_during_a_call_that_ends() => Abort(callEnds: true);

    [Fact]
    [EmulatedOnly(Shim)]
    public void A_call_that_does_not_end_is_aborted() => Abort(callEnds: false);

    private static void Abort(bool callEnds)
    {
        using var inCall = new ManualResetEventSlim();
        Exception?[] found = Ranks.TryOnDevices(
            2, (group, _) =>
            {
                if (group.Rank == 1)
                {
                    inCall.Wait(TestContext.Current.CancellationToken);
                    throw new TimeoutException();
                }

                using (group.Watch.Call())
                {
                    inCall.Set();
                    Assert.True(SpinWait.SpinUntil(() => Record.Exception(group.Watch.ThrowIfFailed) is not null, TimeSpan.FromSeconds(10)));
                    Thread.Sleep(500);
                    Assert.True(EmulatedNccl.Knows(group.Handle));
                    if (!callEnds) Assert.True(SpinWait.SpinUntil(() => !EmulatedNccl.Knows(group.Handle), TimeSpan.FromSeconds(10)));
                }

                Assert.True(SpinWait.SpinUntil(() => !EmulatedNccl.Knows(group.Handle), TimeSpan.FromSeconds(10)));
                Assert.Throws<CommunicationException>(() => group.Watch.Call());
            },
            Ranks.Limit);
        Assert.Null(found[0]);
    }

    [Fact]
    [EmulatedOnly(Shim)]
    public void One_thread_at_a_time_is_in_a_call()
    {
        using var backend = new CudaBackend(driver: EmulatedDriver.Path);
        using DeviceBuffer x = backend.Allocate(10, "x");
        using var group = new NcclCommunicator(Communicator.Alone, backend, library: EmulatedNccl.Path);
        PendingSum sum = group.CreateSum(x, "x");
        var second = new Thread(() => sum.Begin());
        using (group.Watch.Call())
        {
            second.Start();
            Assert.False(second.Join(500));
        }

        second.Join();
        sum.Wait();
    }

    [Fact]
    [EmulatedOnly(Shim)]
    public void A_backend_in_a_context_of_the_caller_is_refused()
    {
        using var primary = new CudaBackend(driver: EmulatedDriver.Path);
        using var own = new CudaBackend(driver: EmulatedDriver.Path, context: 0x1000);
        using var given = new CudaBackend(driver: EmulatedDriver.Path, context: primary.Context.DangerousGetHandle());
        string e = Assert.Throws<ArgumentException>(() => new NcclCommunicator(Communicator.Alone, own, library: EmulatedNccl.Path)).Message;
        Assert.Contains("wanted the primary context of the device", e);
        new NcclCommunicator(Communicator.Alone, given, library: EmulatedNccl.Path).Dispose();
    }

    [Fact]
    [EmulatedOnly(Shim)]
    public void All_kernels_are_loaded_before_the_first_sum() => Ranks.RunOnDevices(
        2, (group, backend) => Assert.Equal(
            CudaBackend.AllKernels.Select(k => k.File).Distinct().Count(file => !file.Contains("_sm90", StringComparison.Ordinal)), backend.LoadedKernels.Count));

    [Fact]
    [EmulatedOnly(Shim)]
    public async Task Ranks_that_do_not_fit_are_refused_when_they_join()
    {
        NcclLibrary library = NcclLibrary.Load(EmulatedNccl.Path);
        using var backend = new CudaBackend(driver: EmulatedDriver.Path);
        Assert.Contains("rank 2 of 2", Assert.Throws<CommunicationException>(() => Join(library.CreateId(), 2, 2)).Message);
        Assert.Contains("an id that ncclGetUniqueId did not make", Assert.Throws<CommunicationException>(() => Join(default, 0, 2)).Message);
        NcclUniqueId id = library.CreateId();
        Task<Exception?>[] both = [.. Enumerable.Range(0, 2).Select(_ => Task.Run(() => Record.Exception(() => Join(id, 0, 2))))];
        Assert.All(await Task.WhenAll(both), e => Assert.Contains("two processes join as rank 0", e!.Message));

        void Join(NcclUniqueId of, int rank, int size)
        {
            using CudaContext.Scope scope = backend.Context.Enter();
            _ = library.Join(of, rank, size);
        }
    }

    [Fact]
    public void A_library_that_is_not_there_or_is_another_is_named()
    {
        string e = Assert.Throws<PlatformNotSupportedException>(() => NcclLibrary.Load("/nowhere/libnccl.so.2")).Message;
        Assert.Contains("the NCCL library '/nowhere/libnccl.so.2' cannot be loaded", e);
        Assert.Contains("No such file", e);
        Assert.Equal("the NCCL library 'libc.so.6' has no ncclGetVersion; wanted NCCL 2.11 or newer", Assert.Throws<PlatformNotSupportedException>(() => NcclLibrary.Load("libc.so.6")).Message);
    }

    [Fact]
    [EmulatedOnly(Shim)]
    public void Gradients_in_bf16_are_rounded_once_for_each_product_and_addition()
    {
        const int size = 3, length = 5000;
        float[][] values = [.. Enumerable.Range(0, size).Select(rank => Values.Normal(length, (uint)rank + 1))];
        float[] weights = [0.25f, 0.5f, 0.3f];
        // To nearest, a result of bf16 is off by at most u = 2^-8 / (1 + 2^-8) of itself, which is below 2^-8. A number is rounded when it is
        // sent, its weight is, and so is their product; the first two take part in two additions, the third in one: at most five roundings, and
        // |error| <= ((1 + 2^-8)^5 - 1) * sum of |weight * number|.
        double most = Math.Pow(1 + Math.Pow(2, -8), 5) - 1;
        Ranks.RunOnDevices(
            size, (group, backend) =>
            {
                using DeviceBuffer x = backend.Allocate(length, "x"), y = backend.Allocate(length, "y");
                backend.Upload<float>(values[group.Rank], x);
                backend.Upload<float>(values[group.Rank], y);
                PendingSum rounded = group.CreateGradientSum(x, "x"), plain = group.CreateSum(y, "y");
                foreach (PendingSum sum in (PendingSum[])[rounded, plain]) sum.Begin(weights[group.Rank]);
                foreach (PendingSum sum in (PendingSum[])[rounded, plain]) sum.Wait();
                float[] found = backend.Download(x), exact = backend.Download(y);
                double worst = 0;
                for (int i = 0; i < length; i++)
                {
                    double[] terms = [.. Enumerable.Range(0, size).Select(rank => (double)weights[rank] * values[rank][i])];
                    double bound = terms.Sum(Math.Abs);
                    worst = Math.Max(worst, Math.Abs(found[i] - terms.Sum()) / bound);
                    // Others than gradients are not rounded.
                    Assert.InRange(Math.Abs(exact[i] - terms.Sum()), 0, 1e-6 * bound);
                }

                Values.NoteMargin("gradients in bf16", worst / most);
                Assert.InRange(worst, 0.1 * most, most);
            },
            ElementType.BFloat16);
    }
}
