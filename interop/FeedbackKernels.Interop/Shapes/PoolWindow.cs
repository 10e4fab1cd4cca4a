namespace FeedbackKernels.Interop;

/// <summary>The input pixels of one pooling window, without padding.</summary>
internal readonly record struct PoolWindow(int FirstRow, int EndRow, int FirstColumn, int EndColumn)
{
    public int Pixels => (EndRow - FirstRow) * (EndColumn - FirstColumn);

    public static PoolWindow Of(in PoolShape shape, int p, int q)
    {
        int row = p * shape.Stride - shape.Padding, column = q * shape.Stride - shape.Padding;
        return new PoolWindow(
            Math.Max(row, 0), Math.Min(row + shape.R, shape.H), Math.Max(column, 0), Math.Min(column + shape.S, shape.W));
    }
}
