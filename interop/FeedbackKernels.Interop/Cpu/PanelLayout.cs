namespace FeedbackKernels.Interop;

/// <summary>
/// How the columns of a right operand are cut into panels: two vectors wide, the last one narrower where one vector is
/// enough. A panel holds its rows one after another, so a tile streams it; columns beyond the last are zeros.
/// </summary>
internal readonly struct PanelLayout(int columns, int lanes)
{
    private readonly int _lanes = lanes;

    /// <summary>Columns of the operand.</summary>
    public int Columns { get; } = columns;

    /// <summary>Width of every panel but perhaps the last.</summary>
    public int FullWidth => 2 * _lanes;

    /// <summary>Number of panels.</summary>
    public int Count => (Columns + FullWidth - 1) / FullWidth;

    /// <summary>Sum of the panels' widths.</summary>
    public int PaddedColumns => FirstColumn(Count - 1) + Width(Count - 1);

    /// <summary>Columns of a panel, padding included.</summary>
    public int Width(int panel) => Columns - FirstColumn(panel) > _lanes ? FullWidth : _lanes;

    /// <summary>Columns of a panel that belong to the operand.</summary>
    public int ValidColumns(int panel) => Math.Min(Width(panel), Columns - FirstColumn(panel));

    /// <summary>The operand's column where a panel starts.</summary>
    public int FirstColumn(int panel) => panel * FullWidth;
}
