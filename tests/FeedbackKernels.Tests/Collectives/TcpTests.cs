using System.Net;
using System.Net.NetworkInformation;
using System.Net.Sockets;
using FeedbackKernels.Interop;

namespace FeedbackKernels.Tests.Collectives;

/// <summary>Numbers of the host through the first process, and what the others learn of one that fails.</summary>
public class TcpTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(5)]
    public void Sums_are_in_the_order_of_the_ranks_and_the_same_everywhere(int size)
    {
        double[] values = [.. Enumerable.Range(0, size).Select(rank => Math.Pow(-3, 11 * rank) / 7)];
        double expected = values.Aggregate((a, b) => a + b);
        Ranks.Run(size, group =>
        {
            double[] sums = [values[group.Rank], group.Rank, 1];
            group.Sum(sums);
            Assert.Equal([expected, size * (size - 1) / 2.0, size], sums);
            PendingSum later = group.CreateSum(sums, "sums");
            later.Begin(0.5f);
            Assert.Throws<InvalidOperationException>(() => later.Begin());
            later.Wait();
            later.Wait();
            Assert.Equal(size * size / 2.0, sums[2]);
        });
    }

    [Fact]
    public void Bytes_and_texts_come_from_any_process()
    {
        byte[] content = [.. Enumerable.Range(0, 300_000).Select(i => (byte)(i * i))];
        Ranks.Run(3, group =>
        {
            for (int from = 0; from < group.Size; from++)
            {
                byte[] bytes = group.Rank == from ? [.. content] : new byte[content.Length];
                group.Broadcast(bytes, from);
                Assert.Equal(content, bytes);
                Assert.Equal($"grüße {from}", group.Broadcast(group.Rank == from ? $"grüße {from}" : "", from));
                group.Broadcast(Span<byte>.Empty, from);
            }

            Assert.True(group.Any(group.Rank == 2));
            Assert.False(group.Any(false));
            Assert.Throws<ArgumentOutOfRangeException>(() => group.Broadcast(content, 3));
        });
    }

    [Fact]
    public void A_process_that_makes_another_call_is_named_to_all()
    {
        Exception?[] found = Ranks.Try(
            3,
            group =>
            {
                if (group.Rank == 1) group.Broadcast(new byte[5], 1);
                else group.Sum(new double[4]);
                group.Sum(new double[1]);
            },
            Ranks.Limit);
        Assert.All(found, e => Assert.Contains(
            "process 1 is at a broadcast of 5 bytes from process 1, process 0 at a sum of 4 numbers", Assert.IsType<CommunicationException>(e).Message));
    }

    [Fact]
    public void A_process_that_fails_is_named_to_all()
    {
        Exception?[] found = Ranks.Try(
            3, group =>
            {
                if (group.Rank == 2) throw new TimeoutException();
                group.Sum(new double[1]);
            },
            Ranks.Limit);
        Assert.IsType<TimeoutException>(found[2]);
        Assert.All(found[..2], e => Assert.Equal("process 2 has failed; its own message says why", Assert.IsType<CommunicationException>(e).Message));
    }

    /// <summary>One that fails while the others still join closes their connections under them.</summary>
    [Fact]
    public async Task A_failure_that_comes_before_the_communicator_is_an_error_of_its_first_call()
    {
        var place = new TcpPlace(0, 2, 0, 2, "127.0.0.1", Ranks.FreePort());
        Task<(Socket?[] Numbers, Socket?[] News)> first = InThread(() => place.Connect(Ranks.Limit));
        (Socket?[] numbers, Socket?[] lines) = (place with { Rank = 1 }).Connect(Ranks.Limit);
        new TcpNews((await first).News, (await first).Numbers).Fail("process 0 has failed");
        var news = new TcpNews(lines, numbers);
        news.Wait(Ranks.Limit);

        using var group = new TcpCommunicator(place with { Rank = 1 }, numbers, news, Ranks.Limit);

        Assert.Equal("process 0 has failed", Assert.Throws<CommunicationException>(() => group.Sum(new double[1])).Message);
    }

    [Fact]
    public void A_process_that_hangs_is_named_to_all_when_the_time_is_over()
    {
        using var end = new ManualResetEventSlim();
        Exception?[] found = Ranks.Try(
            3, group =>
            {
                if (group.Rank == 1) end.Wait(TestContext.Current.CancellationToken);
                try
                {
                    group.Sum(new double[2]);
                }
                finally
                {
                    end.Set();
                }
            },
            TimeSpan.FromSeconds(3));
        Assert.All(found, e => Assert.StartsWith("process 1 has not come to a sum of 2 numbers for 3 s", Assert.IsType<CommunicationException>(e).Message));
    }

    [Fact]
    public async Task Processes_that_do_not_come_are_named()
    {
        var place = new TcpPlace(0, 4, 0, 4, "127.0.0.1", Ranks.FreePort());
        var limit = TimeSpan.FromSeconds(3);
        Task<Exception?> second = InThread(() => Record.Exception(() => place with { Rank = 2 } is var p ? p.Connect(limit) : default));
        var e = Assert.Throws<CommunicationException>(() => place.Connect(limit));
        Assert.Equal($"process 1, 3 of 4 has not connected to 127.0.0.1:{place.Port} for 3 s", e.Message);
        Assert.Null(await second);
        e = Assert.Throws<CommunicationException>(() => (place with { Rank = 1 }).Connect(limit));
        Assert.StartsWith($"process 1 of 4 cannot reach process 0 at 127.0.0.1:{place.Port} for 3 s", e.Message);
    }

    [Fact]
    public async Task Strangers_are_sent_away_and_processes_of_another_group_are_an_error()
    {
        var place = new TcpPlace(0, 2, 0, 2, "127.0.0.1", Ranks.FreePort());
        Task<Exception?> first = InThread(() => Record.Exception(() => place.Connect(Ranks.Limit)));
        Send("GET / HTTP/1.1\r\nHost: wrong\r\n\r\n"u8.ToArray());
        _ = Record.Exception(() => (place with { Rank = 2, Size = 3 }).Connect(TimeSpan.FromSeconds(0.1)));
        Assert.Equal("process 2 was started as one of 3, process 0 as one of 2", (await first)?.Message);

        void Send(byte[] bytes)
        {
            for (int attempt = 0; ; attempt++)
            {
                try
                {
                    using var client = new TcpClient("127.0.0.1", place.Port);
                    client.Client.Send(bytes);
                    return;
                }
                catch (SocketException) when (attempt < 1000)
                {
                    Thread.Sleep(20);
                }
            }
        }
    }

    [Fact]
    public async Task A_port_in_use_is_an_error()
    {
        using var other = new TcpListener(IPAddress.Any, 0);
        other.Start();
        int port = ((IPEndPoint)other.LocalEndpoint).Port;
        var e = Assert.Throws<CommunicationException>(() => new TcpPlace(0, 2, 0, 2, "127.0.0.1", port).Connect(TimeSpan.FromSeconds(1)));
        Assert.StartsWith($"process 0 cannot listen at 127.0.0.1:{port} (MASTER_ADDR, MASTER_PORT): ", e.Message);

        // That of another group of processes too.
        var place = new TcpPlace(0, 2, 0, 2, "127.0.0.1", Ranks.FreePort());
        Task<Exception?> first = InThread(() => Record.Exception(() => place.Connect(Ranks.Limit)));
        while (!IsListening(place.Port)) await Task.Delay(5, TestContext.Current.CancellationToken);
        e = Assert.Throws<CommunicationException>(() => place.Connect(Ranks.Limit));
        Assert.StartsWith($"process 0 cannot listen at 127.0.0.1:{place.Port} (MASTER_ADDR, MASTER_PORT): ", e.Message);
        (place with { Rank = 1 }).Connect(Ranks.Limit);
        Assert.Null(await first);

        static bool IsListening(int port) =>
            IPGlobalProperties.GetIPGlobalProperties().GetActiveTcpListeners().Any(end => end.Port == port);
    }

    [Theory]
    [InlineData(2, 4, "process 2 was started as one of 4, process 0 as one of 3")]
    [InlineData(1, 3, "two processes were started as process 1")]
    public async Task A_process_that_cannot_be_admitted_is_named_and_its_connection_closed(int rank, int size, string expected)
    {
        var place = new TcpPlace(0, 3, 0, 3, "127.0.0.1", Ranks.FreePort());
        Task<Exception?> first = InThread(() => Record.Exception(() => place.Connect(Ranks.Limit)));
        (place with { Rank = 1 }).Connect(Ranks.Limit);
        using var refused = new TcpClient(place.Host, place.Port) { ReceiveTimeout = 10_000 };
        refused.Client.Send([.. "feedback"u8, (byte)rank, 0, 0, 0, (byte)size, 0, 0, 0, 0, 0, 0, 0]);
        Assert.Equal(expected, Assert.IsType<CommunicationException>(await first).Message);
        Assert.Equal(0, refused.Client.Receive(new byte[1]));
    }

    [Fact]
    public void Variables_of_torchrun_are_read_and_wrong_ones_named()
    {
        var variables = new Dictionary<string, string?>
        {
            ["RANK"] = "5",
            ["WORLD_SIZE"] = "8",
            ["LOCAL_RANK"] = "1",
            ["LOCAL_WORLD_SIZE"] = "4",
            ["MASTER_ADDR"] = "node0",
            ["MASTER_PORT"] = "29500",
        };
        Launcher launcher = Launcher.Detect(variables.GetValueOrDefault)!;
        Assert.Equal(("torchrun", LaunchEngine.Address, 5, 8), (launcher.Name, launcher.Engine, launcher.Rank, launcher.Size));
        Assert.Equal(new TcpPlace(5, 8, 1, 4, "node0", 29500), TcpPlace.Of(5, 8, variables.GetValueOrDefault));
        launcher.RequireEngineFor("cuda");
        Assert.Contains("processes on CPUs are started by mpirun, as in mpirun -n 8", Assert.Throws<CommunicationException>(() => launcher.RequireEngineFor("cpu")).Message);
        variables["TORCHELASTIC_USE_AGENT_STORE"] = "True";
        Assert.Equal(29501, TcpPlace.Of(5, 8, variables.GetValueOrDefault).Port);
        variables["LOCAL_WORLD_SIZE"] = "1";
        Assert.Equal("LOCAL_RANK is 1 and LOCAL_WORLD_SIZE is 1, wanted a rank below the size", Assert.Throws<CommunicationException>(() => TcpPlace.Of(5, 8, variables.GetValueOrDefault)).Message);
        variables["LOCAL_RANK"] = "one";
        Assert.Equal("LOCAL_RANK is 'one', wanted a number up to 7", Assert.Throws<CommunicationException>(() => TcpPlace.Of(5, 8, variables.GetValueOrDefault)).Message);
        variables.Remove("LOCAL_RANK");
        Assert.Equal("LOCAL_RANK is missing, wanted a number up to 7", Assert.Throws<CommunicationException>(() => TcpPlace.Of(5, 8, variables.GetValueOrDefault)).Message);
    }

    // Those of the pool may all be busy with other tests.
    private static Task<T> InThread<T>(Func<T> work) =>
        Task.Factory.StartNew(work, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
}
