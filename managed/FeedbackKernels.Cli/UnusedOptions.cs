using System.CommandLine;
using FeedbackKernels.Runs;

namespace FeedbackKernels.Cli;

/// <summary>Finds options that have no effect.</summary>
internal static class UnusedOptions
{
    /// <summary>Refuses an option on the command line that none of the runs uses. Settings from a file are not checked.</summary>
    /// <exception cref="UsageException">There is such an option; the message names it and what it needs.</exception>
    public static void Refuse(ParseResult parsed, params IReadOnlyCollection<RunConfig> runs)
    {
        foreach (Option option in parsed.CommandResult.Command.Options)
        {
            if (option is ISetting { Use: var use } && Settings.IsGiven(parsed, option) && !runs.Any(run => use.Holds(parsed, run)))
                throw new UsageException($"{option.Name} has no effect here: it needs {use.Needs}");
        }
    }
}
