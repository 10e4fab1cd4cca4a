using System.CommandLine;
using System.CommandLine.Parsing;
using FeedbackKernels.Data;
using FeedbackKernels.Rules;
using FeedbackKernels.Runs;

namespace FeedbackKernels.Cli;

/// <summary>Reads the options of <c>train</c> from a list of words, for commands that put together what <c>train</c> would be given. So they
/// know no option and no rule by name.</summary>
internal sealed class TrainLine
{
    /// <summary>The option of the rule.</summary>
    public const string Rule = "--rule";

    private readonly RunOptions _options = new(new RunConfig());
    private readonly RuleOptions _rules = new();
    private readonly Setting<FeedbackRule> _rule = RuleOptions.ForAllLayers();
    private readonly RootCommand _root;
    private readonly Command _train = new("train");

    public TrainLine()
    {
        _train.Options.Add(_rule);
        foreach (Option option in _options.All.Concat(_rules.All)) _train.Options.Add(option);
        _root = new RootCommand { _train };
    }

    /// <summary>All options.</summary>
    public IList<Option> Options => _train.Options;

    /// <summary>Reads a line.</summary>
    /// <param name="words">Its words, without the command.</param>
    /// <exception cref="UsageException">There is an error in it.</exception>
    public ParseResult Parse(IEnumerable<string> words)
    {
        ParseResult parsed = _root.Parse([_train.Name, .. words]);
        return Complaint.Of(parsed) is { } complaint ? throw new UsageException(complaint) : parsed;
    }

    /// <summary>The run that a line describes, before its data are opened.</summary>
    public RunConfig Read(ParseResult parsed)
    {
        RunConfig config = _options.Read(parsed);
        return _rules.Apply(parsed, Settings.Given(parsed, _rule, config.Rule), config);
    }

    /// <inheritdoc cref="RunOptions.Complete"/>
    public RunConfig Complete(ParseResult parsed, RunConfig config, DataSet data) => _options.Complete(parsed, config, data);

    /// <summary>Whether an option has an effect on the run that a line describes.</summary>
    /// <param name="name">The option.</param>
    /// <param name="parsed">The line.</param>
    /// <param name="run">Its run.</param>
    public bool HasEffect(string name, ParseResult parsed, RunConfig run) => UseOf(name).Holds(parsed, run);

    /// <summary>When an option has an effect.</summary>
    public Use UseOf(string name) => ((ISetting)Options.First(option => option.Name == name)).Use;

    /// <summary>The names of the options among some words.</summary>
    public static IEnumerable<string> NamesIn(IEnumerable<string> words) =>
        words.Where(word => word.StartsWith("--", StringComparison.Ordinal)).Select(word => word.Split('=')[0]);

    /// <summary>Options that were given to a command, as words: those that a line of <c>train</c> can have.</summary>
    /// <param name="parsed">The command line.</param>
    public IReadOnlyList<string> GivenTo(ParseResult parsed) =>
    [
        .. parsed.CommandResult.Children.OfType<OptionResult>()
            .Where(given => !given.Implicit && Options.Any(option => option.Name == given.Option.Name))
            .SelectMany(given => given.Tokens.Select(token => token.Value).Prepend(given.Option.Name)),
    ];

    /// <summary>Words as a shell takes them.</summary>
    public static string Text(IEnumerable<string> words) => string.Join(' ', words.Select(Quote));

    private static string Quote(string word) =>
        word.Length > 0 && word.All(c => char.IsAsciiLetterOrDigit(c) || "-_./:,=+@%".Contains(c, StringComparison.Ordinal)) ? word : $"'{word.Replace("'", "'\\''", StringComparison.Ordinal)}'";
}
