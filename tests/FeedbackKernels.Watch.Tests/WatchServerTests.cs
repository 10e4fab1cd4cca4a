using System.Net;
using System.Net.Sockets;
using System.Text;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;

namespace FeedbackKernels.Watch.Tests;

/// <summary>What the server answers, and what it refuses.</summary>
public sealed class WatchServerTests : IAsyncLifetime
{
    private const string Secret = "the secret outside";

    private readonly string _outside = Directory.CreateTempSubdirectory("feedback-server").FullName;
    private readonly HttpClient _client = new();
    private readonly WebApplication _app;
    private readonly string _folder;

    public WatchServerTests()
    {
        _folder = Path.Combine(_outside, "runs");
        new WrittenRun(Path.Combine(_folder, "a")).Write("report.html", "<p>report of a</p>");
        new WrittenRun(Path.Combine(_folder, "b #1", "ü%20")).Write("report.html", "<p>report of b</p>");
        new WrittenRun(_folder).Write("log.txt", "root\n");
        // A run beside the folder: what a path that leads out of it would find.
        foreach (string name in (string[])["report.html", "config.json", "metrics.csv", "log.txt", "model.safetensors"])
        {
            new WrittenRun(Path.Combine(_outside, "other")).Write(name, Secret);
            File.WriteAllText(Path.Combine(_outside, name), Secret);
        }

        File.WriteAllText(Path.Combine(_folder, "a", "model.safetensors"), Secret);
        File.WriteAllText(Path.Combine(_folder, "a", "notes.txt"), Secret);
        _app = WatchServer.Create(new WatchSettings(_folder) { Pause = TimeSpan.FromMilliseconds(20) });
    }

    private Uri Address => new(_app.Urls.Single());

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync() => await _app.StartAsync(Cancel);

    public async ValueTask DisposeAsync()
    {
        _client.Dispose();
        await _app.DisposeAsync();
        Directory.Delete(_outside, recursive: true);
    }

    [Theory]
    [InlineData("/", "text/html; charset=utf-8", "<title>feedback watch</title>")]
    [InlineData("/watch.js", "text/javascript; charset=utf-8", "new EventSource('/events')")]
    [InlineData("/watch.css", "text/css; charset=utf-8", "#charts")]
    [InlineData("/icon.svg", "image/svg+xml", "<svg")]
    public async Task The_page_comes_with_a_strict_policy_and_names_no_other_server(string path, string type, string content)
    {
        using HttpResponseMessage response = await _client.GetAsync(new Uri(Address, path), Cancel);
        Assert.Equal((HttpStatusCode.OK, type), (response.StatusCode, response.Content.Headers.ContentType!.ToString()));
        string text = await response.Content.ReadAsStringAsync(Cancel);
        Assert.Contains(content, text);
        Assert.DoesNotContain("//", text.Replace("http://www.w3.org/2000/svg", "", StringComparison.Ordinal).Replace("// ", "", StringComparison.Ordinal));
        AssertProtected(response);
        Assert.StartsWith("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';", Policy(response));
        Assert.DoesNotContain("unsafe", Policy(response));
        // The policy would refuse them.
        Assert.DoesNotMatch(" on\\w+=|style=|<script>|<style>", text);
    }

    [Theory]
    [InlineData("runs/a/report.html", "<p>report of a</p>", "text/html; charset=utf-8")]
    [InlineData("runs/b%20%231/%C3%BC%2520/report.html", "<p>report of b</p>", "text/html; charset=utf-8")]
    [InlineData("runs/log.txt", "root\n", "text/plain; charset=utf-8")]
    public async Task Files_of_runs_can_be_read(string path, string content, string type)
    {
        using HttpResponseMessage response = await _client.GetAsync(new Uri(Address, path), Cancel);
        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
        Assert.Equal((content, type), (await response.Content.ReadAsStringAsync(Cancel), response.Content.Headers.ContentType!.ToString()));
        AssertProtected(response);
        // A report may have its style, but never a script.
        Assert.DoesNotContain("script-src", Policy(response));
        Assert.EndsWith("sandbox", Policy(response));
    }

    [Theory]
    [InlineData("/../report.html")]
    [InlineData("/../other/report.html")]
    [InlineData("/runs/../report.html")]
    [InlineData("/runs/../../report.html")]
    [InlineData("/runs/../../other/report.html")]
    [InlineData("/runs/a/../../other/report.html")]
    [InlineData("/runs/a/../../../other/metrics.csv")]
    [InlineData("/runs/%2e%2e/report.html")]
    [InlineData("/runs/%2e%2e/%2e%2e/other/report.html")]
    [InlineData("/runs/..%2fother/report.html")]
    [InlineData("/runs/..%2f..%2fother%2freport.html")]
    [InlineData("/runs/a%2f..%2f..%2fother/report.html")]
    [InlineData("/runs/%252e%252e/other/report.html")]
    [InlineData("/runs/..%5cother/report.html")]
    [InlineData("/runs/..\\other\\report.html")]
    [InlineData("/runs/%c0%ae%c0%ae/other/report.html")]
    [InlineData("/runs/a/report.html/../../../other/report.html")]
    [InlineData("/runs/a/model.safetensors")]
    [InlineData("/runs/a/notes.txt")]
    [InlineData("/runs/a/%00report.html")]
    [InlineData("/runs/a/..%2f..%2freport.html%00.html")]
    [InlineData("/runs/link/report.html")]
    [InlineData("/runs/linked/report.html")]
    [InlineData("/runs/{outside}/other/report.html")]
    [InlineData("/runs//{outside}/other/report.html")]
    [InlineData("/{outside}/other/report.html")]
    [InlineData("file://{outside}/other/report.html")]
    public async Task No_path_leads_out_of_the_folder(string path)
    {
        Directory.CreateSymbolicLink(Path.Combine(_folder, "link"), Path.Combine(_outside, "other"));
        var linked = new WrittenRun(Path.Combine(_folder, "linked"));
        File.CreateSymbolicLink(Path.Combine(linked.Folder, "report.html"), Path.Combine(_outside, "other", "report.html"));
        // An HTTP client would tidy the path up before it asks.
        string answer = await Ask($"GET {path.Replace("{outside}", _outside.TrimStart('/'), StringComparison.Ordinal)} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        Assert.Matches("^HTTP/1.1 4\\d\\d ", answer);
        Assert.DoesNotContain(Secret, answer);
    }

    [Fact]
    public async Task The_secret_would_be_found()
    {
        // The test above proves nothing unless such a request is answered when the path is right.
        string answer = await Ask("GET /runs/a/report.html HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        Assert.StartsWith("HTTP/1.1 200 ", answer);
        Assert.Contains("report of a", answer);
    }

    [Theory]
    [InlineData("localhost", true)]
    [InlineData("LOCALHOST:6016", true)]
    [InlineData("127.0.0.1:80", true)]
    [InlineData("[::1]:6016", true)]
    [InlineData("rebound.example", false)]
    [InlineData("localhost.rebound.example", false)]
    [InlineData("127.0.0.1.rebound.example:6016", false)]
    [InlineData("192.168.1.5", false)]
    public async Task A_request_to_another_name_is_refused(string host, bool answered)
    {
        foreach (string path in (string[])["/", "/events", "/runs/a/report.html"])
        {
            string answer = await Ask($"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n", "\r\n\r\n");
            Assert.StartsWith(answered ? "HTTP/1.1 200 " : "HTTP/1.1 421 ", answer);
        }
    }

    [Theory]
    [InlineData("0.0.0.0", "192.168.1.5:6016", true)]
    [InlineData("192.168.1.5", "[fe80::1]", true)]
    [InlineData("0.0.0.0", "localhost", true)]
    [InlineData("0.0.0.0", "rebound.example", false)]
    [InlineData("::1", "192.168.1.5", false)]
    public void On_other_addresses_addresses_are_answered_and_names_of_other_sites_are_not(string listening, string requested, bool allowed)
    {
        Assert.Equal(allowed, new HostRule(listening).Allows(new HostString(requested)));
        Assert.Equal(listening == "0.0.0.0", new HostRule(listening == "0.0.0.0" ? listening : "127.0.0.1").Allows(new HostString(Environment.MachineName)));
    }

    [Fact]
    public async Task Nothing_but_GET_is_answered()
    {
        foreach (HttpMethod method in (HttpMethod[])[HttpMethod.Post, HttpMethod.Put, HttpMethod.Delete, HttpMethod.Patch])
        {
            using var request = new HttpRequestMessage(method, new Uri(Address, "/runs/a/report.html"));
            using HttpResponseMessage response = await _client.SendAsync(request, Cancel);
            Assert.Equal(HttpStatusCode.MethodNotAllowed, response.StatusCode);
            AssertProtected(response);
        }

        Assert.True(File.Exists(Path.Combine(_folder, "a", "report.html")));
    }

    [Fact]
    public async Task The_stream_tells_of_an_epoch_when_it_ends()
    {
        using HttpResponseMessage response = await _client.GetAsync(new Uri(Address, "/events"), HttpCompletionOption.ResponseHeadersRead, Cancel);
        Assert.Equal("text/event-stream", response.Content.Headers.ContentType!.MediaType);
        AssertProtected(response);
        using var reader = new StreamReader(await response.Content.ReadAsStreamAsync(Cancel));
        await ReadUntil(reader, "\"run\":\"a\"");
        var later = new WrittenRun(Path.Combine(_folder, "later"));
        await ReadUntil(reader, "\"name\":\"later\"");
        // The server tells of a run before it reads the run's tables.
        await ReadUntil(reader, "\"run\":\"later\",\"table\":\"metrics\",\"anew\":true");
        later.AddEpoch();
        Assert.Contains("\"1\",\"100\"", await ReadUntil(reader, "\"run\":\"later\",\"table\":\"metrics\",\"anew\":false"));
        // A stream that is open does not hold up the end.
        Task end = _app.StopAsync(Cancel);
        Assert.Same(end, await Task.WhenAny(end, Task.Delay(TimeSpan.FromSeconds(10), Cancel)));
    }

    private static async Task<string> ReadUntil(StreamReader reader, string text)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(Cancel);
        limit.CancelAfter(TimeSpan.FromSeconds(20));
        while (await reader.ReadLineAsync(limit.Token) is { } line)
        {
            if (line.Contains(text, StringComparison.Ordinal)) return line;
        }

        throw new EndOfStreamException($"the stream ended without {text}");
    }

    /// <summary>Sends a request as it is and returns the answer, up to its end or a text.</summary>
    private async Task<string> Ask(string request, string? until = null)
    {
        using var client = new TcpClient();
        await client.ConnectAsync(Address.Host, Address.Port, Cancel);
        using NetworkStream stream = client.GetStream();
        await stream.WriteAsync(Encoding.Latin1.GetBytes(request), Cancel);
        var answer = new StringBuilder();
        var buffer = new byte[4096];
        while (await stream.ReadAsync(buffer, Cancel) is > 0 and var length)
        {
            answer.Append(Encoding.Latin1.GetString(buffer, 0, length));
            if (until is not null && answer.ToString().Contains(until, StringComparison.Ordinal)) break;
        }

        return answer.ToString();
    }

    private static string Policy(HttpResponseMessage response) => Assert.Single(response.Headers.GetValues("Content-Security-Policy"));

    private static void AssertProtected(HttpResponseMessage response)
    {
        string policy = Policy(response);
        Assert.StartsWith("default-src 'none'; ", policy);
        Assert.Contains("base-uri 'none'; form-action 'none'; frame-ancestors 'none'", policy);
        Assert.Equal("nosniff", Assert.Single(response.Headers.GetValues("X-Content-Type-Options")));
        Assert.Equal("same-origin", Assert.Single(response.Headers.GetValues("Cross-Origin-Resource-Policy")));
        Assert.False(response.Headers.Contains("Access-Control-Allow-Origin"));
        Assert.False(response.Headers.Contains("Server"));
    }
}
