using System.CommandLine;
using BenchmarkDotNet.Configs;
using BenchmarkDotNet.Running;
using FeedbackKernels.Bench.Suites;

namespace FeedbackKernels.Bench;

/// <summary>The benchmarks. The commands print CSV within seconds, so they can run in turn with other programs. All other arguments go
/// to BenchmarkDotNet (<c>--list flat</c> lists its benchmarks).</summary>
internal static class Program
{
    public static int Main(string[] arguments)
    {
        RootCommand root = Commands();
        bool command = arguments is [] or ["--help" or "-h" or "-?", ..] || root.Subcommands.Any(c => c.Name == arguments[0]);
        return command ? Runner.Run(root, arguments) : RunBenchmarkDotNet(arguments);
    }

    /// <summary>All commands.</summary>
    internal static RootCommand Commands()
    {
        RootCommand root = Runner.Commands(
            "Benchmarks of the kernels and of whole training steps. All other arguments go to BenchmarkDotNet; --list flat lists its benchmarks.");
        root.Subcommands.Add(LawCommand.Create());
        root.Subcommands.Add(PeersCommand.Create());
        return root;
    }

    private static int RunBenchmarkDotNet(string[] arguments)
    {
        IConfig config = DefaultConfig.Instance.AddColumn(new GflopsColumn());
        return BenchmarkSwitcher.FromAssembly(typeof(Program).Assembly).Run(arguments, config).Any() ? 0 : Runner.Failure;
    }
}
