using System.CommandLine;
using System.Net;
using System.Net.Sockets;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.Hosting;

namespace FeedbackKernels.Watch;

/// <summary>The program <c>feedback-watch</c>, which <c>feedback watch</c> starts.</summary>
internal static class Program
{
    private const int Failure = 1;

    public static int Main(string[] arguments)
    {
        var folder = new Argument<DirectoryInfo>("folder") { Description = "Folder of a run, or one with runs below it." };
        var host = new Option<string>("--host") { Description = "Address to listen on.", DefaultValueFactory = _ => "localhost" };
        var port = new Option<int>("--port") { Description = "Port to listen on; 0 for any that is free.", DefaultValueFactory = _ => 6016 };
        var untilInputEnds = new Option<bool>("--until-input-ends") { Description = "End when the standard input does." };
        var command = new RootCommand("Shows the runs of a folder in the browser, while they train.") { folder, host, port, untilInputEnds };
        command.SetAction((parsed, cancel) => Run(
            new WatchSettings(parsed.GetRequiredValue(folder).FullName, parsed.GetRequiredValue(host), parsed.GetValue(port)), parsed.GetValue(untilInputEnds), cancel));
        return command.Parse(arguments).Invoke();
    }

    private static async Task<int> Run(WatchSettings settings, bool untilInputEnds, CancellationToken cancel)
    {
        if (!Directory.Exists(settings.Folder)) return Complain($"directory '{settings.Folder}' does not exist");
        if (settings.Host != "localhost" && !IPAddress.TryParse(settings.Host, out _)) return Complain($"--host '{settings.Host}': wanted localhost or an IP address");
        await using WebApplication app = WatchServer.Create(settings);
        try
        {
            await app.StartAsync(cancel);
        }
        catch (Exception e) when (e is IOException or SocketException)
        {
            // Kestrel reports a port in use as an IOException; another port does not help where this machine has no such address.
            string remedy = e is IOException ? "; --port chooses another port, --port 0 any that is free" : "";
            return Complain($"cannot listen on {settings.Host}, port {settings.Port}: {e.InnerException?.Message ?? e.Message}{remedy}");
        }

        string address = app.Urls.First();
        Console.WriteLine($"watching {settings.Folder}: {address}");
        if (!HostRule.IsLoopback(settings.Host)) Console.WriteLine("note: everyone who can reach this address can read the tables, logs and configurations of the runs");
        if (untilInputEnds) _ = Task.Run(() => EndWithInput(app.Lifetime), CancellationToken.None);
        await app.WaitForShutdownAsync(cancel);
        return 0;
    }

    private static void EndWithInput(IHostApplicationLifetime lifetime)
    {
        while (Console.In.Read() >= 0)
        {
        }

        lifetime.StopApplication();
    }

    private static int Complain(string message)
    {
        Console.Error.WriteLine($"feedback: {message}");
        return Failure;
    }
}
