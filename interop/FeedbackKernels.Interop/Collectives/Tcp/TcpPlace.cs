using System.Buffers.Binary;
using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace FeedbackKernels.Interop;

/// <summary>The place of a process among those that torchrun or a similar launcher started, and the address of the first.</summary>
/// <param name="Rank">Number of the process.</param>
/// <param name="Size">Number of processes.</param>
/// <param name="LocalRank">Number among those of the same machine.</param>
/// <param name="LocalSize">Number of processes of the same machine.</param>
/// <param name="Host">Name or address of the machine of the first.</param>
/// <param name="Port">Its port.</param>
internal sealed record TcpPlace(int Rank, int Size, int LocalRank, int LocalSize, string Host, int Port)
{
    // Processes of a job start within seconds of each other, also on many machines.
    private static readonly TimeSpan StartTakes = TimeSpan.FromMinutes(2), HelloTakes = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan BetweenAttempts = TimeSpan.FromMilliseconds(50);

    // What a process says first: who it is, and whether the connection carries numbers or news.
    private static readonly byte[] Magic = Encoding.ASCII.GetBytes("feedback");
    private const int HelloBytes = 20, ForNumbers = 0, ForNews = 1;

    /// <summary>Reads the environment variables of the launcher.</summary>
    /// <param name="rank">RANK.</param>
    /// <param name="size">WORLD_SIZE.</param>
    /// <param name="variable">Gives the value of an environment variable, or null.</param>
    /// <exception cref="CommunicationException">One is missing or not a number.</exception>
    public static TcpPlace Of(int rank, int size, Func<string, string?> variable)
    {
        int local = Number("LOCAL_RANK", null, size - 1);
        int localSize = Number("LOCAL_WORLD_SIZE", size, size);
        if (local >= localSize) throw new CommunicationException($"LOCAL_RANK is {local} and LOCAL_WORLD_SIZE is {localSize}, wanted a rank below the size");
        int port = Number("MASTER_PORT", null, IPEndPoint.MaxPort);
        // Workers that use the store of their agent get its port, where the agent listens already.
        if (string.Equals(variable("TORCHELASTIC_USE_AGENT_STORE"), "True", StringComparison.OrdinalIgnoreCase)) port++;
        return new TcpPlace(rank, size, local, localSize, variable("MASTER_ADDR")!, port);

        int Number(string name, int? usual, int most)
        {
            string? text = variable(name);
            if (text is null && usual is { } value) return value;
            return int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int number) && number <= most
                ? number
                : throw new CommunicationException($"{name} is {(text is null ? "missing" : $"'{text}'")}, wanted a number up to {most}");
        }
    }

    /// <summary>Connects to the first process, or as the first waits for the others: two connections to each, at its rank.</summary>
    /// <param name="limit">Longest time.</param>
    /// <exception cref="CommunicationException">A process is missing.</exception>
    public (Socket?[] Numbers, Socket?[] News) Connect(TimeSpan limit)
    {
        TimeSpan most = limit < StartTakes ? limit : StartTakes;
        var start = Stopwatch.StartNew();
        Socket?[][] made = [new Socket?[Rank == 0 ? Size : 1], new Socket?[Rank == 0 ? Size : 1]];
        try
        {
            if (Rank == 0) Accept(made, start, most);
            else made = [[Reach(ForNumbers, start, most)], [Reach(ForNews, start, most)]];
            return (made[ForNumbers], made[ForNews]);
        }
        catch
        {
            foreach (Socket? socket in made.SelectMany(of => of)) socket?.Dispose();
            throw;
        }
    }

    private Socket Reach(int purpose, Stopwatch start, TimeSpan most)
    {
        while (true)
        {
            string why;
            try
            {
                var socket = new Socket(SocketType.Stream, ProtocolType.Tcp);
                try
                {
                    socket.Connect(Host, Port);
                    _ = socket.Send(Hello(purpose));
                    return socket;
                }
                catch
                {
                    socket.Dispose();
                    throw;
                }
            }
            catch (SocketException e)
            {
                // It may not have begun to listen.
                why = e.Message;
            }

            if (start.Elapsed > most)
                throw new CommunicationException($"process {Rank} of {Size} cannot reach process 0 at {Host}:{Port} for {WaitingTime.Text(most)}: {why}");
            Thread.Sleep(BetweenAttempts);
        }
    }

    private void Accept(Socket?[][] made, Stopwatch start, TimeSpan most)
    {
        using TcpListener listener = Listen();
        int missing = 2 * (Size - 1);
        while (missing > 0)
        {
            if (listener.Pending())
            {
                if (Admit(listener.AcceptSocket(), made)) missing--;
            }
            else if (start.Elapsed > most)
            {
                IEnumerable<int> absent = Enumerable.Range(1, Size - 1).Where(rank => made.Any(of => of[rank] is null));
                throw new CommunicationException($"process {string.Join(", ", absent)} of {Size} has not connected to {Host}:{Port} for {WaitingTime.Text(most)}");
            }
            else Thread.Sleep(1);
        }
    }

    private TcpListener Listen()
    {
        try
        {
            bool six = Dns.GetHostAddresses(Host) is [{ AddressFamily: AddressFamily.InterNetworkV6 }, ..];
            var listener = new TcpListener(six ? IPAddress.IPv6Any : IPAddress.Any, Port);
            if (six) listener.Server.DualMode = true;
            listener.Start(2 * Size);
            return listener;
        }
        catch (SocketException e)
        {
            throw new CommunicationException($"process 0 cannot listen at {Host}:{Port} (MASTER_ADDR, MASTER_PORT): {e.Message}");
        }
    }

    /// <summary>Whether a connection is one of those that are missing.</summary>
    private bool Admit(Socket socket, Socket?[][] made)
    {
        byte[] hello = new byte[HelloBytes];
        try
        {
            socket.ReceiveTimeout = (int)HelloTakes.TotalMilliseconds;
            for (int got = 0; got < hello.Length;)
            {
                int count = socket.Receive(hello.AsSpan(got));
                if (count == 0) break;
                got += count;
            }
        }
        catch (SocketException)
        {
            // Not one of ours.
        }

        if (!hello.AsSpan(0, Magic.Length).SequenceEqual(Magic))
        {
            socket.Dispose();
            return false;
        }

        (int rank, int size, int purpose) = (Read(hello, 0), Read(hello, 1), Read(hello, 2));
        string? wrong = size != Size || rank <= 0 || rank >= Size || purpose is not (ForNumbers or ForNews)
            ? $"process {rank} was started as one of {size}, process 0 as one of {Size}"
            : made[purpose][rank] is null ? null : $"two processes were started as process {rank}";
        if (wrong is not null)
        {
            socket.Dispose();
            throw new CommunicationException(wrong);
        }

        made[purpose][rank] = socket;
        return true;
    }

    private byte[] Hello(int purpose)
    {
        byte[] hello = [.. Magic, .. new byte[HelloBytes - Magic.Length]];
        int[] numbers = [Rank, Size, purpose];
        for (int i = 0; i < numbers.Length; i++) BinaryPrimitives.WriteInt32LittleEndian(hello.AsSpan(Magic.Length + sizeof(int) * i), numbers[i]);
        return hello;
    }

    private static int Read(byte[] hello, int i) => BinaryPrimitives.ReadInt32LittleEndian(hello.AsSpan(Magic.Length + sizeof(int) * i));
}
