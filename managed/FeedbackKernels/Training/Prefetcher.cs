using System.Runtime.ExceptionServices;

namespace FeedbackKernels.Training;

/// <summary>
/// Fills items ahead of their use on background threads and gives them out in order. The items are allocated once and used in
/// turn; taking one allocates nothing.
/// </summary>
internal sealed class Prefetcher<T> : IDisposable
    where T : class
{
    private const int Ahead = 2;

    private readonly object _lock = new();
    private readonly Action<T, int> _fill;
    private readonly T[] _items;
    private readonly bool[] _filled;
    private readonly ExceptionDispatchInfo?[] _faults;
    private readonly Task[] _workers;
    private int _count, _claimed, _taken;
    private bool _stopped = true;

    /// <param name="threads">Number of threads.</param>
    /// <param name="create">Allocates an item.</param>
    /// <param name="fill">Fills the item with a number; called on several threads at once.</param>
    public Prefetcher(int threads, Func<T> create, Action<T, int> fill)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(threads);
        _fill = fill;
        _items = [.. Enumerable.Range(0, threads + Ahead).Select(_ => create())];
        (_filled, _faults) = (new bool[_items.Length], new ExceptionDispatchInfo?[_items.Length]);
        _workers = [.. Enumerable.Repeat(Task.CompletedTask, threads)];
    }

    /// <summary>Starts over: fills the items 0 to <paramref name="count"/> - 1.</summary>
    public void Start(int count)
    {
        Stop();
        (_count, _claimed, _taken, _stopped) = (count, 0, 0, false);
        Array.Clear(_filled);
        Array.Clear(_faults);
        for (int i = 0; i < _workers.Length; i++) _workers[i] = Task.Factory.StartNew(Work, TaskCreationOptions.LongRunning);
    }

    /// <summary>The next item. It is valid until the next call of any method. Throws what filling the item threw.</summary>
    public T Take()
    {
        lock (_lock)
        {
            if (_taken >= _count) throw new InvalidOperationException("all items have been taken");
            int slot = _taken % _items.Length;
            while (!_filled[slot]) Monitor.Wait(_lock);
            _faults[slot]?.Throw();
            // The item taken before may be filled again.
            if (_taken > 0) _filled[(_taken - 1) % _items.Length] = false;
            _taken++;
            Monitor.PulseAll(_lock);
            return _items[slot];
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

    private void Work()
    {
        while (Claim() is var number && number >= 0)
        {
            int slot = number % _items.Length;
            try
            {
                _fill(_items[slot], number);
            }
            catch (Exception e)
            {
                _faults[slot] = ExceptionDispatchInfo.Capture(e);
            }

            lock (_lock)
            {
                _filled[slot] = true;
                // Whoever takes the items does not get past one that failed.
                if (_faults[slot] is not null) _stopped = true;
                Monitor.PulseAll(_lock);
            }
        }
    }

    /// <summary>The number of the next item to fill, once its memory is free; -1 if there is none.</summary>
    private int Claim()
    {
        lock (_lock)
        {
            while (!_stopped && _claimed < _count && _claimed - Math.Max(0, _taken - 1) >= _items.Length) Monitor.Wait(_lock);
            return _stopped || _claimed >= _count ? -1 : _claimed++;
        }
    }
}
