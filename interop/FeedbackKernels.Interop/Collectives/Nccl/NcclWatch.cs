namespace FeedbackKernels.Interop;

/// <summary>
/// Watches the sums of NCCL from a thread of its own, because the host may be waiting for the device: for errors of NCCL, for other
/// processes that have ended, and for a sum that does not end. It then aborts NCCL, which ends the kernels that wait on the device. Nobody
/// may trust their results: <see cref="ThrowIfFailed"/> comes after each wait.
/// </summary>
internal sealed class NcclWatch : IDisposable
{
    /// <summary>Milliseconds between two looks.</summary>
    public const int MillisecondsBetweenLooks = 20;

    // How long after an error of NCCL the news of its cause may come: a process that fails disposes its backend before it says why.
    private const int MillisecondsUntilNews = 3000;

    // How long an abort waits for a call of another thread, which takes microseconds unless it makes a connection; and how long the abort
    // may take.
    private static readonly TimeSpan LongestCall = TimeSpan.FromSeconds(3), LongestAbort = TimeSpan.FromSeconds(10);

    private readonly NcclLibrary _library;
    private readonly nint _communicator;
    private readonly Communicator _hosts;
    private readonly CudaContext _context;
    private readonly TimeSpan _limit;
    private readonly object _gate = new(), _calls = new();

    // Those that have begun, in their order, with a number for each time; they are queued a little later.
    private readonly List<(NcclSum Sum, long Number, bool IsQueued)> _running = [];

    // Those of them of which the driver is being asked.
    private readonly List<(NcclSum Sum, long Number)> _asked = [];
    private readonly Thread _thread, _events;
    private long _lastProgress, _begun;
    private volatile string? _failure;
    private volatile bool _hasError;
    private bool _stopping, _given;

    public NcclWatch(NcclLibrary library, nint communicator, Communicator hosts, CudaContext context, TimeSpan limit)
    {
        (_library, _communicator, _hosts, _context, _limit) = (library, communicator, hosts, context, limit);
        _thread = new Thread(Run) { IsBackground = true, Name = "NCCL watch" };
        // While the driver waits for the device, to load a kernel or to make a graph, it lets no thread in. Where the device waits for
        // another process, what ends that must not ask the driver.
        _events = new Thread(Ask) { IsBackground = true, Name = "NCCL events" };
        _thread.Start();
        _events.Start();
    }

    /// <summary>Throws what the thread has found.</summary>
    /// <exception cref="CommunicationException">A process has ended or hangs, or NCCL reports an error.</exception>
    public void ThrowIfFailed()
    {
        string? text;
        // After an error of NCCL's no result can be trusted, also before it is known what to say of it.
        while ((text = _failure ?? _hosts.Failure) is null && _hasError) Thread.Sleep(1);
        if (text is not null) throw new CommunicationException(text);
    }

    /// <summary>Begins a call of NCCL's, during which nothing is aborted.</summary>
    /// <exception cref="CommunicationException">As of <see cref="ThrowIfFailed"/>; the communicator may be gone.</exception>
    public CallScope Call()
    {
        Monitor.Enter(_calls);
        try
        {
            ThrowIfFailed();
        }
        catch
        {
            Monitor.Exit(_calls);
            throw;
        }

        return new CallScope(_calls);
    }

    /// <summary>Notes the first error and has NCCL end its work.</summary>
    public void Fail(string text)
    {
        lock (_gate)
        {
            // First, so that nobody whom the abort wakes takes the results for good.
            _failure ??= text;
            if (_given) return;
            _given = true;
        }

        Abort();
    }

    /// <summary>
    /// Notes an error of NCCL's. Its cause may be a process that has failed, which gives NCCL back before it can tell the others why: that is
    /// waited for.
    /// </summary>
    public void FailOfNccl(string text)
    {
        _hasError = true;
        long start = Environment.TickCount64;
        while (_hosts.Failure is null && Environment.TickCount64 - start < MillisecondsUntilNews) Thread.Sleep(MillisecondsBetweenLooks);
        Fail(_hosts.Failure ?? text);
    }

    /// <summary>A sum begins.</summary>
    public void Add(NcclSum sum)
    {
        lock (_gate)
        {
            if (_running.Count == 0) _lastProgress = Environment.TickCount64;
            // It may still be running since the step before: then only its newest end counts.
            _running.RemoveAll(running => running.Sum == sum);
            _running.Add((sum, ++_begun, false));
        }
    }

    /// <summary>Its end has been recorded.</summary>
    public void MarkQueued(NcclSum sum)
    {
        lock (_gate)
        {
            int at = _running.FindIndex(running => running.Sum == sum);
            if (at >= 0) _running[at] = _running[at] with { IsQueued = true };
        }
    }

    /// <summary>A sum is being disposed.</summary>
    public void Forget(NcclSum sum)
    {
        lock (_gate) _running.RemoveAll(running => running.Sum == sum);
    }

    /// <summary>Stops watching and gives the communicator back; aborts it if a sum has not ended.</summary>
    public void Dispose()
    {
        lock (_gate)
        {
            _stopping = true;
            Monitor.PulseAll(_gate);
        }

        if (!_thread.Join(LongestCall + 2 * LongestAbort)) return;
        // Before the driver is asked, which may wait for what this ends.
        if (_hosts.Failure is { } text) Fail(text);
        bool answers = _events.Join(LongestAbort), runs, given;
        if (answers) RemoveEnded();
        lock (_gate)
        {
            runs = _running.Count > 0;
            given = _given;
            _given = true;
        }

        if (given) return;
        if (runs || !answers)
        {
            Abort();
            return;
        }

        using CudaContext.Scope scope = _context.Enter();
        _library.Destroy(_communicator);
    }

    /// <summary>
    /// Ends all work on the device. An abort frees the communicator, so NCCL wants no thread in a call with it
    /// (https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/usage/communicators.html). But a call may itself wait for a process that
    /// does not come any more, which only an abort ends. And an abort may not end (NVIDIA/nccl#829, #992): then device and host would wait
    /// for ever, and the process ends instead.
    /// </summary>
    private void Abort()
    {
        bool alone = Monitor.TryEnter(_calls, LongestCall);
        try
        {
            var thread = new Thread(() => _library.Abort(_communicator)) { IsBackground = true, Name = "NCCL abort" };
            thread.Start();
            if (thread.Join(LongestAbort)) return;
        }
        finally
        {
            if (alone) Monitor.Exit(_calls);
        }

        Console.Error.WriteLine($"{_failure ?? "a sum has not ended"}; NCCL does not end its work either");
        _hosts.Abort(1);
    }

    private void Run()
    {
        while (WaitForNextLook())
        {
            if ((_hosts.Failure ?? SumThatIsLate()) is { } text) Fail(text);
            else if (ErrorOfNccl() is { } error) FailOfNccl(error);
        }
    }

    private void Ask()
    {
        while (WaitForNextLook()) RemoveEnded();
    }

    private bool WaitForNextLook()
    {
        lock (_gate)
        {
            if (_stopping || _failure is not null) return false;
            Monitor.Wait(_gate, MillisecondsBetweenLooks);
            return !_stopping && _failure is null;
        }
    }

    /// <summary>The error that NCCL reports, if any.</summary>
    private string? ErrorOfNccl()
    {
        lock (_gate)
        {
            if (_given || _library.FailureOf(_communicator) is not { } error) return null;
            string waiting = _running.Count > 0 ? _running[0].Sum.Name : "nothing";
            return $"NCCL: {error}, while process {_hosts.Rank} waited for the sum of {waiting}";
        }
    }

    /// <summary>Says which sum has not ended within the limit, if any. Does not call the driver.</summary>
    private string? SumThatIsLate()
    {
        lock (_gate)
        {
            if (_given || _running.Count == 0) return null;
            TimeSpan waited = TimeSpan.FromMilliseconds(Environment.TickCount64 - _lastProgress);
            return waited > _limit ? WaitingTime.Over("NCCL", _hosts.Rank, waited, $"sum of {_running[0].Sum.Name}", _limit) : null;
        }
    }

    /// <summary>Forgets the sums that have ended.</summary>
    private void RemoveEnded()
    {
        lock (_gate)
        {
            foreach ((NcclSum sum, long number, bool isQueued) in _running)
            {
                if (!isQueued) continue;
                // It may be disposed meanwhile.
                bool isKept = false;
                sum.Ended.DangerousAddRef(ref isKept);
                _asked.Add((sum, number));
            }
        }

        using CudaContext.Scope scope = _context.Enter();
        foreach ((NcclSum sum, long number) in _asked)
        {
            // Errors of the device are those of the backend, which reports them when it waits.
            bool hasEnded = DriverApi.EventQuery(sum.Ended.DangerousGetHandle()) != CudaResult.NotReady;
            sum.Ended.DangerousRelease();
            if (!hasEnded) continue;
            lock (_gate)
                if (_running.RemoveAll(running => running.Number == number) > 0) _lastProgress = Environment.TickCount64;
        }

        _asked.Clear();
    }

    /// <summary>A call of NCCL's, to its end.</summary>
    internal readonly ref struct CallScope(object calls)
    {
        public void Dispose() => Monitor.Exit(calls);
    }
}
