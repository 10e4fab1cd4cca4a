namespace FeedbackKernels.Interop;

/// <summary>
/// Processes with one GPU each, whose buffers NCCL sums on a stream of its own, beside the backend's. Numbers of the host, and the id by which
/// NCCL finds the other processes, go through another communicator. In each process the order in which NCCL adds depends on the number of
/// processes, of elements and on the machines alone, so that two runs have the same bits.
/// </summary>
/// <remarks>
/// A step is launched as graphs of explicit nodes, which cannot hold NCCL's calls: a sum that begins in an open step divides it, and events
/// order the two streams; the host waits for neither. So that a process that dies or hangs does not leave the others waiting on their
/// devices, a thread watches what goes on. When it finds an error, it has NCCL end all work, and the next call throws.
/// </remarks>
public sealed class NcclCommunicator : Communicator
{
    private readonly Communicator _hosts;
    private readonly CudaBackend _backend;
    private readonly NcclLibrary _library;
    private readonly NcclWatch _watch;
    private readonly CudaStream _stream;
    private readonly NcclType _gradients;
    private readonly nint _communicator;
    private readonly List<NcclSum> _sums = [];
    private readonly Dictionary<(float Weight, NcclType Type), int> _operations = [];
    private bool _left;

    /// <summary>Joins the GPUs of all processes, each of which makes this call.</summary>
    /// <param name="hosts">The processes. Stays the caller's.</param>
    /// <param name="backend">The GPU of this one. Stays the caller's, and is disposed after this object.</param>
    /// <param name="gradients">Type in which gradients are sent and added: Float32, or BFloat16, which halves the bytes and rounds each of
    /// them.</param>
    /// <param name="library">The file of NCCL; null for what the environment variable FEEDBACK_NCCL names, or else the system's.</param>
    /// <exception cref="PlatformNotSupportedException">NCCL cannot be loaded; the message names every path tried.</exception>
    /// <exception cref="ArgumentException">The backend works in a context of the caller's: NCCL takes memory and streams of the device's
    /// primary context.</exception>
    /// <exception cref="CommunicationException">The processes cannot reach each other by NCCL.</exception>
    public NcclCommunicator(Communicator hosts, CudaBackend backend, ElementType gradients = ElementType.Float32, string? library = null)
        : this(hosts, backend, gradients, library, WaitingTime.Read())
    {
    }

    /// <inheritdoc cref="NcclCommunicator(Communicator, CudaBackend, ElementType, string?)"/>
    /// <param name="hosts">The processes.</param>
    /// <param name="backend">The GPU of this one.</param>
    /// <param name="gradients">Type in which gradients are sent and added.</param>
    /// <param name="library">The file of NCCL.</param>
    /// <param name="limit">Longest time without progress.</param>
    internal NcclCommunicator(Communicator hosts, CudaBackend backend, ElementType gradients, string? library, TimeSpan limit)
    {
        ArgumentNullException.ThrowIfNull(hosts);
        ArgumentNullException.ThrowIfNull(backend);
        _gradients = gradients switch
        {
            ElementType.Float32 => NcclType.Float32,
            ElementType.BFloat16 => NcclType.BFloat16,
            _ => throw new ArgumentOutOfRangeException(nameof(gradients), gradients, "gradients are summed as Float32 or BFloat16"),
        };
        if (!backend.Context.IsPrimary)
            throw new ArgumentException("works in a context of the caller's; wanted the primary context of the device, in which NCCL works", nameof(backend));
        (_hosts, _backend) = (hosts, backend);
        _library = NcclLibrary.Load(library);
        // To load code, the driver may wait for all work on the device: also for a sum that waits for another process.
        backend.LoadKernels();
        _communicator = Join(limit);
        _stream = new CudaStream(backend.Context);
        _watch = new NcclWatch(_library, _communicator, hosts, backend.Context, limit);
        Description = $"{hosts.Description}, between GPUs by NCCL {_library.Version}{(gradients == ElementType.BFloat16 ? " with gradients in bf16" : "")}";
    }

    /// <inheritdoc/>
    public override int Rank => _hosts.Rank;

    /// <inheritdoc/>
    public override int Size => _hosts.Size;

    /// <inheritdoc/>
    public override int LocalRank => _hosts.LocalRank;

    /// <inheritdoc/>
    public override int LocalSize => _hosts.LocalSize;

    /// <inheritdoc/>
    public override string Description { get; }

    /// <inheritdoc/>
    public override bool CanSum(Backend backend) => ReferenceEquals(backend, _backend);

    /// <inheritdoc/>
    public override void Sum(Span<double> values)
    {
        _watch.ThrowIfFailed();
        _hosts.Sum(values);
    }

    /// <inheritdoc/>
    public override void Broadcast(Span<byte> bytes, int from = 0)
    {
        _watch.ThrowIfFailed();
        _hosts.Broadcast(bytes, from);
    }

    /// <inheritdoc/>
    public override void Broadcast(BufferView values, Backend backend, int from = 0)
    {
        RequireOwn(backend);
        ArgumentOutOfRangeException.ThrowIfNegative(from);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(from, Size);
        using var sent = new NcclSum(this, values, "broadcast of a buffer", NcclType.Int8);
        sent.BeginBroadcast(from);
        sent.Wait();
        // It is watched until it is disposed.
        sent.WaitOnHost();
    }

    /// <inheritdoc/>
    public override PendingSum CreateSum(BufferView values, string name) => Create(values, name, NcclType.Float32);

    /// <inheritdoc/>
    public override PendingSum CreateGradientSum(BufferView values, string name) => Create(values, name, _gradients);

    /// <inheritdoc/>
    public override PendingSum CreateSum(double[] values, string name) => _hosts.CreateSum(values, name);

    /// <inheritdoc/>
    public override void Progress() => _hosts.Progress();

    /// <inheritdoc/>
    public override void Abort(int exitCode) => _hosts.Abort(exitCode);

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (_left || !disposing) return;
        _left = true;
        // What has begun would wait for processes that do not come to it any more, and the backend for what has begun.
        _watch.Dispose();
        foreach (NcclSum sum in _sums) sum.Dispose();
        _ = _stream.TryDrain();
        _stream.Dispose();
    }

    internal CudaBackend Backend => _backend;

    internal NcclWatch Watch => _watch;

    /// <summary>The ncclComm_t.</summary>
    internal nint Handle => _communicator;

    /// <summary>Queues the sum or the broadcast of numbers behind all that the backend has been told so far.</summary>
    internal void Queue(NcclSum sum, BufferView values, NcclType type, float weight, int? broadcastFrom)
    {
        _watch.ThrowIfFailed();
        // From here on the call itself may wait, for processes that have not come to it.
        _watch.Add(sum);
        nint stream = _stream.DangerousGetHandle();
        _backend.MakeStreamWait(stream, sum.Ready);
        using CudaContext.Scope scope = _backend.Context.Enter();
        try
        {
            using NcclWatch.CallScope call = _watch.Call();
            if (broadcastFrom is { } from)
                _library.Broadcast(_communicator, values.Address, values.Length * values.Type.Size(), from, stream, sum.Name);
            else
                _library.AllReduce(_communicator, values.Address, values.Length, type, OperationOf(weight, type), stream, $"sum of {sum.Name}");
        }
        catch (CommunicationException e)
        {
            _watch.FailOfNccl(e.Message);
            _watch.ThrowIfFailed();
        }

        CudaException.ThrowIfFailed(DriverApi.EventRecord(sum.Ended.DangerousGetHandle(), stream), "cuEventRecord", sum.Name);
        _watch.MarkQueued(sum);
    }

    /// <summary>
    /// The sum with a factor for the numbers of this process. NCCL multiplies what it loads anyway, so the factor costs no pass over the
    /// gradients; a kernel of the backend would read and write all of them once more, in the step's critical path. All processes have to name
    /// the same kind of operation, by which NCCL chooses its algorithm, so a factor of 1 is one too: others may have none (a part of a batch
    /// without images). NCCL does not add such sums in the switches of NVLink (NVLS).
    /// </summary>
    private int OperationOf(float weight, NcclType type)
    {
        if (_operations.TryGetValue((weight, type), out int known)) return known;
        return _operations[(weight, type)] = _library.CreateWeightedSum(_communicator, weight, type);
    }

    private NcclSum Create(BufferView values, string name, NcclType type)
    {
        if (values.IsAbsent || values.Type != ElementType.Float32) throw new ArgumentException($"{name}: wanted Float32 numbers", nameof(values));
        var made = new NcclSum(this, values, name, type);
        _sums.Add(made);
        return made;
    }

    private void RequireOwn(Backend backend)
    {
        if (!CanSum(backend)) throw new ArgumentException("is not the backend that joined the other processes", nameof(backend));
    }

    /// <summary>Joins in a thread of its own: the call has no time limit, and a process that fails meanwhile leaves it waiting.</summary>
    private nint Join(TimeSpan limit)
    {
        byte[] bytes = IsFirst ? _library.CreateId().ToBytes() : new byte[NcclUniqueId.Size];
        _hosts.Broadcast(bytes);
        nint joined = 0;
        Exception? failure = null;
        var thread = new Thread(() =>
        {
            try
            {
                using CudaContext.Scope scope = _backend.Context.Enter();
                joined = _library.Join(NcclUniqueId.FromBytes(bytes), Rank, Size);
            }
            catch (Exception e) when (e is CommunicationException or CudaException or ObjectDisposedException)
            {
                // The last if another process fails before this thread has begun, and the caller has left.
                failure = e;
            }
        })
        {
            IsBackground = true,
            Name = "NCCL start",
        };
        thread.Start();
        long start = Environment.TickCount64;
        while (!thread.Join(NcclWatch.MillisecondsBetweenLooks))
        {
            if (_hosts.Failure is { } text) throw new CommunicationException(text);
            if (Environment.TickCount64 - start > limit.TotalMilliseconds)
                throw new CommunicationException($"NCCL: process {Rank} of {Size} has waited {WaitingTime.Text(limit)} for the others to join");
        }

        return failure is null ? joined : throw new CommunicationException(failure.Message);
    }
}
