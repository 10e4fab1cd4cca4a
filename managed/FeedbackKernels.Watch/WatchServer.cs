using System.Net;
using System.Net.ServerSentEvents;
using System.Runtime.CompilerServices;
using FeedbackKernels.Runs;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;

namespace FeedbackKernels.Watch;

/// <summary>Settings of the server.</summary>
/// <param name="Folder">The watched folder.</param>
/// <param name="Host">Address to listen on: localhost, or an IP address.</param>
/// <param name="Port">Port to listen on; 0 for any that is free.</param>
internal sealed record WatchSettings(string Folder, string Host = "localhost", int Port = 0)
{
    /// <summary>Pause between two looks at the folder.</summary>
    public TimeSpan Pause { get; init; } = TimeSpan.FromSeconds(1);
}

/// <summary>
/// The server of the page. It answers GET for the page, its script and style, the stream of changes, and some files of the runs below the
/// folder; nothing else, and nothing is changed by a request.
/// </summary>
internal static class WatchServer
{
    // Only own scripts and styles, and requests to this server alone. Texts of runs are shown as text.
    private const string PagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

    // A report has its style inside, and no script.
    private const string FilePolicy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox";

    private static readonly Dictionary<string, string> Page = new()
    {
        ["index.html"] = "text/html; charset=utf-8",
        ["watch.js"] = "text/javascript; charset=utf-8",
        ["watch.css"] = "text/css; charset=utf-8",
        ["icon.svg"] = "image/svg+xml",
    };

    /// <summary>Files of a run that can be downloaded.</summary>
    private static readonly Dictionary<string, string> Files = new()
    {
        [RunFiles.Report] = "text/html; charset=utf-8",
        [RunFiles.Config] = "application/json",
        [RunFiles.Summary] = "application/json",
        [RunFiles.Metrics] = "text/csv; charset=utf-8",
        [RunFiles.Alignment] = "text/csv; charset=utf-8",
        [RunFiles.Log] = "text/plain; charset=utf-8",
    };

    /// <summary>Creates the server; it listens once it is started. Environment variables and files of settings have no influence.</summary>
    public static WebApplication Create(WatchSettings settings)
    {
        var scanner = new RunScanner(settings.Folder);
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.WebHost.UseKestrelCore().ConfigureKestrel(kestrel => Listen(kestrel, settings));
        builder.Services.AddRoutingCore();
        // A stream that is open must not hold up the end of the program.
        builder.Services.Configure<HostOptions>(host => host.ShutdownTimeout = TimeSpan.FromSeconds(2));
        WebApplication app = builder.Build();
        Protect(app, new HostRule(settings.Host));
        foreach (string name in Page.Keys) app.MapGet(name == "index.html" ? "/" : $"/{name}", () => PageFile(name));
        app.MapGet("/events", (HttpContext context) => TypedResults.ServerSentEvents(Follow(scanner, settings.Pause, app.Lifetime.ApplicationStopping, context.RequestAborted)));
        app.MapGet("/runs/{**path}", (string path, HttpContext context) => RunFile(scanner, path, context));
        return app;
    }

    private static void Listen(KestrelServerOptions kestrel, WatchSettings settings)
    {
        kestrel.AddServerHeader = false;
        // ListenLocalhost takes both loopback addresses, but cannot choose a free port.
        if (settings.Host == "localhost" && settings.Port != 0) kestrel.ListenLocalhost(settings.Port);
        else kestrel.Listen(settings.Host == "localhost" ? IPAddress.Loopback : IPAddress.Parse(settings.Host), settings.Port);
    }

    private static void Protect(WebApplication app, HostRule rule) => app.Use(async (context, next) =>
    {
        IHeaderDictionary headers = context.Response.Headers;
        headers.ContentSecurityPolicy = PagePolicy;
        headers.XContentTypeOptions = "nosniff";
        headers["Referrer-Policy"] = "no-referrer";
        headers["Cross-Origin-Resource-Policy"] = "same-origin";
        headers.CacheControl = "no-store";
        if (rule.Allows(context.Request.Host))
        {
            await next(context);
            return;
        }

        context.Response.StatusCode = StatusCodes.Status421MisdirectedRequest;
        await context.Response.WriteAsync($"This server has no name '{context.Request.Host.Host}'.\n");
    });

    private static IResult PageFile(string name) => Results.Stream(
        typeof(WatchServer).Assembly.GetManifestResourceStream(name) ?? throw new InvalidOperationException($"the program lacks its {name}"), Page[name]);

    /// <summary>A file of a run. The run is one of those that a scan finds, and the file one of a few: no other path can be asked for.</summary>
    private static IResult RunFile(RunScanner scanner, string path, HttpContext context)
    {
        int slash = path.LastIndexOf('/');
        string run = slash < 0 ? "." : path[..slash], name = path[(slash + 1)..];
        if (!Files.TryGetValue(name, out string? type) || scanner.Find(run) is not { } found) return Results.NotFound();
        string file = Path.Combine(found.Folder, name);
        if (!FolderRules.IsOwnFile(file)) return Results.NotFound();
        context.Response.Headers.ContentSecurityPolicy = FilePolicy;
        return Results.Stream(new FileStream(file, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete), type);
    }

    private static async IAsyncEnumerable<SseItem<string>> Follow(
        RunScanner scanner, TimeSpan pause, CancellationToken stopping, [EnumeratorCancellation] CancellationToken aborted)
    {
        using var ends = CancellationTokenSource.CreateLinkedTokenSource(stopping, aborted);
        var feed = new RunFeed(scanner);
        while (!ends.IsCancellationRequested)
        {
            foreach (Message message in feed.Poll()) yield return new SseItem<string>(message.Json, message.Type);
            await Task.Delay(pause, ends.Token).ContinueWith(_ => { }, CancellationToken.None, TaskContinuationOptions.None, TaskScheduler.Default);
        }
    }
}
