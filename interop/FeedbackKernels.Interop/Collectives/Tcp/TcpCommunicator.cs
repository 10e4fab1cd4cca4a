using System.Buffers.Binary;
using System.Globalization;
using System.Net.Sockets;
using System.Runtime.InteropServices;

namespace FeedbackKernels.Interop;

/// <summary>
/// Processes that reach each other through the first, at an address that all were given. For a few numbers of the host, such as NCCL's id
/// and losses: each exchange passes through the first process, which adds in the order of the ranks. Of two connections to each process one
/// carries the numbers, the other says how the process ends, so that all are told which one has failed.
/// </summary>
internal sealed class TcpCommunicator : Communicator
{
    // What an exchange is, in the header of its messages.
    private const int Summing = 1, Broadcasting = 2, HeaderBytes = 16;

    // Longest time between a connection that breaks and the news of why it did, on a loaded machine.
    private static readonly TimeSpan NewsComesIn = TimeSpan.FromSeconds(5);

    private readonly TimeSpan _limit;
    private readonly TcpNews _news;

    // In the first process one for each of the others, at its rank; in the others the one to the first.
    private readonly Socket?[] _peers;
    private readonly byte[] _header = new byte[HeaderBytes], _wanted = new byte[HeaderBytes];
    private double[] _received = [];
    private bool _left;

    /// <summary>Takes connections that are set up.</summary>
    /// <param name="place">The place of this process.</param>
    /// <param name="peers">The connections that carry the numbers; the news may have closed them already, as another process may have failed.</param>
    /// <param name="news">The connections that say how the others end.</param>
    /// <param name="limit">Longest time for which this process waits for another.</param>
    internal TcpCommunicator(TcpPlace place, Socket?[] peers, TcpNews news, TimeSpan limit)
    {
        (Rank, Size, LocalRank, LocalSize) = (place.Rank, place.Size, place.LocalRank, place.LocalSize);
        (_peers, _news, _limit) = (peers, news, limit);
        Description = $"TCP to {place.Host}:{place.Port.ToString(CultureInfo.InvariantCulture)}";
    }

    /// <inheritdoc/>
    public override int Rank { get; }

    /// <inheritdoc/>
    public override int Size { get; }

    /// <inheritdoc/>
    public override int LocalRank { get; }

    /// <inheritdoc/>
    public override int LocalSize { get; }

    /// <inheritdoc/>
    public override string Description { get; }

    /// <inheritdoc/>
    internal override string? Failure => _news.Failure;

    /// <summary>Joins the others.</summary>
    /// <exception cref="CommunicationException">They cannot be reached; the message names those that are missing.</exception>
    public static TcpCommunicator Join(TcpPlace place) => Join(place, WaitingTime.Read());

    /// <inheritdoc cref="Join(TcpPlace)"/>
    /// <param name="place">The place of this process.</param>
    /// <param name="limit">Longest time for which it waits for another.</param>
    public static TcpCommunicator Join(TcpPlace place, TimeSpan limit)
    {
        (Socket?[] peers, Socket?[] news) = place.Connect(limit);
        // Before anybody listens to the news: the first failure closes these connections.
        foreach (Socket? peer in peers) SetUp(peer, place.Rank == 0 ? limit : limit + NewsComesIn);
        return new TcpCommunicator(place, peers, new TcpNews(news, peers), limit);
    }

    // The first says who is missing, so it is the first to give up.
    private static void SetUp(Socket? peer, TimeSpan limit)
    {
        if (peer is null) return;
        peer.NoDelay = true;
        peer.SendTimeout = peer.ReceiveTimeout = (int)Math.Min(int.MaxValue, limit.TotalMilliseconds);
    }

    /// <inheritdoc/>
    /// <remarks>There is nothing that moves the numbers of buffers.</remarks>
    public override bool CanSum(Backend backend) => false;

    /// <inheritdoc/>
    public override void Sum(Span<double> values)
    {
        Span<byte> bytes = MemoryMarshal.AsBytes(values);
        string what = $"sum of {values.Length} numbers";
        WriteHeader(_wanted, Summing, 0, bytes.Length);
        if (!IsFirst)
        {
            Send(0, _wanted, what);
            Send(0, bytes, what);
            ReceiveHeader(0, what);
            Receive(0, bytes, what);
            return;
        }

        if (_received.Length < values.Length) _received = new double[values.Length];
        Span<double> part = _received.AsSpan(0, values.Length);
        for (int rank = 1; rank < Size; rank++)
        {
            ReceiveHeader(rank, what);
            Receive(rank, MemoryMarshal.AsBytes(part), what);
            for (int i = 0; i < part.Length; i++) values[i] += part[i];
        }

        SendToAll(bytes, except: 0, what);
    }

    /// <inheritdoc/>
    public override void Broadcast(Span<byte> bytes, int from = 0)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(from);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(from, Size);
        string what = $"broadcast of {bytes.Length} bytes from process {from}";
        WriteHeader(_wanted, Broadcasting, from, bytes.Length);
        if (IsFirst)
        {
            if (from != 0)
            {
                ReceiveHeader(from, what);
                Receive(from, bytes, what);
            }

            SendToAll(bytes, except: from, what);
        }
        else if (Rank == from)
        {
            Send(0, _wanted, what);
            Send(0, bytes, what);
        }
        else
        {
            ReceiveHeader(0, what);
            Receive(0, bytes, what);
        }
    }

    /// <inheritdoc/>
    public override PendingSum CreateSum(BufferView values, string name) =>
        throw new NotSupportedException($"{name}: processes that reach each other by TCP sum numbers of the host only");

    /// <inheritdoc/>
    public override PendingSum CreateSum(double[] values, string name)
    {
        ArgumentNullException.ThrowIfNull(values);
        return new Later(this, values, name);
    }

    /// <inheritdoc/>
    public override void Progress()
    {
    }

    /// <inheritdoc/>
    public override void Abort(int exitCode)
    {
        if (_left) return;
        _left = true;
        Console.Out.Flush();
        Console.Error.Flush();
        Fail();
        Environment.Exit(exitCode);
    }

    /// <summary>Tells the others that this process has failed.</summary>
    internal void Fail() => _news.Fail(_news.Failure ?? $"process {Rank} has failed; its own message says why");

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (_left || !disposing) return;
        _left = true;
        _news.SayGoodbye();
        foreach (Socket? peer in _peers) peer?.Dispose();
    }

    private void SendToAll(ReadOnlySpan<byte> bytes, int except, string what)
    {
        for (int rank = 1; rank < Size; rank++)
        {
            if (rank == except) continue;
            Send(rank, _wanted, what);
            Send(rank, bytes, what);
        }
    }

    private void Send(int rank, ReadOnlySpan<byte> bytes, string what)
    {
        ThrowIfFailed();
        try
        {
            while (!bytes.IsEmpty) bytes = bytes[_peers[rank]!.Send(bytes)..];
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            throw Broken(rank, e, what);
        }
    }

    private void Receive(int rank, Span<byte> bytes, string what)
    {
        ThrowIfFailed();
        try
        {
            while (!bytes.IsEmpty)
            {
                int count = _peers[rank]!.Receive(bytes);
                if (count == 0) throw Broken(rank, null, what);
                bytes = bytes[count..];
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            throw Broken(rank, e, what);
        }
    }

    /// <summary>Checks that the other process makes the same call.</summary>
    private void ReceiveHeader(int rank, string what)
    {
        Receive(rank, _header, what);
        if (_header.AsSpan().SequenceEqual(_wanted)) return;
        int kind = BinaryPrimitives.ReadInt32LittleEndian(_header), from = BinaryPrimitives.ReadInt32LittleEndian(_header.AsSpan(4));
        long bytes = BinaryPrimitives.ReadInt64LittleEndian(_header.AsSpan(8));
        string found = kind == Summing ? $"sum of {bytes / sizeof(double)} numbers" : $"broadcast of {bytes} bytes from process {from}";
        string text = $"process {rank} is at a {found}, process {Rank} at a {what}; all processes must run the same program with the same options";
        _news.Fail(text);
        throw new CommunicationException(text);
    }

    private void ThrowIfFailed()
    {
        if (_news.Failure is { } text) throw new CommunicationException(text);
    }

    /// <summary>Why a connection does not go on: the news, which may still be on their way, or what is known here.</summary>
    private CommunicationException Broken(int rank, Exception? error, string what)
    {
        bool late = error is SocketException { SocketErrorCode: SocketError.TimedOut or SocketError.WouldBlock };
        string text = late
            ? $"process {rank} has not come to a {what} for {WaitingTime.Text(_limit)} ({WaitingTime.EnvironmentVariable} sets this limit)"
            : $"process {rank} has ended";
        if (!late) _news.Wait(NewsComesIn);
        _news.Fail(text);
        return new CommunicationException(_news.Failure ?? text);
    }

    private static void WriteHeader(Span<byte> header, int kind, int from, long bytes)
    {
        BinaryPrimitives.WriteInt32LittleEndian(header, kind);
        BinaryPrimitives.WriteInt32LittleEndian(header[4..], from);
        BinaryPrimitives.WriteInt64LittleEndian(header[8..], bytes);
    }

    /// <summary>A sum that is made when it is waited for: these numbers are few.</summary>
    private sealed class Later(TcpCommunicator of, double[] values, string name) : PendingSum
    {
        private bool _hasBegun;

        public override void Begin(float weight = 1)
        {
            if (_hasBegun) throw new InvalidOperationException($"the sum of {name} has begun already");
            _hasBegun = true;
            if (weight != 1) System.Numerics.Tensors.TensorPrimitives.Multiply(values, weight, values);
        }

        public override void Wait()
        {
            if (!_hasBegun) return;
            _hasBegun = false;
            of.Sum(values);
        }
    }
}
