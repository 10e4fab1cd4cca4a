using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;

namespace FeedbackKernels.Interop;

/// <summary>Work divided into independent items. The result of an item depends on its index alone.</summary>
internal interface IParallelJob
{
    /// <summary>Runs item <paramref name="item"/> on worker <paramref name="worker"/>, 0 to threads - 1.</summary>
    void Run(int item, int worker);
}

/// <summary>
/// The threads of the CPU backend. Each thread starts with its own range of items, the same part of the images in every operation, so
/// that its caches hold what it wrote before. Then it takes items from the ranges of the other threads, so a thread that loses its core
/// to another process delays one item, not its whole range. Idle workers spin for a moment, because the next operation of a step is
/// microseconds away, then yield, then sleep. A run allocates nothing.
/// </summary>
internal sealed unsafe class WorkerPool : IDisposable
{
    // About the time between two operations of a training step.
    private static readonly long SpinTicks = Stopwatch.Frequency / 20_000;

    // A woken thread often starts on the processor of the thread that woke it and waits there for milliseconds, until the scheduler
    // balances the load. The caller does all the work meanwhile. So a worker stays awake for this long, but yields its processor to other
    // threads.
    private static readonly long YieldTicks = Stopwatch.Frequency / 200;

    private readonly Thread[] _workers;
    private readonly SemaphoreSlim _wake = new(0);
    private delegate*<void*, int, int, void> _body;
    private void* _job;
    private readonly Range* _ranges;
    private int _generation;
    private int _sleepers;
    // Bit 0: open to workers. The other bits count the workers inside, in steps of two.
    private int _gate;
    private int _running;
    private int _stopping;

    // The workers and the owner of the pool. The last one to leave frees the ranges.
    private int _users;
    private ExceptionDispatchInfo? _failure;

    private readonly bool _works;

    /// <summary>Starts the threads.</summary>
    /// <param name="threads">Threads, including the caller's.</param>
    /// <param name="works">Whether work is done; otherwise there are no threads but the caller's, and a run does nothing.</param>
    public WorkerPool(int threads, bool works = true)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(threads);
        Threads = threads;
        _works = works;
        _workers = new Thread[works ? threads - 1 : 0];
        _ranges = (Range*)NativeMemory.AlignedAlloc((nuint)threads * (nuint)sizeof(Range), (nuint)sizeof(Range));
        _users = 1;
        try
        {
            for (int i = 0; i < _workers.Length; i++)
            {
                int worker = i + 1;
                _workers[i] = new Thread(() => Work(worker)) { IsBackground = true, Name = $"feedback worker {worker}" };
                _workers[i].Start();
                Interlocked.Increment(ref _users);
            }
        }
        catch (OutOfMemoryException e)
        {
            // The process may not start more threads. Those already started end.
            int started = _users;
            Stop();
            throw new InsufficientMemoryException($"the system starts no more than {started} of {threads} threads for this process", e);
        }
    }

    /// <summary>The threads other than the caller's.</summary>
    internal IReadOnlyList<Thread> Workers => _workers;

    /// <summary>Number of threads that work, including the caller's.</summary>
    public int Threads { get; }

    /// <summary>Runs items 0 to count - 1 and returns when all are done.</summary>
    public void Run<TJob>(int count, ref TJob job) where TJob : unmanaged, IParallelJob
    {
        if (!_works) return;
        if (Interlocked.Exchange(ref _running, 1) != 0)
            throw new InvalidOperationException("a backend serves one caller at a time; another thread is inside an operation");
        try
        {
            fixed (TJob* pointer = &job)
            {
                if (count <= 1 || _workers.Length == 0)
                {
                    for (int i = 0; i < count; i++) pointer->Run(i, 0);
                }
                else
                {
                    _job = pointer;
                    _body = &Invoke<TJob>;
                    RunShared(count);
                }
            }
        }
        finally
        {
            Volatile.Write(ref _running, 0);
        }
    }

    /// <summary>Ends the threads and waits until they have ended.</summary>
    public void Dispose()
    {
        Stop();
        foreach (Thread worker in _workers) worker.Join();
    }

    /// <summary>Tells the threads to end, without waiting. For finalizers.</summary>
    public void Stop()
    {
        if (Interlocked.Exchange(ref _stopping, 1) != 0) return;
        Interlocked.Increment(ref _generation);
        _wake.Release(_workers.Length + 1);
        Leave();
    }

    private void Leave()
    {
        if (Interlocked.Decrement(ref _users) == 0) NativeMemory.AlignedFree(_ranges);
    }

    private static void Invoke<TJob>(void* job, int item, int worker) where TJob : unmanaged, IParallelJob =>
        ((TJob*)job)->Run(item, worker);

    private void RunShared(int count)
    {
        for (int i = 0; i < Threads; i++)
        {
            _ranges[i].Next = (int)((long)count * i / Threads);
            _ranges[i].End = (int)((long)count * (i + 1) / Threads);
        }

        Interlocked.Exchange(ref _gate, 1);
        Interlocked.Increment(ref _generation);
        int sleeping = Interlocked.Exchange(ref _sleepers, 0);
        if (sleeping > 0) _wake.Release(sleeping);

        TakeItems(0);

        // Close the gate. Workers that have not entered yet are not waited for.
        Interlocked.And(ref _gate, ~1);
        var spin = new SpinWait();
        while (Volatile.Read(ref _gate) != 0) spin.SpinOnce(sleep1Threshold: -1);
        ExceptionDispatchInfo? failure = Interlocked.Exchange(ref _failure, null);
        failure?.Throw();
    }

    private void TakeItems(int worker)
    {
        try
        {
            for (int i = 0; i < Threads; i++)
            {
                Range* range = _ranges + (worker + i) % Threads;
                int item;
                while ((item = Interlocked.Increment(ref range->Next) - 1) < range->End) _body(_job, item, worker);
            }
        }
#pragma warning disable CA1031 // The caller of Run gets every exception, after all workers have stopped.
        catch (Exception e)
#pragma warning restore CA1031
        {
            _failure = ExceptionDispatchInfo.Capture(e);
            for (int i = 0; i < Threads; i++) Volatile.Write(ref _ranges[i].Next, _ranges[i].End);
        }
    }

    private void Work(int worker)
    {
        int seen = 0;
        while (true)
        {
            seen = WaitForChange(seen);
            if (Volatile.Read(ref _stopping) != 0) break;
            if (!TryEnter()) continue;
            TakeItems(worker);
            Interlocked.Add(ref _gate, -2);
        }

        Leave();
    }

    private bool TryEnter()
    {
        while (true)
        {
            int gate = Volatile.Read(ref _gate);
            if ((gate & 1) == 0) return false;
            if (Interlocked.CompareExchange(ref _gate, gate + 2, gate) == gate) return true;
        }
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private int WaitForChange(int seen)
    {
        long start = Stopwatch.GetTimestamp();
        while (true)
        {
            int generation = Volatile.Read(ref _generation);
            if (generation != seen) return generation;
            long waited = Stopwatch.GetTimestamp() - start;
            if (waited < YieldTicks)
            {
                if (waited < SpinTicks) Thread.SpinWait(8);
                else Thread.Yield();
                continue;
            }

            // The sleeper is registered before the last check, so a run that starts in between wakes it. A spurious wake-up goes round
            // this loop once more.
            Interlocked.Increment(ref _sleepers);
            if (Volatile.Read(ref _generation) == seen) _wake.Wait();
            start = Stopwatch.GetTimestamp();
        }
    }

    /// <summary>Items of one thread, in its own pair of cache lines, because processors fetch lines in pairs.</summary>
    [StructLayout(LayoutKind.Explicit, Size = 128)]
    private struct Range
    {
        [FieldOffset(0)]
        public int Next;

        [FieldOffset(4)]
        public int End;
    }
}
