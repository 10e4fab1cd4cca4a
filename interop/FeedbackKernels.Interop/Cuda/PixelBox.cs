using static FeedbackKernels.Interop.Rounding;

namespace FeedbackKernels.Interop;

/// <summary>A box of pixels of some images: what a block of native/conv_gather_sm90.cu computes, or one stage of a weight
/// gradient reduces over, and what the TMA copies at a time.</summary>
internal readonly record struct PixelBox(int Images, int Rows, int Columns)
{
    public int Pixels => Images * Rows * Columns;

    /// <summary>How many boxes it takes to cover so many pixels.</summary>
    public long Covering(int images, int rows, int columns) =>
        DivideUp(images, Images) * DivideUp(rows, Rows) * DivideUp(columns, Columns);

    /// <summary>
    /// The box that covers a tensor at the least cost, where a box costs its pixels rounded up to <paramref name="unit"/>, and
    /// one unit more, for what there is to wait for before each; of equals the one with the longest rows, which lie side by side
    /// in memory.
    /// </summary>
    /// <param name="images">Images of the tensor.</param>
    /// <param name="rows">Rows of an image.</param>
    /// <param name="columns">Columns of an image.</param>
    /// <param name="most">Pixels of the largest box.</param>
    /// <param name="unit">What a box's cost is a multiple of.</param>
    /// <param name="whole">Whether a box has to have a multiple of the unit, be it beyond the tensor.</param>
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
