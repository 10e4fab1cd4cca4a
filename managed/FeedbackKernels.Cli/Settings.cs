using System.Collections;
using System.CommandLine;
using FeedbackKernels.Runs;

namespace FeedbackKernels.Cli;

/// <summary>Options, and what each changes in a run.</summary>
internal sealed class Settings : IEnumerable<Option>
{
    private readonly List<(Option Option, Func<ParseResult, RunConfig, RunConfig> Apply)> _all = [];

    /// <summary>Adds an option that changes a run where it is given.</summary>
    public Setting<T> Add<T>(Setting<T> option, Func<RunConfig, T, RunConfig> apply)
    {
        _all.Add((option, (parsed, config) => IsGiven(parsed, option) ? apply(config, parsed.GetValue(option)!) : config));
        return option;
    }

    /// <summary>A run with what was given.</summary>
    public RunConfig Apply(ParseResult parsed, RunConfig config) => _all.Aggregate(config, (current, setting) => setting.Apply(parsed, current));

    /// <summary>Whether an option stands on the command line.</summary>
    public static bool IsGiven(ParseResult parsed, Option option) => parsed.GetResult(option) is { Implicit: false };

    /// <summary>The argument of an option, or a value of the caller's where the option was not given.</summary>
    public static T Given<T>(ParseResult parsed, Option<T> option, T otherwise) => IsGiven(parsed, option) ? parsed.GetValue(option)! : otherwise;

    /// <inheritdoc/>
    public IEnumerator<Option> GetEnumerator() => _all.Select(s => s.Option).GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();
}
