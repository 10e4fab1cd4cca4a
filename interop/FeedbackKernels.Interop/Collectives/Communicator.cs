namespace FeedbackKernels.Interop;

/// <summary>
/// Processes that train one model together, each with its own backend: what they add up and send to each other. Every process makes the same
/// calls in the same order. One thread at a time may call a communicator.
/// </summary>
/// <remarks>An existing engine moves the bytes: NCCL between GPUs, MPI between CPUs.</remarks>
public abstract class Communicator : IDisposable
{
    /// <summary>A process on its own: sums are what went in.</summary>
    public static Communicator Alone { get; } = new LoneProcess();

    /// <summary>Number of this process, from 0.</summary>
    public abstract int Rank { get; }

    /// <summary>Number of processes.</summary>
    public abstract int Size { get; }

    /// <summary>Number of this process among those on the same machine, from 0.</summary>
    public abstract int LocalRank { get; }

    /// <summary>Number of processes on the same machine.</summary>
    public abstract int LocalSize { get; }

    /// <summary>Whether this process writes files and prints for all of them.</summary>
    public bool IsFirst => Rank == 0;

    /// <summary>Whether there are other processes.</summary>
    public bool IsShared => Size > 1;

    /// <summary>The engine with its version, for people.</summary>
    public abstract string Description { get; }

    /// <summary>Replaces each value by its sum over all processes: the same bits in each of them.</summary>
    /// <param name="values">The values of this process.</param>
    /// <exception cref="CommunicationException">The engine reports an error.</exception>
    public abstract void Sum(Span<double> values);

    /// <summary>What makes every further call fail, such as another process that has ended; null while nothing does.</summary>
    internal virtual string? Failure => null;

    /// <summary>Whether <see cref="CreateSum(BufferView, string)"/> takes buffers of a backend.</summary>
    /// <param name="backend">The backend.</param>
    public virtual bool CanSum(Backend backend)
    {
        ArgumentNullException.ThrowIfNull(backend);
        return backend.HostAddressable;
    }

    /// <summary>Sends bytes from one process to all.</summary>
    /// <param name="bytes">Read in that process, overwritten in the others; as many in all.</param>
    /// <param name="from">Rank of the process.</param>
    /// <exception cref="CommunicationException">The engine reports an error.</exception>
    public abstract void Broadcast(Span<byte> bytes, int from = 0);

    /// <summary>Prepares a sum that is made again and again. It allocates here and not later.</summary>
    /// <param name="values">Float32 numbers in the backend's memory, as many in all processes; stay the caller's.</param>
    /// <param name="name">What they are; errors quote it.</param>
    /// <exception cref="ArgumentException">They are not Float32, or more than an engine sums at once.</exception>
    public abstract PendingSum CreateSum(BufferView values, string name);

    /// <summary>The same for gradients, which an engine may be told to send and add in a shorter type.</summary>
    /// <inheritdoc cref="CreateSum(BufferView, string)"/>
    public virtual PendingSum CreateGradientSum(BufferView values, string name) => CreateSum(values, name);

    /// <summary>Prepares a sum of a few numbers of the host.</summary>
    /// <param name="values">The numbers, replaced by their sums.</param>
    /// <param name="name">What they are; errors quote it.</param>
    public abstract PendingSum CreateSum(double[] values, string name);

    /// <summary>Lets sums that have begun go on, where the engine needs the host for that. Fast; to be called while the process computes.</summary>
    public abstract void Progress();

    /// <summary>Ends all processes: this one has failed, and the others would wait for it. Does not return where there are others.</summary>
    /// <param name="exitCode">Exit code of all processes.</param>
    public abstract void Abort(int exitCode);

    /// <summary>The share that one of several processes has of a number of things in a row: images of a batch, samples. The shares of all are as
    /// equal as they can be, and leave out nothing.</summary>
    /// <param name="all">Number of things.</param>
    /// <param name="rank">Number of the process.</param>
    /// <param name="size">Number of processes.</param>
    public static (int First, int Count) ShareOf(int all, int rank, int size)
    {
        int first = (int)((long)all * rank / size);
        return (first, (int)((long)all * (rank + 1) / size) - first);
    }

    /// <summary>The largest share that a process has.</summary>
    /// <param name="all">Number of things.</param>
    /// <param name="size">Number of processes.</param>
    public static int LargestShareOf(int all, int size) => (int)(((long)all + size - 1) / size);

    /// <summary>The texts of all processes, in the order of their ranks, in each of them.</summary>
    /// <param name="text">The text of this one.</param>
    /// <exception cref="CommunicationException">The engine reports an error.</exception>
    public string[] Gather(string text) => [.. Enumerable.Range(0, Size).Select(rank => Broadcast(text, rank))];

    /// <summary>Whether something holds in at least one process.</summary>
    /// <param name="here">Whether it holds in this one.</param>
    /// <exception cref="CommunicationException">The engine reports an error.</exception>
    public bool Any(bool here)
    {
        Span<double> count = [here ? 1 : 0];
        Sum(count);
        return count[0] > 0;
    }

    /// <summary>Sends the Float32 numbers of a buffer from one process to all.</summary>
    /// <param name="values">Read in that process, overwritten in the others; as many in all.</param>
    /// <param name="backend">Where they are.</param>
    /// <param name="from">Rank of the process.</param>
    /// <exception cref="CommunicationException">The engine reports an error.</exception>
    public virtual void Broadcast(BufferView values, Backend backend, int from = 0)
    {
        ArgumentNullException.ThrowIfNull(backend);
        var numbers = new float[values.Length];
        if (Rank == from) backend.Download<float>(values, numbers);
        Broadcast(System.Runtime.InteropServices.MemoryMarshal.AsBytes(numbers.AsSpan()), from);
        if (Rank != from) backend.Upload<float>(numbers, values);
    }

    /// <summary>Sends a text from one process to all.</summary>
    /// <param name="text">Read in that process.</param>
    /// <param name="from">Rank of the process.</param>
    /// <exception cref="CommunicationException">The engine reports an error.</exception>
    public string Broadcast(string text, int from = 0)
    {
        ArgumentNullException.ThrowIfNull(text);
        byte[] bytes = Rank == from ? System.Text.Encoding.UTF8.GetBytes(text) : [];
        Span<int> length = [bytes.Length];
        Broadcast(System.Runtime.InteropServices.MemoryMarshal.AsBytes(length), from);
        if (Rank != from) bytes = new byte[length[0]];
        Broadcast(bytes, from);
        return System.Text.Encoding.UTF8.GetString(bytes);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Leaves the other processes.</summary>
    /// <param name="disposing">True from <see cref="Dispose()"/>, false from a finalizer.</param>
    protected abstract void Dispose(bool disposing);

    private sealed class LoneProcess : Communicator
    {
        public override int Rank => 0;

        public override int Size => 1;

        public override int LocalRank => 0;

        public override int LocalSize => 1;

        public override string Description => "one process";

        public override void Sum(Span<double> values)
        {
        }

        public override void Broadcast(Span<byte> bytes, int from = 0)
        {
        }

        public override PendingSum CreateSum(BufferView values, string name) => new NoSum();

        public override PendingSum CreateSum(double[] values, string name) => new NoSum();

        public override void Progress()
        {
        }

        public override void Abort(int exitCode)
        {
        }

        protected override void Dispose(bool disposing)
        {
        }

        private sealed class NoSum : PendingSum
        {
            // A weight other than 1 would be that of a process among several.
            public override void Begin(float weight = 1)
            {
            }

            public override void Wait()
            {
            }
        }
    }
}

/// <summary>A sum over all processes that goes on while they compute; see <see cref="Communicator.CreateSum(BufferView, string)"/>. The numbers
/// belong to it from <see cref="Begin"/> to the end of <see cref="Wait"/>.</summary>
public abstract class PendingSum
{
    /// <summary>Begins to replace each number by the sum of weight times number over all processes, with the same bits in each of
    /// them.</summary>
    /// <param name="weight">Factor of the numbers of this process.</param>
    /// <exception cref="InvalidOperationException">The sum has begun already.</exception>
    public abstract void Begin(float weight = 1);

    /// <summary>Waits for the sum; returns at once if none has begun. Where the backend queues its work, what it is told from here on waits,
    /// and the host does not.</summary>
    /// <exception cref="CommunicationException">The engine reports an error.</exception>
    public abstract void Wait();
}

/// <summary>Processes cannot reach each other, or were started in a way in which they cannot.</summary>
/// <param name="message">What happened.</param>
public sealed class CommunicationException(string message) : Exception(message);
