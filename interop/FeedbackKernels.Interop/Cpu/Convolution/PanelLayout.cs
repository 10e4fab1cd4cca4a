namespace FeedbackKernels.Interop;

/// <summary>
/// The division of the columns of a right operand into panels, as wide as the widest tiles. Where panels of three vectors would leave one
/// vector over, two panels of two vectors replace the last. The rows of a panel follow one another, so that a tile streams it. Columns
/// after the last one are zeros.
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
        // 0, 2 or 4 vectors remain, or all of them.
        _wide = widest < 3 ? 0 : vectors % 3 == 1 ? Math.Max(0, (vectors - 4) / 3) : vectors / 3;
        Count = _wide + (vectors - 3 * _wide + 1) / 2;
    }

    /// <summary>Columns of the operand.</summary>
    public int Columns { get; }

    /// <summary>Number of panels.</summary>
    public int Count { get; }

    /// <summary>Width of the first and widest panels.</summary>
    public int FullWidth => (_wide > 0 ? 3 : 2) * _lanes;

    /// <summary>Number of panels, from the first on, of full width without padding.</summary>
    public int WholePanels => _wide > 0 ? Math.Min(_wide, Columns / FullWidth) : Columns / FullWidth;

    /// <summary>Sum of the panels' widths.</summary>
    public int PaddedColumns => FirstColumn(Count - 1) + Width(Count - 1);

    /// <summary>Columns of a panel, with padding.</summary>
    public int Width(int panel) =>
        panel < _wide ? 3 * _lanes : Columns - FirstColumn(panel) > _lanes ? 2 * _lanes : _lanes;

    /// <summary>Columns of a panel, without padding.</summary>
    public int ValidColumns(int panel) => Math.Min(Width(panel), Columns - FirstColumn(panel));

    /// <summary>First column of a panel.</summary>
    public int FirstColumn(int panel) => (Math.Min(panel, _wide) * 3 + Math.Max(0, panel - _wide) * 2) * _lanes;
}
