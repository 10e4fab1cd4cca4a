namespace FeedbackKernels.Interop;

/// <summary>
/// The one thread of the process that calls MPI (MPI_THREAD_FUNNELED). It runs what other threads ask for, in their order, and drives
/// operations that go on in the background: MPI moves their bytes only while somebody calls it.
/// </summary>
internal sealed class MpiThread : IDisposable
{
    // Between two looks at operations that nobody waits for yet. The computing thread also asks for a look after each block of the model.
    private const int MillisecondsBetweenLooks = 1;

    private readonly TimeSpan _limit = WaitingTime.Read();
    private readonly object _gate = new();
    private readonly Queue<IMpiWork> _queue = new();
    private readonly List<IMpiWork> _running = [];
    private readonly Thread _thread;
    private Exception? _failure;
    private int _waiting;
    private bool _lookWanted, _stopping;

    /// <summary>Number of the process, for errors.</summary>
    public int Rank { get; set; }

    public MpiThread()
    {
        _thread = new Thread(Run) { IsBackground = true, Name = "MPI" };
        _thread.Start();
    }

    /// <summary>Queues work.</summary>
    public void Post(IMpiWork work)
    {
        lock (_gate)
        {
            if (_failure is not null) throw new CommunicationException(_failure.Message);
            work.IsPending = true;
            _queue.Enqueue(work);
            Monitor.PulseAll(_gate);
        }
    }

    /// <summary>Waits until work has been done.</summary>
    /// <exception cref="CommunicationException">MPI reports an error, or the work takes longer than processes wait for each other. Nothing
    /// else can be done by MPI then.</exception>
    public void Wait(IMpiWork work)
    {
        lock (_gate)
        {
            if (!work.IsPending) return;
            _waiting++;
            Monitor.PulseAll(_gate);
            long start = Environment.TickCount64;
            while (work.IsPending && _failure is null)
            {
                TimeSpan waited = TimeSpan.FromMilliseconds(Environment.TickCount64 - start);
                if (waited >= _limit) _failure = new CommunicationException(WaitingTime.Over("MPI", Rank, waited, work.Name, _limit));
                else Monitor.Wait(_gate, _limit - waited);
            }

            _waiting--;
            if (_failure is not null) throw Again(_failure);
        }
    }

    // Each of the threads that wait throws an exception of its own, of the same type if that is one that a call may throw.
    private static Exception Again(Exception failure) => failure switch
    {
        CommunicationException => new CommunicationException(failure.Message),
        PlatformNotSupportedException => new PlatformNotSupportedException(failure.Message),
        _ => new InvalidOperationException(failure.Message, failure),
    };

    /// <summary>Runs a call on the thread and waits for it.</summary>
    /// <param name="name">What it is for.</param>
    /// <param name="call">The call. What MPI reads and writes is held by it, also when nobody waits any more.</param>
    public void Call(string name, Action call)
    {
        var work = new OneCall(name, call);
        Post(work);
        Wait(work);
    }

    /// <summary>Asks for a look at what goes on in the background.</summary>
    public void Look()
    {
        lock (_gate)
        {
            if (_running.Count == 0) return;
            _lookWanted = true;
            Monitor.PulseAll(_gate);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        lock (_gate)
        {
            _stopping = true;
            Monitor.PulseAll(_gate);
            // After an error the thread may be in a call that never ends.
            if (_failure is not null) return;
        }

        _thread.Join();
    }

    private void Run()
    {
        try
        {
            while (Next(out bool isWaitedFor))
            {
                if (_failure is not null) return;
                bool ended = false;
                for (int i = _running.Count - 1; i >= 0; i--)
                {
                    if (!_running[i].HasEnded()) continue;
                    End(_running[i]);
                    lock (_gate) _running.RemoveAt(i);
                    ended = true;
                }

                // Other processes of this machine may need the processor to get as far as this one.
                if (isWaitedFor && !ended) Thread.Yield();
            }
        }
        catch (Exception e)
        {
            lock (_gate)
            {
                _failure = e;
                Monitor.PulseAll(_gate);
            }
        }
    }

    /// <summary>Begins all work that is queued, or waits for some. Returns false at the end.</summary>
    private bool Next(out bool isWaitedFor)
    {
        while (true)
        {
            IMpiWork? work;
            lock (_gate)
            {
                if (_queue.Count == 0 && _running.Count == 0)
                {
                    if (_stopping)
                    {
                        isWaitedFor = false;
                        return false;
                    }

                    Monitor.Wait(_gate);
                }
                else if (_queue.Count == 0 && _waiting == 0 && !_lookWanted) Monitor.Wait(_gate, MillisecondsBetweenLooks);

                isWaitedFor = _waiting > 0;
                _lookWanted = false;
                if (!_queue.TryDequeue(out work))
                {
                    if (_running.Count > 0) return true;
                    continue;
                }
            }

            if (work.Begin())
            {
                lock (_gate) _running.Add(work);
            }
            else End(work);
        }
    }

    private void End(IMpiWork work)
    {
        lock (_gate)
        {
            work.IsPending = false;
            Monitor.PulseAll(_gate);
        }
    }

    private sealed class OneCall(string name, Action call) : IMpiWork
    {
        public string Name => name;

        public bool IsPending { get; set; }

        public bool Begin()
        {
            call();
            return false;
        }

        public bool HasEnded() => true;
    }
}

/// <summary>Work for the thread that calls MPI.</summary>
internal interface IMpiWork
{
    /// <summary>What it is, for errors.</summary>
    string Name { get; }

    /// <summary>Whether it is queued or goes on.</summary>
    bool IsPending { get; set; }

    /// <summary>Begins it. Returns whether it goes on in the background.</summary>
    bool Begin();

    /// <summary>Whether it has ended; drives it where it has not.</summary>
    bool HasEnded();
}
