using System.Diagnostics;
using System.Net;
using System.Net.Sockets;

namespace FeedbackKernels.Watch.Tests;

/// <summary>The program, alone and through <c>feedback watch</c>.</summary>
public sealed class ProgramTests : IDisposable
{
    private static readonly TimeSpan Soon = TimeSpan.FromSeconds(30);

    private readonly string _folder = Directory.CreateTempSubdirectory("feedback-watch").FullName;
    private readonly List<Process> _started = [];

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public void Dispose()
    {
        foreach (Process process in _started)
        {
            if (!process.HasExited) process.Kill(entireProcessTree: true);
            process.WaitForExit();
            process.Dispose();
        }

        Directory.Delete(_folder, recursive: true);
    }

    [Theory]
    [InlineData("feedback-watch", new string[] { })]
    [InlineData("feedback", new[] { "watch" })]
    public async Task It_says_where_the_page_is_and_serves_it(string program, string[] command)
    {
        new WrittenRun(Path.Combine(_folder, "a")).AddEpoch();
        Process process = Start(program, [.. command, _folder, "--port", "0", .. program == "feedback" ? (string[])[] : ["--until-input-ends"]]);
        string line = await FirstLine(process);
        Assert.StartsWith($"watching {_folder}: http://127.0.0.1:", line);
        using var client = new HttpClient();
        var address = new Uri(line[(line.LastIndexOf(": ", StringComparison.Ordinal) + 2)..]);
        Assert.Contains("<title>feedback watch</title>", await client.GetStringAsync(address, Cancel));
        using HttpResponseMessage events = await client.GetAsync(new Uri(address, "/events"), HttpCompletionOption.ResponseHeadersRead, Cancel);
        Assert.Equal(HttpStatusCode.OK, events.StatusCode);
        // With a page open: the end of the input, or a signal, ends the program.
        if (program == "feedback") Signal(process, "TERM");
        else process.StandardInput.Close();
        Assert.Equal(program == "feedback" ? 143 : 0, await End(process));
        await AssertGone(address);
    }

    [Fact]
    public async Task The_server_ends_with_the_command_line_even_if_that_is_killed()
    {
        Process process = Start("feedback", "watch", _folder, "--port", "0");
        string line = await FirstLine(process);
        process.Kill();
        await AssertGone(new Uri(line[(line.LastIndexOf(": ", StringComparison.Ordinal) + 2)..]));
    }

    [Theory]
    [InlineData("INT", 130)]
    [InlineData("HUP", 129)]
    public async Task A_signal_gives_its_exit_code(string signal, int code)
    {
        Process process = Start("feedback", "watch", _folder, "--port", "0");
        _ = await FirstLine(process);
        Signal(process, signal);
        Assert.Equal(code, await End(process));
    }

    [Fact]
    public async Task A_port_that_is_taken_is_an_error_that_names_it()
    {
        using var taken = new TcpListener(IPAddress.Loopback, 0);
        taken.Start();
        string port = ((IPEndPoint)taken.LocalEndpoint).Port.ToString(System.Globalization.CultureInfo.InvariantCulture);
        Process process = Start("feedback", "watch", _folder, "--port", port, "--host", "127.0.0.1");
        Assert.Equal(1, await End(process));
        Assert.Matches($"^feedback: cannot listen on 127.0.0.1, port {port}: address already in use; --port chooses another port, --port 0 any that is free\n$", (await process.StandardError.ReadToEndAsync(Cancel)).ToLowerInvariant());
    }

    [Fact]
    public async Task An_address_of_another_machine_is_an_error_that_names_it()
    {
        // Of those that are for documents (RFC 5737), which no machine has.
        Process process = Start("feedback", "watch", _folder, "--port", "0", "--host", "192.0.2.1");
        Assert.Equal(1, await End(process));
        Assert.Matches("^feedback: cannot listen on 192.0.2.1, port 0: [^;]+\n$", await process.StandardError.ReadToEndAsync(Cancel));
    }

    [Theory]
    [InlineData("--host", "example.org", "--host 'example.org': wanted localhost or an IP address")]
    [InlineData("--port", "65536", "--port 65536: wanted")]
    public async Task An_address_that_is_none_is_refused(string option, string value, string message)
    {
        Process process = Start("feedback", "watch", _folder, option, value);
        Assert.NotEqual(0, await End(process));
        Assert.Contains(message, await process.StandardError.ReadToEndAsync(Cancel));
    }

    [Fact]
    public async Task On_all_addresses_it_says_who_can_read()
    {
        Process process = Start("feedback", "watch", _folder, "--port", "0", "--host", "0.0.0.0");
        Assert.Contains("http://0.0.0.0:", await FirstLine(process));
        Assert.StartsWith("note: everyone who can reach this address can read", await process.StandardOutput.ReadLineAsync(Cancel));
    }

    private Process Start(string program, params string[] arguments)
    {
        var process = Process.Start(new ProcessStartInfo(Path.Combine(AppContext.BaseDirectory, program), arguments)
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;
        _started.Add(process);
        return process;
    }

    private static async Task<string> FirstLine(Process process)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(Cancel);
        limit.CancelAfter(Soon);
        return await process.StandardOutput.ReadLineAsync(limit.Token) ?? throw new InvalidOperationException(await process.StandardError.ReadToEndAsync(Cancel));
    }

    private static async Task<int> End(Process process)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(Cancel);
        limit.CancelAfter(Soon);
        await process.WaitForExitAsync(limit.Token);
        return process.ExitCode;
    }

    private static void Signal(Process process, string signal)
    {
        using Process kill = Process.Start("kill", ["-s", signal, process.Id.ToString(System.Globalization.CultureInfo.InvariantCulture)]);
        kill.WaitForExit();
        Assert.Equal(0, kill.ExitCode);
    }

    private static async Task AssertGone(Uri address)
    {
        long start = Stopwatch.GetTimestamp();
        while (true)
        {
            try
            {
                using var client = new TcpClient();
                await client.ConnectAsync(address.Host, address.Port, Cancel);
            }
            catch (SocketException)
            {
                return;
            }

            Assert.True(Stopwatch.GetElapsedTime(start) < Soon, "the server is still there");
            await Task.Delay(50, Cancel);
        }
    }
}
