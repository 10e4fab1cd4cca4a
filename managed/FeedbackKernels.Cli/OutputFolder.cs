using System.CommandLine;
using System.Globalization;

namespace FeedbackKernels.Cli;

/// <summary>Where a run's files go.</summary>
internal sealed class OutputFolder
{
    private readonly Setting<string?> _out = new("--out", Use.Always)
    {
        Description = "Folder for the results. [default: runs/DATE-TIME-NAME]",
        HelpName = "folder",
    };

    private readonly Setting<bool> _overwrite;

    public OutputFolder() => _overwrite = Names.Switch("--overwrite", Use.With(_out), false, "Allow --out to be a folder that is not empty.");

    /// <summary>All options.</summary>
    public IEnumerable<Option> All => [_out, _overwrite];

    /// <summary>The folder; it is made by who writes to it.</summary>
    /// <exception cref="IOException">It is not empty, and that was not allowed.</exception>
    public string Choose(ParseResult parsed, string name)
    {
        string path = parsed.GetValue(_out)
            ?? Path.Combine("runs", $"{DateTime.Now.ToString("yyyyMMdd-HHmmss", CultureInfo.InvariantCulture)}-{name}");
        if (File.Exists(path)) throw new IOException($"--out '{path}' is a file, wanted a folder");
        if (Directory.Exists(path) && Directory.EnumerateFileSystemEntries(path).Any() && !parsed.GetValue(_overwrite))
            throw new IOException($"--out '{path}' is not empty; give another folder, or --overwrite");
        return path;
    }
}
