using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Parsing;

namespace FeedbackKernels.Cli;

/// <summary>Finds errors of a command line.</summary>
internal static class Complaint
{
    /// <summary>The first error, in one line; null if there is none. A request for help is answered in spite of errors, except for an
    /// unknown command.</summary>
    public static string? Of(ParseResult parsed)
    {
        string? command = UnknownCommand(parsed);
        if (command is not null || parsed.Action is HelpAction) return command;
        return UnknownOption(parsed) ?? RepeatedOption(parsed) ?? SurplusArgument(parsed) ?? (parsed.Errors is [var first, ..] ? first.Message : null);
    }

    private static string? UnknownCommand(ParseResult parsed)
    {
        Command root = parsed.RootCommandResult.Command;
        if (parsed.CommandResult.Command != root) return null;
        string commands = string.Join(", ", root.Subcommands.Select(c => c.Name));
        if (parsed.UnmatchedTokens.Count == 0) return parsed.Errors.Count > 0 && parsed.Action is not HelpAction ? $"no command given; commands: {commands}" : null;
        string word = parsed.UnmatchedTokens[0];
        return IsOption(word) ? null : $"unknown command '{word}'{Meant(word, root.Subcommands.Select(c => c.Name))} commands: {commands}";
    }

    // The parser takes an unknown option for an argument of the option before it.
    private static string? UnknownOption(ParseResult parsed)
    {
        IEnumerable<string> arguments = parsed.Tokens.TakeWhile(t => t.Type != TokenType.DoubleDash).Where(t => t.Type == TokenType.Argument).Select(t => t.Value);
        string? word = arguments.Concat(parsed.UnmatchedTokens).FirstOrDefault(IsOption)?.Split('=')[0];
        if (word is null) return null;
        Command command = parsed.CommandResult.Command;
        IEnumerable<string> names = command.Options.Concat(parsed.RootCommandResult.Command.Options.Where(o => o.Recursive)).Select(o => o.Name);
        string help = command is RootCommand ? "feedback --help" : $"feedback {command.Name} --help";
        return $"unknown option '{word}'{Meant(word, names)} `{help}` lists the options";
    }

    private static string? RepeatedOption(ParseResult parsed) =>
        parsed.CommandResult.Children.OfType<OptionResult>().FirstOrDefault(o => o is { IdentifierTokenCount: > 1, Option: not ISetting { MayRepeat: true } }) is { } twice
            ? $"{twice.Option.Name} is given {twice.IdentifierTokenCount} times; give it once"
            : null;

    private static string? SurplusArgument(ParseResult parsed) => parsed.UnmatchedTokens.Count > 0
        ? $"unexpected argument '{parsed.UnmatchedTokens[0]}'; `feedback {parsed.CommandResult.Command.Name} --help` says what the command takes"
        : null;

    // A negative number is not an option.
    private static bool IsOption(string word) => word.Length > 1 && word[0] == '-' && !char.IsAsciiDigit(word[1]) && word[1] != '.' && word != "-Infinity";

    private static string Meant(string word, IEnumerable<string> names) => Spelling.Nearest(word, names) is { } near ? $"; did you mean '{near}'?" : ";";
}
