using FeedbackKernels.Storage;

namespace FeedbackKernels.Runs;

/// <summary>A CSV file that can be read while it grows.</summary>
internal sealed class CsvTable(string path, string header) : IDisposable
{
    private StreamWriter? _file;

    /// <summary>Writes the file with its header and the lines so far. A former file is replaced at once, so it never lacks lines.</summary>
    public void Start(params IEnumerable<FormattableString> lines)
    {
        AtomicFile.WriteAllText(path, string.Concat(lines.Select(FormattableString.Invariant).Prepend(header).Select(line => line + "\n")));
        _file = new StreamWriter(path, append: true) { NewLine = "\n" };
    }

    /// <summary>Adds lines in the invariant culture.</summary>
    public void Add(params IEnumerable<FormattableString> lines)
    {
        StreamWriter file = _file ?? throw new InvalidOperationException($"{path} has not been started");
        foreach (FormattableString line in lines) file.WriteLine(FormattableString.Invariant(line));
        file.Flush();
    }

    /// <inheritdoc/>
    public void Dispose() => _file?.Dispose();
}
