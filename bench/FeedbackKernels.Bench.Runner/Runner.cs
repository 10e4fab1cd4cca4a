using System.CommandLine;
using FeedbackKernels.Bench.Estimates;
using FeedbackKernels.Interop;

namespace FeedbackKernels.Bench;

/// <summary>The commands that need nothing but the kernels: a program that compiles ahead of time, for machines that have
/// no .NET. FeedbackKernels.Bench has these commands too, and those that need libraries.</summary>
internal static class Runner
{
    /// <summary>What a program returns that could not do what it was asked to.</summary>
    public const int Failure = 1;

    public static int Main(string[] arguments) => Run(Commands("Benchmarks of the kernels and of whole training steps."), arguments);

    /// <summary>A program of the commands there are here.</summary>
    public static RootCommand Commands(string description) =>
        new(description) { LayersCommand.Create(), StepCommand.Create(), MirrorCommand.Create(), ShapesCommand.Create(), EstimateCommand.Create() };

    /// <summary>Carries out a command; what goes wrong is one line.</summary>
    public static int Run(RootCommand root, string[] arguments)
    {
        try
        {
            return root.Parse(arguments is [] ? ["--help"] : arguments).Invoke(new InvocationConfiguration { EnableDefaultExceptionHandler = false });
        }
        catch (Exception e) when (e is IOException or ArgumentException or NotSupportedException or InvalidDataException or CudaException)
        {
            Console.Error.WriteLine($"bench: {e.Message}");
            return Failure;
        }
    }
}
