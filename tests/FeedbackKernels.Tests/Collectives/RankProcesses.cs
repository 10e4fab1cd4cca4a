using System.Diagnostics;
using System.Globalization;
using FeedbackKernels.Interop;
using FeedbackKernels.Tests.Cli;
using FeedbackKernels.Tests.Cuda;

namespace FeedbackKernels.Tests.Collectives;

/// <summary>Processes that are started as torchrun starts them, with the emulated driver and the emulated NCCL.</summary>
internal sealed class RankProcesses : IDisposable
{
    private readonly Process[] _processes;

    private RankProcesses(Process[] processes) => _processes = processes;

    public Process this[int rank] => _processes[rank];

    /// <summary>Starts the program in each rank. {rank} in a variable is its number.</summary>
    public static RankProcesses Start(int size, string folder, string[] arguments, params (string Name, string Value)[] variables)
    {
        int port = Ranks.FreePort();
        return new RankProcesses([.. Enumerable.Range(0, size).Select(rank => FeedbackProgram.StartWith(
            VariablesOf(rank, size, port, [(CudaLibrary.EnvironmentVariable, EmulatedDriver.Path), .. variables]), folder, arguments))]);
    }

    /// <summary>Starts a test in each rank; the driver is not named, as in the tests.</summary>
    public static RankProcesses StartTest(int size, Type type, string method, params (string Name, string Value)[] variables)
    {
        int port = Ranks.FreePort();
        return new RankProcesses([.. Enumerable.Range(0, size).Select(rank =>
        {
            var start = new ProcessStartInfo(Path.Combine(AppContext.BaseDirectory, "FeedbackKernels.Tests"), ["-method", $"{type.FullName}.{method}", "-noColor"])
            {
                RedirectStandardOutput = true,
                RedirectStandardError = true,
            };
            foreach ((string name, string value) in VariablesOf(rank, size, port, [(ChildProcess.Variable, "1"), .. variables])) start.Environment[name] = value;
            return Process.Start(start)!;
        })]);
    }

    // Processes that wait for each other would wait for ever.
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(180);

    /// <summary>Waits for the end of all.</summary>
    /// <exception cref="TimeoutException">They do not end.</exception>
    public Task<(int Code, string Output, string Error)[]> End(CancellationToken cancel) =>
        Task.WhenAll(_processes.Select(process => FeedbackProgram.End(process, cancel))).WaitAsync(Patience, cancel);

    public void Dispose()
    {
        foreach (Process process in _processes)
        {
            if (!process.HasExited) process.Kill();
            process.WaitForExit();
            process.Dispose();
        }
    }

    private static Dictionary<string, string> VariablesOf(int rank, int size, int port, (string Name, string Value)[] others)
    {
        string number = rank.ToString(CultureInfo.InvariantCulture), count = size.ToString(CultureInfo.InvariantCulture);
        var variables = new Dictionary<string, string>
        {
            ["RANK"] = number,
            ["WORLD_SIZE"] = count,
            ["LOCAL_RANK"] = number,
            ["LOCAL_WORLD_SIZE"] = count,
            ["MASTER_ADDR"] = "127.0.0.1",
            ["MASTER_PORT"] = port.ToString(CultureInfo.InvariantCulture),
            ["FEEDBACK_EMULATED_DEVICES"] = count,
            [NcclLibrary.EnvironmentVariable] = EmulatedNccl.Path,
        };
        foreach ((string name, string value) in others) variables[name] = value.Replace("{rank}", number, StringComparison.Ordinal);
        return variables;
    }
}
