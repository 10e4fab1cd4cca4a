namespace FeedbackKernels.Interop;

/// <summary>
/// One residue class of a feedback convolution along one direction: the input positions Residue, Residue + stride, ..., and the filter
/// taps that reach them. Tap r carries the error of output p to input h where p * stride = h + padding - r, so a class is reached by
/// every stride-th tap, and no product with a hole between outputs is formed: tap number i of the class, FirstTap + i * stride,
/// reaches position number j from output Reach + j - i. At stride 1 there is one class, which has all taps.
/// </summary>
/// <param name="Stride">Of the convolution.</param>
/// <param name="Residue">The first input position.</param>
/// <param name="Positions">Input positions of the class.</param>
/// <param name="FirstTap">The first tap; meaningless where there is none.</param>
/// <param name="Taps">Taps of the class, which may be none.</param>
/// <param name="Reach">The output from which the first tap reaches the first position.</param>
internal readonly record struct ResidueClass(int Stride, int Residue, int Positions, int FirstTap, int Taps, int Reach)
{
    /// <summary>The last tap; 0 where there is none. From it on down, the taps are those of a convolution of stride 1 over the errors.</summary>
    public int LastTap => Taps == 0 ? 0 : FirstTap + (Taps - 1) * Stride;

    /// <summary>How far before the first output the last tap reaches the first position: the padding of that convolution, which may be negative.</summary>
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
