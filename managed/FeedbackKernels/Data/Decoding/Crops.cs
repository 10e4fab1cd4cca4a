using FeedbackKernels.Interop;

namespace FeedbackKernels.Data;

/// <summary>
/// A random part of an image, resized to a square: torchvision's RandomResizedCrop. The area is a uniform share of the image's, the ratio of columns to rows is
/// log-uniform. If ten draws do not fit into the image, it is the largest part in the middle whose ratio is allowed.
/// </summary>
/// <remarks>The numbers are drawn in this order: for each try the area and the ratio; once these fit, the first row and the first column.</remarks>
internal sealed class RandomResizedCrop
{
    private const int Tries = 10;

    private readonly double _scaleMin, _scaleMax, _ratioMin, _ratioMax;
    private readonly int _size;

    /// <param name="scaleMin">Least share of the image's area.</param>
    /// <param name="scaleMax">Largest share of the image's area.</param>
    /// <param name="ratioMin">Least ratio of columns to rows.</param>
    /// <param name="ratioMax">Largest ratio of columns to rows.</param>
    /// <param name="size">Rows and columns of the result.</param>
    public RandomResizedCrop(double scaleMin, double scaleMax, double ratioMin, double ratioMax, int size)
    {
        if (!(scaleMin > 0 && scaleMin <= scaleMax && scaleMax <= 1)) throw new ArgumentException($"a share of the area from {scaleMin} to {scaleMax}; wanted 0 < least <= largest <= 1");
        if (!(ratioMin > 0 && ratioMin <= ratioMax && double.IsFinite(ratioMax))) throw new ArgumentException($"a ratio of columns to rows from {ratioMin} to {ratioMax}; wanted 0 < least <= largest");
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(size);
        (_scaleMin, _scaleMax, _ratioMin, _ratioMax, _size) = (scaleMin, scaleMax, ratioMin, ratioMax, size);
    }

    /// <summary>Draws a part of an image, not flipped.</summary>
    /// <param name="rows">Rows of the upright image.</param>
    /// <param name="columns">Columns of the upright image.</param>
    /// <param name="random">Where the numbers come from.</param>
    public CropResize Draw(int rows, int columns, ref RandomSequence random)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(rows);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(columns);
        double logMin = Math.Log(_ratioMin), logMax = Math.Log(_ratioMax);
        for (int i = 0; i < Tries; i++)
        {
            double area = (double)rows * columns * Uniform(_scaleMin, _scaleMax, ref random), ratio = Math.Exp(Uniform(logMin, logMax, ref random));
            double boxColumns = Math.Round(Math.Sqrt(area * ratio)), boxRows = Math.Round(Math.Sqrt(area / ratio));
            if (!(boxColumns >= 1 && boxColumns <= columns && boxRows >= 1 && boxRows <= rows)) continue;
            int row = random.NextInt(rows - (int)boxRows + 1), column = random.NextInt(columns - (int)boxColumns + 1);
            return Whole(new PixelBox(row, column, (int)boxRows, (int)boxColumns));
        }

        return Whole(Middle(rows, columns));
    }

    private static double Uniform(double low, double high, ref RandomSequence random) => low + (high - low) * random.NextUnit();

    private PixelBox Middle(int rows, int columns)
    {
        double ratio = (double)columns / rows;
        (int boxRows, int boxColumns) =
            ratio < _ratioMin ? ((int)Math.Clamp(Math.Round(columns / _ratioMin), 1, rows), columns)
            : ratio > _ratioMax ? (rows, (int)Math.Clamp(Math.Round(rows * _ratioMax), 1, columns))
            : (rows, columns);
        return new PixelBox((rows - boxRows) / 2, (columns - boxColumns) / 2, boxRows, boxColumns);
    }

    private CropResize Whole(PixelBox box) => new(box, _size, _size, new PixelBox(0, 0, _size, _size), Flip: false);
}

/// <summary>The middle of an image: its shorter side is resized, and a square is taken out of the centre, with the rounding of torchvision's Resize and
/// CenterCrop.</summary>
internal sealed class CentreCrop
{
    private readonly int _resize, _size;

    /// <param name="resize">What the shorter side is resized to.</param>
    /// <param name="size">Rows and columns of the result, at most <paramref name="resize"/>.</param>
    public CentreCrop(int resize, int size)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(size);
        if (size > resize) throw new ArgumentException($"a crop of {size} x {size} pixels does not fit into an image whose shorter side is resized to {resize}; wanted at most {resize}", nameof(size));
        (_resize, _size) = (resize, size);
    }

    /// <summary>The crop of an image.</summary>
    /// <param name="rows">Rows of the upright image.</param>
    /// <param name="columns">Columns of the upright image.</param>
    /// <exception cref="InvalidDataException">The longer side would get more than 2^31 - 1 pixels.</exception>
    public CropResize Of(int rows, int columns)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(rows);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(columns);
        long longer = (long)_resize * Math.Max(rows, columns) / Math.Min(rows, columns);
        if (longer > int.MaxValue) throw new InvalidDataException($"an image of {rows} x {columns} pixels would get {longer} pixels in its longer side; wanted at most {int.MaxValue}");
        (int resizedRows, int resizedColumns) = columns <= rows ? ((int)longer, _resize) : (_resize, (int)longer);
        var window = new PixelBox(Middle(resizedRows), Middle(resizedColumns), _size, _size);
        return new CropResize(new PixelBox(0, 0, rows, columns), resizedRows, resizedColumns, window, Flip: false);
    }

    // Half a pixel is rounded to the even number, as in Python.
    private int Middle(int length) => (int)Math.Round((length - _size) / 2.0);
}
