using System.Diagnostics;
using System.Net.WebSockets;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace FeedbackKernels.Watch.Tests;

/// <summary>A page in Chromium without a window, driven through the DevTools protocol.</summary>
internal sealed class Browser : IAsyncDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    private readonly Process _process;
    private readonly string _profile;
    private readonly ClientWebSocket _socket = new();
    private readonly Dictionary<int, TaskCompletionSource<JsonObject>> _waiting = [];
    private readonly Lock _lock = new();
    private Task _receiving = Task.CompletedTask;
    private string? _session;
    private int _commands;

    private Browser(Process process, string profile) => (_process, _profile) = (process, profile);

    /// <summary>Errors of scripts, and what the content security policy refused.</summary>
    public List<string> Errors { get; } = [];

    /// <summary>Addresses that the page asked for.</summary>
    public List<string> Requests { get; } = [];

    /// <summary>Opens a page; the test is skipped where there is no Chromium.</summary>
    public static async Task<Browser> Open(Uri address, int width, int height)
    {
        string[] names = ["chromium", "chromium-browser", "google-chrome"];
        string? program = names.SelectMany(name => Environment.GetEnvironmentVariable("PATH")!.Split(Path.PathSeparator).Select(folder => Path.Combine(folder, name))).FirstOrDefault(File.Exists);
        Assert.SkipWhen(program is null, $"none of {string.Join(", ", names)} is on the PATH; on Debian: apt-get install chromium");
        string profile = Directory.CreateTempSubdirectory("feedback-chromium").FullName;
        var start = new ProcessStartInfo(
            program!,
            ["--headless", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--no-first-run", "--remote-debugging-port=0", $"--user-data-dir={profile}", $"--window-size={width},{height}", "about:blank"])
        {
            RedirectStandardError = true,
            RedirectStandardOutput = true,
        };
        // Chromium's sandbox refuses to work for root, as whom containers run.
        if (Environment.UserName == "root") start.ArgumentList.Insert(0, "--no-sandbox");
        var browser = new Browser(Process.Start(start)!, profile);
        try
        {
            await browser.Connect();
            await browser.Show(address);
            return browser;
        }
        catch
        {
            await browser.DisposeAsync();
            throw;
        }
    }

    /// <summary>Evaluates an expression in the page.</summary>
    public async Task<JsonNode?> Evaluate(string expression)
    {
        JsonObject result = await Send("Runtime.evaluate", new JsonObject { ["expression"] = expression, ["returnByValue"] = true, ["awaitPromise"] = true });
        if (result["exceptionDetails"] is { } failure) throw new InvalidOperationException($"{expression}: {failure.ToJsonString()}");
        return result["result"]!["value"];
    }

    /// <summary>Waits until an expression is true in the page.</summary>
    public async Task WaitFor(string expression)
    {
        long start = Stopwatch.GetTimestamp();
        while ((await Evaluate($"Boolean({expression})"))?.GetValue<bool>() != true)
        {
            if (Stopwatch.GetElapsedTime(start) > Patience)
                Assert.Fail($"not true after {Patience.TotalSeconds} s: {expression}; the page: {await Evaluate("document.body.innerText")}; errors: {string.Join("; ", Errors)}");
            await Task.Delay(50, TestContext.Current.CancellationToken);
        }
    }

    /// <summary>Saves a picture of the whole page.</summary>
    public async Task Screenshot(string path)
    {
        JsonObject result = await Send("Page.captureScreenshot", new JsonObject { ["format"] = "png", ["captureBeyondViewport"] = true });
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        await File.WriteAllBytesAsync(path, Convert.FromBase64String(result["data"]!.GetValue<string>()), TestContext.Current.CancellationToken);
    }

    public async ValueTask DisposeAsync()
    {
        if (!_process.HasExited) _process.Kill(entireProcessTree: true);
        await _process.WaitForExitAsync(CancellationToken.None);
        await _receiving;
        _socket.Dispose();
        _process.Dispose();
        // Its helpers may end a little later, and write until then.
        for (int attempt = 0; Directory.Exists(_profile); attempt++)
        {
            try
            {
                Directory.Delete(_profile, recursive: true);
            }
            catch (IOException) when (attempt < 50)
            {
                await Task.Delay(100, CancellationToken.None);
            }
        }
    }

    private async Task Connect()
    {
        using var limit = new CancellationTokenSource(Patience);
        const string Announcement = "DevTools listening on ";
        string? line;
        do line = await _process.StandardError.ReadLineAsync(limit.Token) ?? throw new InvalidOperationException("Chromium ended at once");
        while (!line.StartsWith(Announcement, StringComparison.Ordinal));
        _ = _process.StandardError.ReadToEndAsync(CancellationToken.None);
        _ = _process.StandardOutput.ReadToEndAsync(CancellationToken.None);
        await _socket.ConnectAsync(new Uri(line[Announcement.Length..]), limit.Token);
        _receiving = Receive();
    }

    private async Task Show(Uri address)
    {
        JsonObject target = await Send("Target.createTarget", new JsonObject { ["url"] = "about:blank" });
        JsonObject attached = await Send("Target.attachToTarget", new JsonObject { ["targetId"] = target["targetId"]!.DeepClone(), ["flatten"] = true });
        _session = attached["sessionId"]!.GetValue<string>();
        foreach (string domain in (string[])["Page", "Runtime", "Log", "Network"]) await Send($"{domain}.enable", []);
        await Send("Page.navigate", new JsonObject { ["url"] = address.ToString() });
        // The command returns before the new page is there, and expressions meanwhile see the old one.
        await WaitFor($"location.href === '{address}' && document.readyState === 'complete'");
    }

    private async Task<JsonObject> Send(string method, JsonObject parameters)
    {
        int id = ++_commands;
        var answer = new TaskCompletionSource<JsonObject>(TaskCreationOptions.RunContinuationsAsynchronously);
        lock (_lock) _waiting.Add(id, answer);
        var command = new JsonObject { ["id"] = id, ["method"] = method, ["params"] = parameters };
        if (_session is not null) command["sessionId"] = _session;
        await _socket.SendAsync(JsonSerializer.SerializeToUtf8Bytes(command), WebSocketMessageType.Text, endOfMessage: true, TestContext.Current.CancellationToken);
        JsonObject message = await answer.Task.WaitAsync(Patience, TestContext.Current.CancellationToken);
        return message["result"] as JsonObject ?? throw new InvalidOperationException($"{method}: {message.ToJsonString()}");
    }

    private async Task Receive()
    {
        var buffer = new byte[1 << 16];
        try
        {
            while (true)
            {
                using var message = new MemoryStream();
                ValueWebSocketReceiveResult received;
                do
                {
                    received = await _socket.ReceiveAsync(buffer.AsMemory(), CancellationToken.None);
                    if (received.MessageType == WebSocketMessageType.Close) return;
                    message.Write(buffer, 0, received.Count);
                }
                while (!received.EndOfMessage);
                Take(JsonNode.Parse(message.ToArray())!.AsObject());
            }
        }
        catch (WebSocketException)
        {
            // Chromium has ended.
        }
    }

    private void Take(JsonObject message)
    {
        lock (_lock)
        {
            if (message["id"] is { } id && _waiting.Remove(id.GetValue<int>(), out TaskCompletionSource<JsonObject>? answer)) answer.SetResult(message);
            JsonNode? content = message["params"];
            switch (message["method"]?.GetValue<string>())
            {
                case "Runtime.exceptionThrown": Errors.Add(content!["exceptionDetails"]!.ToJsonString()); break;
                case "Log.entryAdded" when content!["entry"]!["level"]!.GetValue<string>() == "error": Errors.Add(content["entry"]!["text"]!.GetValue<string>()); break;
                case "Network.requestWillBeSent": Requests.Add(content!["request"]!["url"]!.GetValue<string>()); break;
                default: break;
            }
        }
    }
}
