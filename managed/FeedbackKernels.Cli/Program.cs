using System.CommandLine;
using System.Text.RegularExpressions;
using FeedbackKernels.Interop;
using FeedbackKernels.Runs;
using FeedbackKernels.Training;

namespace FeedbackKernels.Cli;

/// <summary>The command line <c>feedback</c>.</summary>
internal static partial class Program
{
    /// <summary>Exit code of an error.</summary>
    internal const int Failure = 1;

    private const int Usage = 2;

    public static int Main(string[] arguments)
    {
        Terminal.SurviveHangUp();
        return Run(arguments);
    }

    /// <summary>Runs a command line and returns its exit code.</summary>
    internal static int Run(params string[] arguments)
    {
        bool verbose = arguments.Contains(Verbose);
        try
        {
            ParseResult parsed = CreateRoot().Parse(arguments.Length == 0 ? ["--help"] : arguments);
            if (Complaint.Of(parsed) is { } complaint) throw new UsageException(complaint);
            Processes.Join(parsed.CommandResult.Command.Name, BackendOptions.Given(parsed));
            // The program handles errors and signals itself.
            int code = parsed.Invoke(new InvocationConfiguration { EnableDefaultExceptionHandler = false, ProcessTerminationTimeout = null });
            Processes.Leave();
            return code;
        }
        catch (OperationCanceledException)
        {
            return Processes.Fail(Interrupt.LastExitCode);
        }
        catch (UsageException e)
        {
            Complain(e.Message);
            return Processes.Fail(Usage);
        }
        catch (Exception e) when (!verbose && IsExpected(e))
        {
            Complain(e.Message);
            return Processes.Fail(Failure);
        }
        catch (Exception e)
        {
            Console.Error.WriteLine(e);
            return Processes.Fail(Failure);
        }
    }

    /// <summary>The root command with all subcommands.</summary>
    internal static RootCommand CreateRoot() =>
        new("Trains convolutional networks without weight transport: weight mirror, Kolen-Pollack and their baselines.")
        {
            TrainCommand.Create(), ResumeCommand.Create(), RecipesCommand.Create(), CompareCommand.Create(), StudyCommand.Create(), EvaluateCommand.Create(), InfoCommand.Create(), WatchCommand.Create(), PlanCommand.Create(),
            PredictCommand.Create(), ExportCommand.Create(), ImportCommand.Create(), PackCommand.Create(), InspectCommand.Create(), VerifyCommand.Create(),
            new Setting<bool>(Verbose, Use.Always) { Description = "Print the stack trace of an error. Use it for bug reports.", Recursive = true },
        };

    private const string Verbose = "--verbose";

    /// <summary>Errors whose message is enough for a user. Any other error is a bug, and its stack trace is shown.</summary>
    internal static bool IsExpected(Exception e) =>
        e is StoppedRunException { InnerException: { } cause } ? IsExpected(cause) : e is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException or PlatformNotSupportedException
            or NonFiniteLossException or CudaException or CommunicationException or InvalidDataException or OutOfMemoryException;

    private static void Complain(string message) => Console.Error.WriteLine($"feedback: {Plain(message.ReplaceLineEndings(" "))}");

    /// <summary>Rewrites the message of an argument exception for users: the setting first, the value last.</summary>
    internal static string Plain(string message)
    {
        Match match = ArgumentMessage().Match(message);
        if (!match.Success) return message;
        string said = match.Groups["said"].Value.TrimEnd('.'), setting = match.Groups["name"].Value, found = match.Groups["found"].Value;
        // A text that contains the value needs no name, which may be that of a parameter in the code.
        if (found.Length == 0 || said.Contains(found, StringComparison.Ordinal)) return said;
        return said.Contains(setting, StringComparison.OrdinalIgnoreCase) ? $"{said}, found {found}" : $"{setting}: {said}, found {found}";
    }

    // The suffixes that .NET appends to the message.
    [GeneratedRegex(@"^(?<said>.*) \(Parameter '(?<name>[^']*)'\)(?: Actual value was (?<found>.*)\.)?$")]
    private static partial Regex ArgumentMessage();
}
