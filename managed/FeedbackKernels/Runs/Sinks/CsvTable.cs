namespace FeedbackKernels.Runs;

/// <summary>A CSV file that can be read while it grows.</summary>
internal sealed class CsvTable : IDisposable
{
    private readonly StreamWriter _file;

    /// <summary>Creates the file with its header.</summary>
    public CsvTable(string path, string header)
    {
        _file = new StreamWriter(path) { NewLine = "\n" };
        _file.WriteLine(header);
        _file.Flush();
    }

    /// <summary>Adds lines in the invariant culture.</summary>
    public void Add(params IReadOnlyList<FormattableString> lines)
    {
        foreach (FormattableString line in lines) _file.WriteLine(FormattableString.Invariant(line));
        _file.Flush();
    }

    /// <inheritdoc/>
    public void Dispose() => _file.Dispose();
}
