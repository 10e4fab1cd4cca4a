using System.Collections;
using System.CommandLine;
using FeedbackKernels.Runs;

namespace FeedbackKernels.Cli;

/// <summary>Options, each with the change that it makes to a run's configuration.</summary>
internal sealed class Settings : IEnumerable<Option>
{
    private readonly List<(Option Option, Func<ParseResult, RunConfig, RunConfig> Apply)> _all = [];

    /// <summary>Adds an option, which changes the configuration if it is given.</summary>
    public Setting<T> Add<T>(Setting<T> option, Func<RunConfig, T, RunConfig> apply)
    {
        _all.Add((option, (parsed, config) => IsGiven(parsed, option) ? apply(config, parsed.GetValue(option)!) : config));
        return option;
    }

    /// <summary>A configuration with the options that were given.</summary>
    public RunConfig Apply(ParseResult parsed, RunConfig config) => _all.Aggregate(config, (current, setting) => setting.Apply(parsed, current));

    /// <summary>Whether an option is on the command line.</summary>
    public static bool IsGiven(ParseResult parsed, Option option) => parsed.GetResult(option) is { Implicit: false };

    /// <summary>The argument of an option if it was given, otherwise <paramref name="otherwise"/>.</summary>
    public static T Given<T>(ParseResult parsed, Option<T> option, T otherwise) => IsGiven(parsed, option) ? parsed.GetValue(option)! : otherwise;

    /// <inheritdoc/>
    public IEnumerator<Option> GetEnumerator() => _all.Select(s => s.Option).GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();
}
