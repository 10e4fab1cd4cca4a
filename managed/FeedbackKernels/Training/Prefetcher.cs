using System.Diagnostics;
using System.Runtime.ExceptionServices;

namespace FeedbackKernels.Training;

/// <summary>
/// Fills items ahead of their use on background threads and gives them out in order. An item is filled in parts, so that several
/// threads work on the one that is needed next. The items are allocated once and used in turn: memory does not depend on the number of
/// threads, and taking an item allocates nothing.
/// </summary>
internal sealed class Prefetcher<T> : IDisposable
    where T : class
{
    private readonly object _lock = new();
    private readonly Func<T, int, int> _begin;
    private readonly Action<T, int, int> _fill;
    private readonly Slot[] _slots;
    private readonly Task[] _workers;

    // Items up to _last are filled; _number and _part are claimed next, of _parts.
    private int _last, _number, _part, _parts, _taken;
    private bool _stopped = true;

    /// <param name="threads">Number of threads.</param>
    /// <param name="ahead">Items that are filled ahead of the one in use, at least 1.</param>
    /// <param name="create">Allocates an item.</param>
    /// <param name="begin">Prepares the item with a number and returns its number of parts, 0 or more; called in the order of the
    /// numbers, and must be quick.</param>
    /// <param name="fill">Fills a part of an item; the last argument is the number of the thread. Called on all threads at once.</param>
    public Prefetcher(int threads, int ahead, Func<T> create, Func<T, int, int> begin, Action<T, int, int> fill)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(threads);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(ahead);
        (_begin, _fill) = (begin, fill);
        _slots = [.. Enumerable.Range(0, ahead + 1).Select(_ => new Slot(create()))];
        _workers = [.. Enumerable.Repeat(Task.CompletedTask, threads)];
    }

    /// <summary>Number of threads.</summary>
    public int Threads => _workers.Length;

    /// <summary>Time that <see cref="Take"/> has waited, in ticks of <see cref="Stopwatch"/>.</summary>
    public long WaitedTicks { get; private set; }

    /// <summary>Starts over: fills the items 0 to <paramref name="count"/> - 1.</summary>
    public void Start(int count)
    {
        Stop();
        (_last, _number, _part, _parts, _taken, _stopped) = (count - 1, -1, 0, 0, 0, false);
        foreach (Slot slot in _slots) slot.Clear();
        for (int i = 0; i < _workers.Length; i++)
        {
            int worker = i;
            _workers[i] = Task.Factory.StartNew(() => Work(worker), TaskCreationOptions.LongRunning);
        }
    }

    /// <summary>The next item. It is valid until the next call of any method. Throws what filling the item threw.</summary>
    public T Take()
    {
        lock (_lock)
        {
            Slot slot = SlotOf(_taken);
            if (!slot.IsFilled)
            {
                if (_taken > _last) throw new InvalidOperationException("all items have been taken");
                long start = Stopwatch.GetTimestamp();
                while (!slot.IsFilled) Monitor.Wait(_lock);
                WaitedTicks += Stopwatch.GetTimestamp() - start;
            }

            slot.Fault?.Throw();
            // The item taken before may be filled again.
            if (_taken > 0) SlotOf(_taken - 1).Clear();
            _taken++;
            Monitor.PulseAll(_lock);
            return slot.Item;
        }
    }

    /// <summary>Stops the threads and waits for them.</summary>
    public void Stop()
    {
        lock (_lock)
        {
            _stopped = true;
            Monitor.PulseAll(_lock);
        }

        Task.WaitAll(_workers);
    }

    /// <inheritdoc/>
    public void Dispose() => Stop();

    private Slot SlotOf(int number) => _slots[number % _slots.Length];

    private void Work(int worker)
    {
        while (Claim() is var (number, part) && number >= 0)
        {
            Slot slot = SlotOf(number);
            ExceptionDispatchInfo? fault = null;
            try
            {
                _fill(slot.Item, part, worker);
            }
            catch (Exception e)
            {
                fault = ExceptionDispatchInfo.Capture(e);
            }

            lock (_lock)
            {
                if (fault is not null)
                {
                    slot.Fail(part, fault);
                    // Whoever takes the items does not get past this one. Its other parts are filled nevertheless: which fault is
                    // reported must not depend on the threads.
                    _last = Math.Min(_last, number);
                }

                if (slot.Complete()) Monitor.PulseAll(_lock);
            }
        }
    }

    /// <summary>The next part to fill, once the memory of its item is free; a negative number if there is none.</summary>
    private (int Number, int Part) Claim()
    {
        lock (_lock)
        {
            while (!_stopped)
            {
                if (_number <= _last && _part < _parts) return (_number, _part++);
                if (_number >= _last) break;
                // The item in use was the last one taken; the slot of the one before it is free.
                if (_number + 1 - Math.Max(0, _taken - 1) < _slots.Length) BeginNext();
                else Monitor.Wait(_lock);
            }

            return (-1, 0);
        }
    }

    private void BeginNext()
    {
        _number++;
        Slot slot = SlotOf(_number);
        (_part, _parts) = (0, _begin(slot.Item, _number));
        if (slot.Expect(_parts)) Monitor.PulseAll(_lock);
    }

    /// <summary>An item with what is known of its parts.</summary>
    private sealed class Slot(T item)
    {
        private int _left, _faultyPart;

        public T Item => item;

        public bool IsFilled { get; private set; }

        /// <summary>What the first faulty part threw.</summary>
        public ExceptionDispatchInfo? Fault { get; private set; }

        public void Clear() => (IsFilled, Fault, _left) = (false, null, 0);

        /// <summary>Whether the item, of so many parts, is filled already.</summary>
        public bool Expect(int parts)
        {
            _left = parts;
            return IsFilled = parts == 0;
        }

        /// <summary>Counts a part as filled; returns whether it was the last one.</summary>
        public bool Complete() => IsFilled = --_left == 0;

        public void Fail(int part, ExceptionDispatchInfo fault)
        {
            if (Fault is not null && _faultyPart < part) return;
            (Fault, _faultyPart) = (fault, part);
        }
    }
}
