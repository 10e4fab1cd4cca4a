using FeedbackKernels.Interop;

namespace FeedbackKernels.Tests.Interop;

/// <summary>The residue classes of a feedback convolution, against their definition: p * stride = h + padding - r.</summary>
public class ResidueClassTests
{
    [Theory]
    [InlineData(7, 3, 1, 1)]
    [InlineData(8, 3, 2, 1)]
    [InlineData(7, 7, 2, 3)]
    [InlineData(5, 1, 2, 0)]
    [InlineData(5, 1, 3, 1)]
    [InlineData(9, 2, 4, 0)]
    [InlineData(2, 1, 5, 0)]
    [InlineData(6, 5, 3, 4)]
    public void Classes_have_each_input_once_and_each_tap_that_reaches_it(int inputs, int taps, int stride, int padding)
    {
        var shape = new ConvShape(1, inputs, inputs, 1, 1, taps, taps, stride, padding);
        var expected = new List<(int H, int R, int P)>();
        for (int h = 0; h < inputs; h++)
        {
            for (int r = 0; r < taps; r++)
            {
                int reached = h + padding - r;
                if (reached % stride == 0) expected.Add((h, r, reached / stride));
            }
        }

        Assert.Equal((long)ResidueClass.RowClasses(shape) * ResidueClass.ColumnClasses(shape), ResidueClass.Classes(shape));
        var found = new List<(int H, int R, int P)>();
        int positions = 0;
        for (int residue = 0; residue < ResidueClass.RowClasses(shape); residue++)
        {
            ResidueClass rows = ResidueClass.OfRows(shape, residue);
            Assert.Equal(rows, ResidueClass.OfColumns(shape, residue));
            Assert.InRange(rows.Positions, 1, Math.Sqrt(ResidueClass.MostPixels(shape)));
            positions += rows.Positions;
            for (int j = 0; j < rows.Positions; j++)
            {
                for (int i = 0; i < rows.Taps; i++)
                {
                    (int h, int r) = (rows.Residue + j * stride, rows.FirstTap + i * stride);
                    found.Add((h, r, rows.Reach + j - i));
                    // The same as a convolution of stride 1 whose taps are in descending order.
                    Assert.Equal(rows.LastTap - (rows.Taps - 1 - i) * stride, r);
                    Assert.Equal(rows.Reach + j - i, j + (rows.Taps - 1 - i) - rows.Origin);
                }
            }
        }

        Assert.Equal(inputs, positions);
        Assert.Equal(expected.Order(), found.Order());
    }

    [Theory]
    [InlineData(0, 3, 0)]
    [InlineData(6, 3, 2)]
    [InlineData(7, 3, 3)]
    [InlineData(int.MaxValue, 2, 1 << 30)]
    [InlineData(int.MaxValue, int.MaxValue, 1)]
    public void Round_ups_do_not_overflow(int a, int b, int expected)
    {
        Assert.Equal(expected, Rounding.DivideUp32(a, b));
        Assert.Equal(expected, Rounding.DivideUp(a, b));
    }
}
