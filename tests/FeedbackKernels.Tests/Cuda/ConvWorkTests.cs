using FeedbackKernels.Interop;
using FeedbackKernels.Tests.Conformance;

namespace FeedbackKernels.Tests.Cuda;

/// <summary>Convolution kernels do no work that changes nothing, and fill the card without a second, nearly empty wave of blocks.</summary>
public sealed class ConvWorkTests
{
    [Theory]
    [InlineData("portable", CudaPrecision.Fp32, 3, 5)]
    [InlineData("portable", CudaPrecision.Bf16, 3, 5)]
    [InlineData("pipelined", CudaPrecision.Bf16, 8, 16)]
    [InlineData("hopper", CudaPrecision.Bf16, 64, 64)]
    public void Pixels_that_no_tap_reaches_keep_their_bits(string kernel, CudaPrecision precision, int c, int k)
    {
        using EmulatedDriver.Setting? machine = kernel == "hopper" ? CudaUnderTest.Hopper() : null;
        using var bench = new Workbench(CudaUnderTest.CreateBackend(precision: precision));
        Backend backend = bench.Backend;
        var shape = new ConvShape(2, 5, 6, c, k, 1, 1, 2, 0);
        CudaConvKernel served = CudaConvKernels.List.First(
            entry => entry.Refusal((CudaBackend)backend, ConvRequest.Of(shape, ConvPass.Feedback, backend.ActivationType)) is null);
        Assert.Equal(kernel, served.Name);
        DeviceBuffer dy = bench.PutActivations(Values.Integers(shape.OutputLength, 1, 2)), b = bench.PutActivations(Values.Integers(shape.WeightLength, 2, 2));
        // -0 + 0 is 0: a sum would be seen.
        DeviceBuffer dx = bench.PutActivations([.. Enumerable.Repeat(-0f, (int)shape.InputLength)]);
        backend.ConvFeedback(shape, dy, b, FeedbackLayout.Feedback, dx, accumulate: true);
        float[] result = bench.Get(dx);
        for (int i = 0; i < result.Length; i++)
        {
            int column = i / c % shape.W, row = i / c / shape.W % shape.H;
            if (row % 2 == 1 || column % 2 == 1) Assert.True(result[i] == 0 && float.IsNegative(result[i]), $"row {row}, column {column} is {result[i]}");
        }

        Assert.Contains(result, value => value != 0);
    }

    [Fact]
    public void A_feedback_convolution_that_reaches_no_pixel_leaves_dx_as_it_is()
    {
        using EmulatedDriver.Setting? machine = CudaUnderTest.Hopper();
        using var bench = new Workbench(CudaUnderTest.CreateBackend(precision: CudaPrecision.Bf16));
        // The only tap reads the padding.
        var shape = new ConvShape(2, 1, 1, 64, 64, 1, 1, 2, 1);
        DeviceBuffer dy = bench.PutActivations(Values.Integers(shape.OutputLength, 1, 2)), b = bench.PutActivations(Values.Integers(shape.WeightLength, 2, 2));
        DeviceBuffer dx = bench.PutActivations([.. Enumerable.Repeat(3f, (int)shape.InputLength)]), overwritten = bench.OutputActivations(shape.InputLength);
        bench.Backend.ConvFeedback(shape, dy, b, FeedbackLayout.Feedback, dx, accumulate: true);
        bench.Backend.ConvFeedback(shape, dy, b, FeedbackLayout.Feedback, overwritten);
        Assert.All(bench.Get(dx), value => Assert.Equal(3, value));
        Assert.All(bench.Get(overwritten), value => Assert.Equal(0, value));
    }

    /// <summary>2 blocks of each of 132 multiprocessors run at once; 265 take as long as 528.</summary>
    [Theory]
    [InlineData(8)]
    [InlineData(256)]
    public void Slices_of_a_weight_gradient_fit_one_wave(int batch)
    {
        int sliced = 0;
        foreach ((int map, int width) in ((int, int)[])[(56, 64), (28, 128), (14, 256), (7, 512)])
        {
            foreach (int c in (int[])[width, width * 2, width * 4])
            {
                foreach ((int k, int r, int stride) in ((int, int, int)[])[(width, 3, 1), (width, 1, 1), (width * 4, 1, 1), (width * 2, 3, 2), (width * 8, 1, 2)])
                {
                    var shape = new ConvShape(batch, map, map, c, k, r, r, stride, r / 2);
                    HopperPlan hopper = HopperPlan.Choose(shape, ConvPass.WeightGradient);
                    Assert.Null(hopper.Refusal);
                    Check(HopperPlan.GradientRowTiles(HopperPlan.Flattened(shape)) * Rounding.DivideUp(k, hopper.Columns), hopper.Split, shape);
                    PipelinedPlan pipelined = PipelinedPlan.Choose(shape, ConvPass.WeightGradient);
                    Assert.Null(pipelined.Refusal);
                    Check(pipelined.Tiles, pipelined.Split, shape);
                    Check(
                        Rounding.DivideUp(shape.FanIn, PortableTile.Rows) * Rounding.DivideUp(k, PortableTile.Columns), PortableTile.Split(shape), shape);
                }
            }
        }

        Assert.True(sliced > 50);

        void Check(long tiles, SplitK split, ConvShape shape)
        {
            if (split.Count == 1) return;
            sliced++;
            Assert.True(tiles * split.Count <= 264, $"{shape}: {tiles} tiles in {split.Count} slices");
        }
    }

    /// <summary>Five tiles: 9 taps of 64 channels, two to a block.</summary>
    [Fact]
    public void Slices_fill_the_wave() =>
        Assert.Equal(52, HopperPlan.Choose(new ConvShape(256, 56, 56, 64, 64, 3, 3, 1, 1), ConvPass.WeightGradient).Split.Count);
}
