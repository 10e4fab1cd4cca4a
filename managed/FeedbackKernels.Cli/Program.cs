using System.CommandLine;
using FeedbackKernels.Interop;
using FeedbackKernels.Training;

namespace FeedbackKernels.Cli;

/// <summary>The command line <c>feedback</c>.</summary>
internal static class Program
{
    private const int Failure = 1, Usage = 2;

    public static int Main(string[] arguments) => Run(arguments);

    /// <summary>Runs a command line and returns its exit code.</summary>
    internal static int Run(params string[] arguments)
    {
        var verbose = new Option<bool>("--verbose") { Description = "Shows where in the program an error arose.", Recursive = true };
        var root = new RootCommand("Trains convolutional networks without weight transport: weight mirror, Kolen-Pollack and their baselines.")
        {
            TrainCommand.Create(), CompareCommand.Create(), EvaluateCommand.Create(), InfoCommand.Create(), verbose,
        };
        ParseResult parsed = root.Parse(arguments.Length == 0 ? ["--help"] : arguments);
        if (parsed.Errors.Count > 0 && parsed.Action is not System.CommandLine.Help.HelpAction)
        {
            Complain(parsed.Errors[0].Message);
            return Usage;
        }

        try
        {
            // Errors and Ctrl-C are this program's own business.
            return parsed.Invoke(new InvocationConfiguration { EnableDefaultExceptionHandler = false, ProcessTerminationTimeout = null });
        }
        catch (OperationCanceledException)
        {
            return Interrupt.LastExitCode;
        }
        catch (Exception e) when (!parsed.GetValue(verbose) && IsExpected(e))
        {
            Complain(e.Message);
            return Failure;
        }
        catch (Exception e)
        {
            Console.Error.WriteLine(e);
            return Failure;
        }
    }

    /// <summary>Errors that say all a user needs; any other is a fault of the program and shows where.</summary>
    private static bool IsExpected(Exception e) =>
        e is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException or PlatformNotSupportedException
            or NonFiniteLossException or CudaException or InvalidDataException or OutOfMemoryException;

    private static void Complain(string message) => Console.Error.WriteLine($"feedback: {message.ReplaceLineEndings(" ")}");
}
