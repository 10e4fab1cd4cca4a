using System.Net.Sockets;
using System.Text;

namespace FeedbackKernels.Interop;

/// <summary>
/// Connections that are silent while all is well. A process that comes to its end says goodbye; one that fails says why. One that dies says
/// nothing, and its connection breaks: the first process then names it to all others.
/// </summary>
internal sealed class TcpNews
{
    private const int MostBytes = 64 << 10;
    private static readonly TimeSpan GoodbyeTakes = TimeSpan.FromSeconds(10);

    private readonly Socket?[] _lines, _peers;
    private readonly Task[] _listening;
    private readonly TaskCompletionSource _failed = new();
    private readonly Lock _gate = new();
    private volatile string? _failure;

    /// <summary>Listens to all.</summary>
    /// <param name="lines">Connections at the ranks of the other processes.</param>
    /// <param name="peers">The connections that carry numbers; closed by a failure, so that nobody waits on them.</param>
    public TcpNews(Socket?[] lines, Socket?[] peers)
    {
        (_lines, _peers) = (lines, peers);
        foreach (Socket? line in lines) ExpectLife(line);
        // In threads of their own: those of the pool may all be busy, and then a failure would be told too late.
        _listening = [.. Enumerable.Range(0, lines.Length).Where(i => lines[i] is not null).Select(i =>
            Task.Factory.StartNew(() => Listen(i), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default))];
    }

    /// <summary>The first failure; null while there is none.</summary>
    public string? Failure => _failure;

    /// <summary>Waits for a failure that is on its way.</summary>
    public void Wait(TimeSpan most) => _failed.Task.Wait(most);

    /// <summary>Notes the first failure, and tells the other processes.</summary>
    public void Fail(string text)
    {
        lock (_gate)
        {
            if (_failure is not null) return;
            _failure = text;
            foreach (Socket? line in _lines) Say(line, Encoding.UTF8.GetBytes(text));
            foreach (Socket? peer in _peers) peer?.Dispose();
        }

        _failed.TrySetResult();
    }

    /// <summary>Tells the others that this process has come to its end, and waits until they have.</summary>
    public void SayGoodbye()
    {
        foreach (Socket? line in _lines) Say(line, []);
        _ = Task.WaitAll(_listening, GoodbyeTakes);
        foreach (Socket? line in _lines) line?.Dispose();
    }

    // A machine that loses its power does not close its connections: its silence is found out by probes, in half a minute.
    private static void ExpectLife(Socket? line)
    {
        if (line is null) return;
        line.ReceiveTimeout = 0;
        line.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.KeepAlive, true);
        line.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveTime, 10);
        line.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveInterval, 5);
        line.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveRetryCount, 4);
    }

    private static void Say(Socket? line, byte[] text)
    {
        if (line is null) return;
        try
        {
            int length = Math.Min(text.Length, MostBytes);
            line.Send([.. BitConverter.GetBytes(length), .. text.AsSpan(0, length)]);
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // It has ended too.
        }
    }

    private void Listen(int rank)
    {
        Socket line = _lines[rank]!;
        string text = $"process {rank} has ended";
        try
        {
            byte[] header = new byte[sizeof(int)];
            if (Fill(line, header))
            {
                int length = BitConverter.ToInt32(header);
                if (length == 0) return;
                byte[] said = new byte[Math.Clamp(length, 0, MostBytes)];
                if (Fill(line, said)) text = Encoding.UTF8.GetString(said);
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // As if it had ended.
        }

        Fail(text);
    }

    private static bool Fill(Socket line, Span<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            int count = line.Receive(bytes);
            if (count == 0) return false;
            bytes = bytes[count..];
        }

        return true;
    }
}
