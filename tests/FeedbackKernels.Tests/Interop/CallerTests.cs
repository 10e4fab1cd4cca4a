using System.Runtime.CompilerServices;
using FeedbackKernels.Interop;
using FeedbackKernels.Tests.Conformance;
using FeedbackKernels.Tests.Cuda;

namespace FeedbackKernels.Tests.Interop;

/// <summary>A backend serves one caller at a time, and none after it is disposed. Its threads end with it.</summary>
public class CallerTests
{
    [Theory, ClassData(typeof(Candidates))]
    public void Of_two_threads_on_one_backend_each_call_computes_or_is_refused(string candidate)
    {
        using Backend backend = Candidates.Create(candidate);
        // Shapes of different sizes, so that scratch memory is reallocated from call to call.
        ConvShape[] shapes = [new(1, 6, 6, 8, 8, 3, 3, 1, 1), new(2, 9, 9, 16, 8, 3, 3, 1, 1), new(1, 12, 12, 8, 24, 1, 1, 1, 0), ConvShape.Linear(8, 32, 16)];
        // Each thread has its own buffers: the backend does not protect shared ones.
        (DeviceBuffer X, DeviceBuffer W, DeviceBuffer Y)[][] buffers = [.. Enumerable.Range(0, 2).Select(_ => shapes.Select(Put).ToArray())];
        int rounds = backend.HostAddressable ? 400 : 10, refused = 0, done = 0;
        Exception? other = null;
        Thread[] threads = [.. Enumerable.Range(0, 2).Select(t => new Thread(() => Work(t)))];
        foreach (Thread thread in threads) thread.Start();
        foreach (Thread thread in threads) thread.Join();
        Assert.Null(other);
        Assert.True(done > 0);
        Assert.Equal(2 * rounds * shapes.Length, done + refused);
        foreach ((DeviceBuffer x, DeviceBuffer w, DeviceBuffer y) in buffers.SelectMany(b => b))
        {
            x.Dispose();
            w.Dispose();
            y.Dispose();
        }

        (DeviceBuffer, DeviceBuffer, DeviceBuffer) Put(ConvShape shape)
        {
            DeviceBuffer x = backend.Allocate(shape.InputLength, "x", backend.ActivationType), w = backend.Allocate(shape.WeightLength, "w");
            backend.Fill(x, 1);
            backend.Fill(w, 1);
            return (x, w, backend.Allocate(shape.OutputLength, "y", backend.ActivationType));
        }

        void Work(int thread)
        {
            for (int i = 0; i < rounds; i++)
            {
                for (int s = 0; s < shapes.Length; s++)
                {
                    try
                    {
                        (DeviceBuffer x, DeviceBuffer w, DeviceBuffer y) = buffers[thread][s];
                        backend.ConvForward(shapes[s], x, w, y);
                        Interlocked.Increment(ref done);
                    }
                    catch (InvalidOperationException e) when (e.Message.Contains("one caller at a time", StringComparison.Ordinal))
                    {
                        Interlocked.Increment(ref refused);
                    }
#pragma warning disable CA1031 // It fails the test.
                    catch (Exception e)
#pragma warning restore CA1031
                    {
                        other = e;
                    }
                }
            }
        }
    }

    [Fact]
    public void Disposal_waits_for_the_operation_of_another_thread()
    {
        var backend = new ProbeBackend(ElementType.Float32);
        using DeviceBuffer x = backend.Allocate(8, "x");
        using var inside = new ManualResetEventSlim();
        using var leave = new ManualResetEventSlim();
        backend.Within = () =>
        {
            inside.Set();
            leave.Wait();
        };
        var caller = new Thread(() => backend.Fill(x, 1));
        caller.Start();
        inside.Wait(TestContext.Current.CancellationToken);
        Assert.Throws<InvalidOperationException>(() => backend.Fill(x, 1));
        var disposer = new Thread(backend.Dispose);
        disposer.Start();
        Assert.False(disposer.Join(50));
        leave.Set();
        caller.Join();
        disposer.Join();
        Assert.Throws<ObjectDisposedException>(() => backend.Fill(x, 1));
    }

    [Fact]
    public void A_call_that_fails_leaves_the_backend_to_the_next_caller()
    {
        using var backend = new ProbeBackend(ElementType.Float32);
        using DeviceBuffer x = backend.Allocate(8, "x");
        backend.Within = () => throw new NotSupportedException("a test");
        Assert.Throws<NotSupportedException>(() => backend.Fill(x, 1));
        Assert.Throws<ArgumentNullException>(() => backend.Fill(default, 1));
        backend.Within = () => { };
        backend.Fill(x, 1);
    }

    [Fact]
    public void A_readback_serves_one_caller_at_a_time()
    {
        using var backend = new ProbeBackend(ElementType.Float32);
        using DeviceBuffer x = backend.Allocate(8, "x");
        using Readback readback = backend.CreateReadback(8, "losses");
        var messages = new List<string>();
        backend.Within = () =>
        {
            messages.Add(Assert.Throws<InvalidOperationException>(() => readback.Queue(x, 8)).Message);
            messages.Add(Assert.Throws<InvalidOperationException>(() => readback.Read<float>(new float[8])).Message);
        };
        readback.Queue(x, 8);
        Assert.Equal(2, messages.Count);
        Assert.All(messages, m => Assert.Contains("'losses'", m));
    }

    [Fact]
    public void A_step_ends_when_it_is_left_and_not_when_another_caller_is_inside()
    {
        using CudaBackend backend = CudaUnderTest.CreateBackend();
        StepScope step = backend.BeginStep();
        backend.Enter();
        Assert.Throws<InvalidOperationException>(step.Complete);
        var leaves = new Thread(step.Dispose);
        leaves.Start();
        Assert.False(leaves.Join(50));
        backend.Leave();
        leaves.Join();
        backend.BeginStep().Dispose();
        step = backend.BeginStep();
        backend.Dispose();
        Assert.Throws<ObjectDisposedException>(step.Complete);
        step.Dispose();
    }

    [Theory]
    [InlineData(-1)]
    [InlineData(CpuBackend.MostThreads + 1)]
    [InlineData(40_000)]
    [InlineData(int.MaxValue)]
    public void A_number_of_threads_out_of_range_is_named_with_the_limit(int threads)
    {
        var e = Assert.Throws<ArgumentOutOfRangeException>(() => new CpuBackend(threads));
        Assert.Equal("threads", e.ParamName);
        Assert.Contains($"{threads}", e.Message);
        Assert.Contains($"{CpuBackend.MostThreads}", e.Message);
    }

    [Fact]
    public void The_most_threads_that_are_allowed_start_and_end()
    {
        CpuBackend backend;
        try
        {
            backend = new CpuBackend(CpuBackend.MostThreads);
        }
        catch (InsufficientMemoryException e)
        {
            // A container may limit the threads of its processes.
            Assert.Contains($"of {CpuBackend.MostThreads} threads", e.Message);
            return;
        }

        using CpuBackend ends = backend;
        using DeviceBuffer x = backend.Allocate(100_000, "x");
        backend.Fill(x, 2);
        Assert.Equal(-1, x.HostSpan<float>().IndexOfAnyExcept(2));
    }

    [Fact]
    public void Threads_of_backends_that_nobody_disposes_end()
    {
        Thread[] threads = [.. Enumerable.Range(0, 200).SelectMany(_ => Forget())];
        Assert.Equal(200, threads.Length);
        var limit = System.Diagnostics.Stopwatch.StartNew();
        while (threads.Any(t => t.IsAlive) && limit.Elapsed < TimeSpan.FromSeconds(30))
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
            Thread.Sleep(10);
        }

        Assert.Equal(0, threads.Count(t => t.IsAlive));

        [MethodImpl(MethodImplOptions.NoInlining)]
        static IEnumerable<Thread> Forget()
        {
            var backend = new CpuBackend(2);
            using DeviceBuffer x = backend.Allocate(100, "x");
            backend.Fill(x, 1);
            return [.. backend.Workers];
        }
    }

    [Fact]
    public void Threads_of_backends_that_are_disposed_have_ended()
    {
        var backend = new CpuBackend(7);
        IReadOnlyList<Thread> threads = backend.Workers;
        Assert.Equal(6, threads.Count);
        backend.Dispose();
        Assert.All(threads, t => Assert.False(t.IsAlive));
    }
}
