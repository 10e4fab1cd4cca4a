using FeedbackKernels.Interop;

namespace FeedbackKernels.Tests.Interop;

public unsafe class WorkerPoolTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(7)]
    public void Every_item_runs_once_however_many_runs_there_are(int threads)
    {
        using var pool = new WorkerPool(threads);
        int[] counts = GC.AllocateArray<int>(1000, pinned: true);
        fixed (int* p = counts)
        {
            var job = new CountJob { Counts = p };
            for (int run = 0; run < 500; run++)
            {
                // Runs that follow soon find the workers spinning, the others find them asleep.
                if (run % 100 == 99) Thread.Sleep(2);
                pool.Run(run % 3 == 0 ? 1000 : 3, ref job);
            }
        }

        Assert.All(counts[..3], c => Assert.Equal(500, c));
        Assert.All(counts[3..], c => Assert.Equal(167, c));
    }

    [Fact]
    public void A_failure_on_any_thread_reaches_the_caller_and_the_pool_goes_on()
    {
        using var pool = new WorkerPool(3);
        var failing = new FailingJob { FailAt = 500 };
        Assert.Equal("item 500", Assert.Throws<InvalidOperationException>(() => pool.Run(1000, ref failing)).Message);
        var fine = new FailingJob { FailAt = -1 };
        pool.Run(1000, ref fine);
    }

    [Fact]
    public void A_second_caller_is_told_so()
    {
        using var pool = new WorkerPool(1);
        using var inside = new ManualResetEventSlim();
        using var leave = new ManualResetEventSlim();
        BlockingJob.Inside = inside;
        BlockingJob.Leave = leave;
        var first = new Thread(() =>
        {
            var blocking = default(BlockingJob);
            pool.Run(1, ref blocking);
        });
        first.Start();
        inside.Wait(TestContext.Current.CancellationToken);
        var second = new FailingJob { FailAt = -1 };
        Assert.Throws<InvalidOperationException>(() => pool.Run(1, ref second));
        leave.Set();
        first.Join();
    }

    private struct CountJob : IParallelJob
    {
        public int* Counts;

        public readonly void Run(int item, int worker) => Interlocked.Increment(ref Counts[item]);
    }

    private struct FailingJob : IParallelJob
    {
        public int FailAt;

        public readonly void Run(int item, int worker)
        {
            if (item == FailAt) throw new InvalidOperationException($"item {item}");
        }
    }

    private struct BlockingJob : IParallelJob
    {
        public static ManualResetEventSlim? Inside, Leave;

        public readonly void Run(int item, int worker)
        {
            Inside!.Set();
            Leave!.Wait();
        }
    }
}
