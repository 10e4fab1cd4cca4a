using System.CommandLine;
using BenchmarkDotNet.Configs;
using BenchmarkDotNet.Running;
using FeedbackKernels.Bench.Suites;

namespace FeedbackKernels.Bench;

/// <summary>Benchmarks. Commands print CSV within seconds, for runs in turn with other programs; anything else goes to
/// BenchmarkDotNet (<c>--list flat</c> shows its benchmarks).</summary>
internal static class Program
{
    public static int Main(string[] arguments)
    {
        RootCommand root = Commands();
        bool command = arguments is [] or ["--help" or "-h" or "-?", ..] || root.Subcommands.Any(c => c.Name == arguments[0]);
        return command ? Runner.Run(root, arguments) : RunBenchmarkDotNet(arguments);
    }

    /// <summary>Every command.</summary>
    internal static RootCommand Commands()
    {
        RootCommand root = Runner.Commands(
            "Benchmarks of the kernels and of whole training steps. Any other argument goes to BenchmarkDotNet: see --list flat.");
        root.Subcommands.Add(PeersCommand.Create());
        return root;
    }

    private static int RunBenchmarkDotNet(string[] arguments)
    {
        IConfig config = DefaultConfig.Instance.AddColumn(new GflopsColumn());
        return BenchmarkSwitcher.FromAssembly(typeof(Program).Assembly).Run(arguments, config).Any() ? 0 : Runner.Failure;
    }
}
