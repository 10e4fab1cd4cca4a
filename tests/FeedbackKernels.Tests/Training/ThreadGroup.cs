using System.Numerics.Tensors;
using FeedbackKernels.Interop;

namespace FeedbackKernels.Tests.Training;

/// <summary>
/// Processes as threads of the test: what each adds is kept until all have added theirs, and summed in the order of their numbers. Calls that
/// do not match, which with an engine would hang or mix numbers up, are errors that name both.
/// </summary>
internal sealed class ThreadGroup
{
    private readonly List<Call> _calls = [];
    private readonly int _size;
    private string? _failure;

    private ThreadGroup(int size) => _size = size;

    /// <summary>Runs a function in each process and returns what they return. The first error of one ends the others.</summary>
    public static T[] Run<T>(int size, Func<Communicator, T> process)
    {
        var group = new ThreadGroup(size);
        var results = new T[size];
        var errors = new Exception?[size];
        Thread[] threads =
        [
            .. Enumerable.Range(0, size).Select(rank => new Thread(() =>
            {
                try
                {
                    using var member = new Member(group, rank);
                    results[rank] = process(member);
                }
                catch (Exception e)
                {
                    errors[rank] = e;
                    group.Fail($"process {rank} has failed: {e.Message}");
                }
            })),
        ];
        foreach (Thread thread in threads) thread.Start();
        foreach (Thread thread in threads) thread.Join();
        if (errors.FirstOrDefault(e => e is not null and not LeftAloneException) is { } first) throw new AggregateException(errors.OfType<Exception>().Prepend(first));
        return results;
    }

    private void Fail(string why)
    {
        lock (_calls)
        {
            _failure ??= why;
            Monitor.PulseAll(_calls);
        }
    }

    private void Add(int number, int rank, string kind, double[] values)
    {
        lock (_calls)
        {
            while (_calls.Count <= number) _calls.Add(new Call(new double[_size][]));
            Call call = _calls[number];
            call.Kinds[rank] = kind;
            call.Values[rank] = values;
            if (call.Kinds.Values.Distinct().Count() > 1)
                throw new InvalidOperationException($"call {number}: {string.Join(", ", call.Kinds.Select(k => $"process {k.Key}: {k.Value}"))}");
            Monitor.PulseAll(_calls);
        }
    }

    private double[][] WaitFor(int number)
    {
        lock (_calls)
        {
            while (_calls[number].Values.Any(values => values is null))
            {
                if (_failure is not null) throw new LeftAloneException(_failure);
                Monitor.Wait(_calls);
            }

            return _calls[number].Values;
        }
    }

    private sealed record Call(double[][] Values)
    {
        public SortedDictionary<int, string> Kinds { get; } = [];
    }

    private sealed class LeftAloneException(string message) : Exception(message);

    private sealed class Member(ThreadGroup group, int rank) : Communicator
    {
        private int _next;

        public override int Rank => rank;

        public override int Size => group._size;

        public override int LocalRank => rank;

        public override int LocalSize => group._size;

        public override string Description => "threads";

        public override void Sum(Span<double> values)
        {
            int number = _next++;
            group.Add(number, rank, $"sum of {values.Length}", values.ToArray());
            SumOf(number, values);
        }

        public override void Broadcast(Span<byte> bytes, int from = 0)
        {
            int number = _next++;
            group.Add(number, rank, $"{bytes.Length} bytes from {from}", [.. bytes.ToArray().Select(b => (double)b)]);
            double[] sent = group.WaitFor(number)[from];
            for (int i = 0; i < bytes.Length; i++) bytes[i] = (byte)sent[i];
        }

        public override PendingSum CreateSum(BufferView values, string name) => new Pending(this, values, name);

        public override PendingSum CreateSum(double[] values, string name) => new PendingNumbers(this, values, name);

        public override void Progress()
        {
        }

        public override void Abort(int exitCode) => throw new InvalidOperationException("not in a test");

        protected override void Dispose(bool disposing)
        {
        }

        private void SumOf(int number, Span<double> sum)
        {
            double[][] all = group.WaitFor(number);
            sum.Clear();
            foreach (double[] values in all) TensorPrimitives.Add(sum, values, sum);
        }

        private sealed class Pending(Member member, BufferView values, string name) : PendingSum
        {
            private int _number = -1;

            public override unsafe void Begin(float weight = 1)
            {
                Assert.Equal(-1, _number);
                _number = member._next++;
                var numbers = new ReadOnlySpan<float>((float*)values.Address, (int)values.Length);
                member.Group.Add(_number, member.Rank, $"{name}: {values.Length}", [.. numbers.ToArray().Select(v => (double)(v * weight))]);
                // The sum may not be read before it is waited for.
                new Span<float>((float*)values.Address, (int)values.Length).Fill(float.NaN);
            }

            public override unsafe void Wait()
            {
                if (_number < 0) return;
                double[] sum = new double[values.Length];
                member.SumOf(_number, sum);
                for (int i = 0; i < sum.Length; i++) ((float*)values.Address)[i] = (float)sum[i];
                _number = -1;
            }

        }

        private ThreadGroup Group => group;

        private sealed class PendingNumbers(Member member, double[] values, string name) : PendingSum
        {
            private int _number = -1;

            public override void Begin(float weight = 1)
            {
                Assert.Equal(-1, _number);
                _number = member._next++;
                member.Group.Add(_number, member.Rank, $"{name}: {values.Length}", [.. values.Select(v => v * weight)]);
            }

            public override void Wait()
            {
                if (_number < 0) return;
                member.SumOf(_number, values);
                _number = -1;
            }
        }
    }
}
