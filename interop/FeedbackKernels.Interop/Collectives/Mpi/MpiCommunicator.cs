using System.Numerics.Tensors;

namespace FeedbackKernels.Interop;

/// <summary>
/// Processes that reach each other by MPI, for backends whose memory the host can address. Sums in the background are MPI_Iallreduce in
/// place; the order in which MPI adds depends on the number of processes and of elements alone, so that two runs have the same bits
/// (MPI 3.1, section 5.9.1, advises that, and Open MPI and MPICH do so unless a network adds for them).
/// </summary>
internal sealed unsafe class MpiCommunicator : Communicator
{
    // MPI_THREAD_FUNNELED: several threads, one of which calls MPI.
    private const int Funneled = 1;

    private const int MillisecondsToPassOn = 300;

    private readonly MpiLibrary _mpi;
    private readonly MpiThread _thread = new();
    private readonly int _rank, _size, _localRank, _localSize;
    private bool _left;

    /// <summary>Starts MPI. A process can do that once.</summary>
    /// <param name="engine">The kind of MPI that started the process.</param>
    /// <exception cref="PlatformNotSupportedException">There is no MPI library, or it cannot serve a process of several threads.</exception>
    /// <exception cref="CommunicationException">MPI reports an error.</exception>
    internal MpiCommunicator(LaunchEngine engine)
    {
        try
        {
            _mpi = MpiLibrary.Load(engine);
            // Open MPI would patch the process's malloc and munmap for the memory of network adapters, under the feet of .NET.
            if (_mpi.IsOpenMpi) MpiLibrary.SetUnlessSet("OMPI_MCA_memory", "^patcher");
            // Rabenseifner's algorithm: each process adds a part. Open MPI 4.1 sends sums in place up and down a binomial tree, in which the
            // root adds all, and all bytes twice: 2 % of a step of ResNet-18 between two processes.
            if (_mpi.IsOpenMpi) MpiLibrary.SetUnlessSet("OMPI_MCA_coll_libnbc_iallreduce_algorithm", "3");
            (int rank, int size, int localRank, int localSize) = (0, 0, 0, 0);
            string version = "";
            _thread.Call("start of all processes", () => (rank, size, localRank, localSize, version) = Start());
            _thread.Rank = rank;
            (_rank, _size, _localRank, _localSize, Description) = (rank, size, localRank, localSize, version);
        }
        catch
        {
            _thread.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public override int Rank => _rank;

    /// <inheritdoc/>
    public override int Size => _size;

    /// <inheritdoc/>
    public override int LocalRank => _localRank;

    /// <inheritdoc/>
    public override int LocalSize => _localSize;

    /// <inheritdoc/>
    public override string Description { get; }

    /// <inheritdoc/>
    public override void Sum(Span<double> values)
    {
        double[] numbers = values.ToArray();
        PendingSum sum = CreateSum(numbers, "a few numbers");
        sum.Begin();
        sum.Wait();
        numbers.CopyTo(values);
    }

    /// <inheritdoc/>
    public override void Broadcast(Span<byte> bytes, int from = 0)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(from);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(from, Size);
        if (bytes.IsEmpty) return;
        // A copy that MPI may write to when this process does not wait for it any more.
        byte[] sent = GC.AllocateUninitializedArray<byte>(bytes.Length, pinned: true);
        bytes.CopyTo(sent);
        _thread.Call($"broadcast of process {from}", () =>
        {
            fixed (byte* first = sent) _mpi.Check(_mpi.Broadcast(first, sent.Length, _mpi.Bytes, from, _mpi.World), "broadcast");
        });
        sent.CopyTo(bytes);
    }

    /// <inheritdoc/>
    public override PendingSum CreateSum(BufferView values, string name)
    {
        if (values.IsAbsent || values.Type != ElementType.Float32) throw new ArgumentException($"{name}: wanted Float32 numbers", nameof(values));
        if (values.Length > int.MaxValue) throw new ArgumentException($"{name}: {values.Length} numbers; MPI sums at most {int.MaxValue} at once", nameof(values));
        return new Summing(this, values, name);
    }

    /// <inheritdoc/>
    public override PendingSum CreateSum(double[] values, string name)
    {
        ArgumentNullException.ThrowIfNull(values);
        return new Summing(this, values, name);
    }

    /// <inheritdoc/>
    public override void Progress() => _thread.Look();

    /// <inheritdoc/>
    // MPI allows one thread to call it, but that one may be in a call that never ends. What counts is that the processes end.
    public override void Abort(int exitCode)
    {
        if (_left) return;
        Console.Out.Flush();
        Console.Error.Flush();
        // MPICH's launcher ends the process before it has passed on what it printed.
        Thread.Sleep(MillisecondsToPassOn);
        _ = _mpi.Abort(_mpi.World, exitCode);
        Environment.Exit(exitCode);
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (_left || !disposing) return;
        _left = true;
        _thread.Call("end of all processes", () => _mpi.Check(_mpi.Finalize(), "finalize"));
        _thread.Dispose();
    }

    private (int Rank, int Size, int LocalRank, int LocalSize, string Version) Start()
    {
        int provided, rank, size, localRank, localSize;
        nint local = 0;
        _mpi.Check(_mpi.InitThread(null, null, Funneled, &provided), "start");
        if (provided < Funneled)
            throw new PlatformNotSupportedException($"{_mpi.Version()} was built for processes of one thread, wanted MPI_THREAD_FUNNELED");
        _mpi.Check(_mpi.CommSetErrorHandler(_mpi.World, _mpi.ErrorsReturn), "set error handler");
        _mpi.Check(_mpi.CommRank(_mpi.World, &rank), "rank");
        _mpi.Check(_mpi.CommSize(_mpi.World, &size), "size");
        _mpi.Check(_mpi.CommSplitType(_mpi.World, _mpi.SharedMemory, 0, _mpi.NoInfo, &local), "processes of this machine");
        _mpi.Check(_mpi.CommRank(local, &localRank), "rank on this machine");
        _mpi.Check(_mpi.CommSize(local, &localSize), "size on this machine");
        return (rank, size, localRank, localSize, _mpi.Version());
    }

    /// <summary>A sum in the background. Memory of the collector is pinned while it goes on.</summary>
    private sealed class Summing : PendingSum, IMpiWork
    {
        private readonly MpiCommunicator _of;
        private readonly string _name;
        private readonly BufferView _values;
        private readonly double[]? _numbers;
        private readonly nint _type;
        private readonly int _count;
        private System.Runtime.InteropServices.GCHandle _pin;
        private nint _request;
        private float _weight;
        private bool _hasBegun;

        public Summing(MpiCommunicator of, BufferView values, string name)
        {
            (_of, _values, _name) = (of, values, name);
            (_type, _count) = (of._mpi.Floats, (int)values.Length);
        }

        public Summing(MpiCommunicator of, double[] numbers, string name)
        {
            (_of, _numbers, _name) = (of, numbers, name);
            (_type, _count) = (of._mpi.Doubles, numbers.Length);
        }

        string IMpiWork.Name => $"sum of {_name}";

        bool IMpiWork.IsPending { get; set; }

        public override void Begin(float weight = 1)
        {
            if (_hasBegun) throw new InvalidOperationException($"the sum of {_name} has begun already");
            (_hasBegun, _weight) = (true, weight);
            _of._thread.Post(this);
        }

        public override void Wait()
        {
            if (!_hasBegun) return;
            _of._thread.Wait(this);
            _hasBegun = false;
        }

        bool IMpiWork.Begin()
        {
            void* address = _values.Pointer;
            if (_numbers is not null)
            {
                _pin = System.Runtime.InteropServices.GCHandle.Alloc(_numbers, System.Runtime.InteropServices.GCHandleType.Pinned);
                address = (void*)_pin.AddrOfPinnedObject();
                if (_weight != 1) TensorPrimitives.Multiply(_numbers, _weight, _numbers);
            }
            else if (_weight != 1)
            {
                var all = new Span<float>(address, _count);
                TensorPrimitives.Multiply(all, _weight, all);
            }

            MpiLibrary mpi = _of._mpi;
            nint request = 0;
            mpi.Check(mpi.IAllReduce(mpi.InPlace, address, _count, _type, mpi.SumOperation, mpi.World, &request), $"sum of {_name}");
            _request = request;
            return true;
        }

        bool IMpiWork.HasEnded()
        {
            nint request = _request;
            int flag;
            _of._mpi.Check(_of._mpi.Test(&request, &flag, _of._mpi.NoStatus), $"sum of {_name}");
            _request = request;
            if (flag == 0) return false;
            if (_pin.IsAllocated) _pin.Free();
            return true;
        }
    }
}
