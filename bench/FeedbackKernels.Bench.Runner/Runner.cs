using System.CommandLine;
using FeedbackKernels.Bench.Estimates;
using FeedbackKernels.Interop;

namespace FeedbackKernels.Bench;

/// <summary>The commands that need only the kernels, as a program that can be compiled ahead of time for machines without .NET.
/// FeedbackKernels.Bench has these commands too, and those that need further libraries.</summary>
internal static class Runner
{
    /// <summary>Exit code after an error.</summary>
    public const int Failure = 1;

    public static int Main(string[] arguments) => Run(Commands("Benchmarks of the kernels and of whole training steps."), arguments);

    /// <summary>The root command with the commands of this program.</summary>
    public static RootCommand Commands(string description) =>
        new(description) { LayersCommand.Create(), CheckCommand.Create(), StepCommand.Create(), MirrorCommand.Create(), LoaderCommand.Create(), CallsCommand.Create(), ShapesCommand.Create(), EstimateCommand.Create(), ReduceCommand.Create() };

    /// <summary>Runs a command line; an error is printed on one line.</summary>
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
