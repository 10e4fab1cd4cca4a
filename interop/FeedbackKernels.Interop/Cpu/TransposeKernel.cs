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
    public static void Run(float* source, nint sourceStride, int rows, int columns, float* destination, nint destinationStride)
    {
        int lanes = TOps.Count, wholeRows = rows - rows % lanes, wholeColumns = columns - columns % lanes;
        // Along the rows, because the rows of a wide source can be a multiple of 4 KiB apart, in few sets of L1.
        for (int row = 0; row < wholeRows; row += lanes)
        {
            for (int column = 0; column < wholeColumns; column += lanes)
                TOps.Transpose(source + row * sourceStride + column, sourceStride, destination + column * destinationStride + row, destinationStride);
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
