using System.CommandLine;
using FeedbackKernels.Runs;

namespace FeedbackKernels.Cli;

/// <summary>Options that were given without an effect.</summary>
internal static class UnusedOptions
{
    /// <summary>Refuses an option of the command line that none of the runs uses. What comes from a file is not looked at.</summary>
    /// <exception cref="UsageException">There is one; the message names it and what it needs.</exception>
    public static void Refuse(ParseResult parsed, params IReadOnlyCollection<RunConfig> runs)
    {
        foreach (Option option in parsed.CommandResult.Command.Options)
        {
            if (option is ISetting { Use: var use } && Settings.IsGiven(parsed, option) && !runs.Any(run => use.Holds(parsed, run)))
                throw new UsageException($"{option.Name} has no effect here: it needs {use.Needs}");
        }
    }
}
