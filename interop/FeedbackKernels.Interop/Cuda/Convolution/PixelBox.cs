using static FeedbackKernels.Interop.Rounding;

namespace FeedbackKernels.Interop;

/// <summary>
/// A box of pixels: some columns of some rows of some images, which the TMA copies at once. In a convolution on Hopper the output pixels
/// of a block's tile are a box; in a weight gradient, the output pixels that one stage reduces over.
/// </summary>
internal readonly record struct PixelBox(int Images, int Rows, int Columns)
{
    public int Pixels => Images * Rows * Columns;

    /// <summary>Boxes that cover a tensor of pixels.</summary>
    public long Covering(int images, int rows, int columns) =>
        DivideUp(images, Images) * DivideUp(rows, Rows) * DivideUp(columns, Columns);

    /// <inheritdoc/>
    public override string ToString() => $"{Images}x{Rows}x{Columns}";

    /// <summary>
    /// The box that covers a tensor at the lowest cost. The cost of a box is its pixels, rounded up to units, plus one unit for the wait
    /// before it. Of boxes of equal cost, the one with the longest rows is chosen, because rows are contiguous in memory.
    /// </summary>
    /// <param name="images">Images of the tensor.</param>
    /// <param name="rows">Rows of an image.</param>
    /// <param name="columns">Columns of an image.</param>
    /// <param name="most">The most pixels that a box may have.</param>
    /// <param name="unit">Pixels of a unit.</param>
    /// <param name="whole">Whether the pixels of the box have to be a multiple of the unit, even if some lie outside the tensor.</param>
    public static PixelBox Fit(int images, int rows, int columns, int most, int unit, bool whole)
    {
        PixelBox best = default;
        long lowest = long.MaxValue;
        for (int width = Math.Min(columns, most); width >= 1; width--)
        {
            for (int height = Math.Min(rows, most / width); height >= 1; height--)
            {
                for (int depth = 1; depth * height * width <= most; depth++)
                {
                    var box = new PixelBox(depth, height, width);
                    if (whole && box.Pixels % unit != 0) continue;
                    long cost = box.Covering(images, rows, columns) * (DivideUp(box.Pixels, unit) + 1);
                    if (cost >= lowest) continue;
                    lowest = cost;
                    best = box;
                }
            }
        }

        return best;
    }
}
