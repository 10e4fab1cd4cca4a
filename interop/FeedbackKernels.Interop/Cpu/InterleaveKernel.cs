using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace FeedbackKernels.Interop;

/// <summary>
/// Transposes matrices of one to four rows into numbers side by side, and back: images of three channels, which fill no vector. Four
/// columns go through four registers at a time; with fewer than four rows each store also writes the beginning of the next column, which
/// the next store puts right.
/// </summary>
internal static unsafe class InterleaveKernel
{
    private const int Lanes = 4;

    /// <summary>destination[column][row] = source[row][column], if there are so few rows or columns, and these lie side by side in the
    /// destination or the source.</summary>
    /// <param name="source">[rows][columns], <paramref name="sourceStride"/> floats from a row to the next.</param>
    /// <param name="sourceStride">Floats.</param>
    /// <param name="rows">Rows of the source.</param>
    /// <param name="columns">Columns of the source.</param>
    /// <param name="destination">[columns][rows], <paramref name="destinationStride"/> floats from a row to the next.</param>
    /// <param name="destinationStride">Floats.</param>
    /// <returns>Whether the matrix is one of these; nothing is written where it is not.</returns>
    public static bool TryRun(float* source, nint sourceStride, long rows, long columns, float* destination, nint destinationStride)
    {
        // One row or column is only copied.
        if ((rows == 1 && destinationStride == 1) || (columns == 1 && sourceStride == 1))
            Buffer.MemoryCopy(source, destination, rows * columns * sizeof(float), rows * columns * sizeof(float));
        else if (rows <= Lanes && destinationStride == rows) Interleave(source, sourceStride, (int)rows, columns, destination);
        else if (columns <= Lanes && sourceStride == columns) Separate(source, rows, (int)columns, destination, destinationStride);
        else return false;
        return true;
    }

    private static void Interleave(float* source, nint stride, int rows, long columns, float* destination)
    {
        // Of rows that are not there the last one is read again.
        float* row0 = source, row1 = source + Math.Min(1, rows - 1) * stride, row2 = source + Math.Min(2, rows - 1) * stride;
        float* row3 = source + Math.Min(3, rows - 1) * stride;
        long column = 0;
        for (; Sse.IsSupported && (column + Lanes - 1) * rows + Lanes <= columns * rows; column += Lanes)
        {
            Vector128<float> a = Vector128.Load(row0 + column), b = Vector128.Load(row1 + column), c = Vector128.Load(row2 + column);
            Vector128<float> d = Vector128.Load(row3 + column);
            Transpose(ref a, ref b, ref c, ref d);
            float* to = destination + column * rows;
            a.Store(to);
            b.Store(to + rows);
            c.Store(to + 2 * rows);
            d.Store(to + 3 * rows);
        }

        for (; column < columns; column++)
        {
            for (int row = 0; row < rows; row++) destination[column * rows + row] = source[row * stride + column];
        }
    }

    private static void Separate(float* source, long rows, int columns, float* destination, nint stride)
    {
        long row = 0;
        for (; Sse.IsSupported && (row + Lanes - 1) * columns + Lanes <= rows * columns; row += Lanes)
        {
            float* from = source + row * columns;
            Vector128<float> a = Vector128.Load(from), b = Vector128.Load(from + columns), c = Vector128.Load(from + 2 * columns);
            Vector128<float> d = Vector128.Load(from + 3 * columns);
            Transpose(ref a, ref b, ref c, ref d);
            a.Store(destination + row);
            if (columns > 1) b.Store(destination + stride + row);
            if (columns > 2) c.Store(destination + 2 * stride + row);
            if (columns > 3) d.Store(destination + 3 * stride + row);
        }

        for (; row < rows; row++)
        {
            for (int column = 0; column < columns; column++) destination[column * stride + row] = source[row * columns + column];
        }
    }

    private static void Transpose(ref Vector128<float> a, ref Vector128<float> b, ref Vector128<float> c, ref Vector128<float> d)
    {
        Vector128<float> low01 = Sse.UnpackLow(a, b), high01 = Sse.UnpackHigh(a, b), low23 = Sse.UnpackLow(c, d), high23 = Sse.UnpackHigh(c, d);
        a = Sse.MoveLowToHigh(low01, low23);
        b = Sse.MoveHighToLow(low23, low01);
        c = Sse.MoveLowToHigh(high01, high23);
        d = Sse.MoveHighToLow(high23, high01);
    }
}
