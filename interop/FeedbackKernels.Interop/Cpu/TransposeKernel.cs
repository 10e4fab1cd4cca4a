namespace FeedbackKernels.Interop;

/// <summary>Transposes small matrices in square blocks of whole vectors.</summary>
internal static unsafe class TransposeKernel<TVector, TOps>
    where TVector : unmanaged
    where TOps : unmanaged, IVectorOps<TVector>
{
    /// <summary>destination[column][row] = source[row][column].</summary>
    /// <param name="source">[rows][columns], <paramref name="sourceStride"/> floats from a row to the next.</param>
    /// <param name="sourceStride">Floats.</param>
    /// <param name="rows">Rows of the source.</param>
    /// <param name="columns">Columns of the source.</param>
    /// <param name="destination">[columns][rows], <paramref name="destinationStride"/> floats from a row to the next.</param>
    /// <param name="destinationStride">Floats.</param>
    public static void Run(float* source, nint sourceStride, int rows, int columns, float* destination, nint destinationStride) =>
        InSquares(source, sourceStride, rows, columns, destination, destinationStride, TOps.Count, nonTemporal: false);

    /// <summary>As <see cref="Run"/>, past the caches, for results that the caches do not hold.</summary>
    /// <param name="source">[rows][columns].</param>
    /// <param name="sourceStride">Floats.</param>
    /// <param name="rows">Rows of the source.</param>
    /// <param name="columns">Columns of the source.</param>
    /// <param name="destination">At the start of a cache line.</param>
    /// <param name="destinationStride">Floats, a multiple of those of a line.</param>
    public static void RunNonTemporal(float* source, nint sourceStride, int rows, int columns, float* destination, nint destinationStride) =>
        InSquares(source, sourceStride, rows, columns, destination, destinationStride, Caches.LineFloats, nonTemporal: true);

    /// <param name="source">[rows][columns].</param>
    /// <param name="sourceStride">Floats.</param>
    /// <param name="rows">Rows of the source.</param>
    /// <param name="columns">Columns of the source.</param>
    /// <param name="destination">[columns][rows].</param>
    /// <param name="destinationStride">Floats.</param>
    /// <param name="together">Rows whose squares follow each other: whole lines of the destination, if these must be finished at once.</param>
    /// <param name="nonTemporal">Past the caches.</param>
    private static void InSquares(
        float* source, nint sourceStride, int rows, int columns, float* destination, nint destinationStride, int together, bool nonTemporal)
    {
        int lanes = TOps.Count, wholeRows = rows - rows % together, wholeColumns = columns - columns % lanes;
        // Along the rows, because the rows of a wide source can be a multiple of 4 KiB apart, in few sets of L1.
        for (int group = 0; group < wholeRows; group += together)
        {
            for (int column = 0; column < wholeColumns; column += lanes)
            {
                for (int row = group; row < group + together; row += lanes)
                {
                    TOps.Transpose(
                        source + row * sourceStride + column, sourceStride, destination + column * destinationStride + row, destinationStride, nonTemporal);
                }
            }
        }

        Rest(source, sourceStride, wholeRows, rows, 0, wholeColumns, destination, destinationStride);
        Rest(source, sourceStride, 0, rows, wholeColumns, columns, destination, destinationStride);
    }

    private static void Rest(
        float* source, nint sourceStride, int firstRow, int rows, int firstColumn, int columns, float* destination, nint destinationStride)
    {
        for (int row = firstRow; row < rows; row++)
        {
            for (int column = firstColumn; column < columns; column++)
                destination[column * destinationStride + row] = source[row * sourceStride + column];
        }
    }
}
