using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using FeedbackKernels.Settings;

namespace FeedbackKernels.Cli;

/// <summary><c>feedback watch</c>: a page in the browser that shows runs while they train.</summary>
internal static class WatchCommand
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(10);

    public static Command Create()
    {
        var folder = new Argument<DirectoryInfo>("run") { Description = "Folder of a run, or one with several runs below it, as runs." };
        Setting<int> port = Names.Number("--port", Use.Always, 6016, new Bounds(0, 65535), "Port of the page; 0 for any that is free.");
        var host = new Setting<string>("--host", Use.Always)
        {
            Description = "Address to listen on: localhost for this machine only, or an IP address, 0.0.0.0 for all. Everyone who can reach it can read the results of the runs.",
            DefaultValueFactory = _ => "localhost",
            HelpName = "address",
        };
        var command = new Command("watch", "Shows runs in the browser while they train: curves, the alignment of each layer, speed, and logs. Ctrl-C ends it.") { folder, port, host };
        command.SetAction(parsed =>
        {
            string path = parsed.GetRequiredValue(folder).FullName;
            if (!Directory.Exists(path)) throw new DirectoryNotFoundException($"directory '{path}' does not exist");
            ProcessStartInfo start = WatchProgram.Find();
            foreach (string argument in Arguments(path, parsed.GetValue(host)!, parsed.GetValue(port))) start.ArgumentList.Add(argument);
            return Run(start);
        });
        return command;
    }

    /// <summary>The arguments of the program.</summary>
    internal static string[] Arguments(string folder, string host, int port) =>
        [folder, "--host", host, "--port", port.ToString(CultureInfo.InvariantCulture), "--until-input-ends"];

    /// <summary>Runs the program until it or this one ends, whichever is first and for whatever reason: its input ends with this process.</summary>
    private static int Run(ProcessStartInfo start)
    {
        using var interrupt = new Interrupt();
        start.RedirectStandardInput = true;
        using Process program = Process.Start(start) ?? throw new InvalidOperationException($"{start.FileName} was not started");
        using CancellationTokenRegistration ends = interrupt.Token.Register(program.StandardInput.Close);
        try
        {
            program.WaitForExitAsync(interrupt.Token).GetAwaiter().GetResult();
        }
        catch (OperationCanceledException)
        {
            if (!program.WaitForExit(Patience)) program.Kill();
            return interrupt.ExitCode;
        }

        return program.ExitCode;
    }
}
