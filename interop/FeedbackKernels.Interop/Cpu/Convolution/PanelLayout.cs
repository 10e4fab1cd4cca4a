namespace FeedbackKernels.Interop;

/// <summary>
/// How the columns of a right operand are cut into panels, as wide as the widest tiles; where three vectors across leave one
/// over, two panels are two wide instead. A panel holds its rows one after another, so a tile streams it; columns beyond the
/// last are zeros.
/// </summary>
internal readonly struct PanelLayout
{
    private readonly int _lanes, _wide;

    /// <param name="columns">Columns of the operand.</param>
    /// <param name="lanes">Floats in a vector.</param>
    /// <param name="widest">Vectors across the widest tile, 2 or 3.</param>
    public PanelLayout(int columns, int lanes, int widest)
    {
        Columns = columns;
        _lanes = lanes;
        int vectors = Rounding.DivideUp32(columns, lanes);
        // What is left is 0, 2 or 4 vectors, or all there is.
        _wide = widest < 3 ? 0 : vectors % 3 == 1 ? Math.Max(0, (vectors - 4) / 3) : vectors / 3;
        Count = _wide + (vectors - 3 * _wide + 1) / 2;
    }

    /// <summary>Columns of the operand.</summary>
    public int Columns { get; }

    /// <summary>Number of panels.</summary>
    public int Count { get; }

    /// <summary>Width of the first panels, the widest.</summary>
    public int FullWidth => (_wide > 0 ? 3 : 2) * _lanes;

    /// <summary>Panels from the first on that are of full width, all of their columns the operand's.</summary>
    public int WholePanels => _wide > 0 ? Math.Min(_wide, Columns / FullWidth) : Columns / FullWidth;

    /// <summary>Sum of the panels' widths.</summary>
    public int PaddedColumns => FirstColumn(Count - 1) + Width(Count - 1);

    /// <summary>Columns of a panel, padding included.</summary>
    public int Width(int panel) =>
        panel < _wide ? 3 * _lanes : Columns - FirstColumn(panel) > _lanes ? 2 * _lanes : _lanes;

    /// <summary>Columns of a panel that belong to the operand.</summary>
    public int ValidColumns(int panel) => Math.Min(Width(panel), Columns - FirstColumn(panel));

    /// <summary>The operand's column where a panel starts.</summary>
    public int FirstColumn(int panel) => (Math.Min(panel, _wide) * 3 + Math.Max(0, panel - _wide) * 2) * _lanes;
}
