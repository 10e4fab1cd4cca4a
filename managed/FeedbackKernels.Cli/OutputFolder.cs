using System.CommandLine;
using System.Globalization;
using FeedbackKernels.Runs;

namespace FeedbackKernels.Cli;

/// <summary>The options for the folder of a run.</summary>
internal sealed class OutputFolder
{
    private readonly Setting<string?> _out = new("--out", Use.Always)
    {
        Description = "Folder for the results; it must be new or empty. [default: runs/DATE-TIME-NAME]",
        HelpName = "folder",
    };

    private readonly Setting<bool> _overwrite;

    /// <summary>The folder that was given; null for the usual one.</summary>
    public string? Given(ParseResult parsed) => parsed.GetValue(_out);

    /// <summary>The option for the folder.</summary>
    public Option Out => _out;

    public OutputFolder() => _overwrite = Names.Switch("--overwrite", Use.With(_out), false, "Delete the files of earlier runs in the --out folder first. Other files in it are kept.");

    /// <summary>All options.</summary>
    public IEnumerable<Option> All => [_out, _overwrite];

    /// <summary>The folder. It is created later, after all other checks.</summary>
    /// <exception cref="IOException">It cannot be used.</exception>
    public RunPlace Choose(ParseResult parsed, string name)
    {
        string usual = $"{DateTime.Now.ToString("yyyyMMdd-HHmmss", CultureInfo.InvariantCulture)}-{name}";
        RunPlace place = parsed.GetValue(_out) is { } given
            ? new RunPlace(given, Overwrite: parsed.GetValue(_overwrite))
            : new RunPlace(Path.Combine("runs", usual), Numbered: true);
        place.Check();
        return place;
    }
}
