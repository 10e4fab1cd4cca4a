using System.Text;
using Spectre.Console;

namespace FeedbackKernels.Cli;

/// <summary>A column.</summary>
/// <param name="Header">Its header.</param>
/// <param name="Short">Its header in a narrow table, possibly of several lines.</param>
/// <param name="Left">Whether its cells are aligned to the left.</param>
internal readonly record struct TextColumn(string Header, string? Short = null, bool Left = false)
{
    /// <summary>The lines of the short header.</summary>
    public string[] ShortLines => (Short ?? Header).Split('\n');
}

/// <summary>A table that never breaks or cuts a cell: with borders if there is room, otherwise without, otherwise a line for each
/// cell.</summary>
internal sealed class TextTable(params TextColumn[] columns)
{
    private readonly List<string[]> _rows = [];

    /// <summary>Adds a row, one cell for each column.</summary>
    public void Add(params string[] cells) => _rows.Add(cells);

    /// <summary>Writes the widest form that fits the console.</summary>
    public void Write(IAnsiConsole terminal)
    {
        int width = terminal.Profile.Width;
        int[] full = Widths(c => c.Header.Length), narrow = Widths(c => c.ShortLines.Max(l => l.Length));
        if (full.Sum() + 3 * columns.Length + 1 <= width) terminal.Write(WithBorders(terminal));
        // No blanks at the end of a line: some terminals wrap after the last column.
        else terminal.Profile.Out.Writer.Write(narrow.Sum() + columns.Length - 1 <= width ? WithoutBorders(narrow) : AsList());
    }

    private int[] Widths(Func<TextColumn, int> header) =>
        [.. columns.Select((column, i) => _rows.Select(row => row[i].Length).Append(header(column)).Max())];

    private Table WithBorders(IAnsiConsole terminal)
    {
        Table table = new Table().Border(terminal.Profile.Capabilities.Interactive ? TableBorder.Rounded : TableBorder.Ascii);
        foreach (TextColumn column in columns)
        {
            var shown = new TableColumn(Markup.Escape(column.Header)) { NoWrap = true };
            table.AddColumn(column.Left ? shown : shown.RightAligned());
        }

        foreach (string[] row in _rows) table.AddRow([.. row.Select(Markup.Escape)]);
        return table;
    }

    private string WithoutBorders(int[] widths)
    {
        int lines = columns.Max(c => c.ShortLines.Length);
        var text = new StringBuilder();
        for (int line = 0; line < lines; line++)
            AppendLine(text, widths, [.. columns.Select(c => c.ShortLines.ElementAtOrDefault(line - lines + c.ShortLines.Length) ?? "")]);
        foreach (string[] row in _rows) AppendLine(text, widths, row);
        return text.ToString();
    }

    private void AppendLine(StringBuilder text, int[] widths, string[] cells)
    {
        IEnumerable<string> padded = cells.Select((cell, i) => columns[i].Left ? cell.PadRight(widths[i]) : cell.PadLeft(widths[i]));
        text.Append(string.Join(' ', padded).TrimEnd()).Append('\n');
    }

    private string AsList()
    {
        var text = new StringBuilder();
        foreach (string[] row in _rows)
        {
            for (int i = 0; i < columns.Length; i++) text.Append($"{(i == 0 ? "" : "  ")}{columns[i].Header}: {row[i]}\n");
        }

        return text.ToString();
    }
}
