namespace FeedbackKernels.Interop;

/// <summary>
/// One residue class of a feedback convolution along one direction: the input positions Residue, Residue + Stride, ..., and the filter
/// taps that reach them. Tap r carries the error of output p to input h if p * Stride = h + padding - r, so every Stride-th tap reaches a
/// class. A kernel that computes class by class computes only the taps that exist. Tap number i of the class, FirstTap + i * Stride,
/// reaches position number j from output Reach + j - i. At stride 1 there is one class, which has all taps.
/// </summary>
/// <param name="Stride">Stride of the convolution.</param>
/// <param name="Residue">The first input position.</param>
/// <param name="Positions">Number of input positions.</param>
/// <param name="FirstTap">The first tap; undefined if the class has no taps.</param>
/// <param name="Taps">Number of taps, which may be 0.</param>
/// <param name="Reach">The output from which the first tap reaches the first position.</param>
internal readonly record struct ResidueClass(int Stride, int Residue, int Positions, int FirstTap, int Taps, int Reach)
{
    /// <summary>The last tap; 0 if the class has no taps. In descending order, the taps are those of a convolution of stride 1 over the
    /// errors.</summary>
    public int LastTap => Taps == 0 ? 0 : FirstTap + (Taps - 1) * Stride;

    /// <summary>The padding of that convolution, which may be negative.</summary>
    public int Origin => Taps - 1 - Reach;

    /// <summary>The class of the input rows <paramref name="residue"/>, <paramref name="residue"/> + stride, ...</summary>
    public static ResidueClass OfRows(in ConvShape shape, int residue) => Of(shape.H, shape.R, shape.Stride, shape.Padding, residue);

    /// <summary>The class of the input columns <paramref name="residue"/>, <paramref name="residue"/> + stride, ...</summary>
    public static ResidueClass OfColumns(in ConvShape shape, int residue) => Of(shape.W, shape.S, shape.Stride, shape.Padding, residue);

    /// <summary>Classes of the input rows.</summary>
    public static int RowClasses(in ConvShape shape) => Math.Min(shape.Stride, shape.H);

    /// <summary>Classes of the input columns.</summary>
    public static int ColumnClasses(in ConvShape shape) => Math.Min(shape.Stride, shape.W);

    /// <summary>Classes of the input pixels.</summary>
    public static long Classes(in ConvShape shape) => (long)RowClasses(shape) * ColumnClasses(shape);

    /// <summary>Input pixels of the first class, which has the most.</summary>
    public static long MostPixels(in ConvShape shape) =>
        shape.N * Rounding.DivideUp(shape.H, shape.Stride) * Rounding.DivideUp(shape.W, shape.Stride);

    private static ResidueClass Of(int inputs, int taps, int stride, int padding, int residue)
    {
        int first = (residue + padding) % stride;
        return new ResidueClass(
            stride, residue, Rounding.DivideUp32(inputs - residue, stride), first, first < taps ? Rounding.DivideUp32(taps - first, stride) : 0,
            (residue + padding) / stride);
    }
}
