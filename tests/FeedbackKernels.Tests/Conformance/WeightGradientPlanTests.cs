using FeedbackKernels.Interop;

namespace FeedbackKernels.Tests.Conformance;

/// <summary>How the weight gradient of a layer without many pixels is divided among threads.</summary>
[Trait("Category", "Conformance")]
public class WeightGradientPlanTests
{
    /// <summary>The larger of x and dy is divided, because each item packs what it shares: the channels of x, or the panels of dy.</summary>
    [Theory]
    [InlineData(512, 10, 2, 2, 1)]
    [InlineData(576, 64, 2, 2, 1)]
    [InlineData(576, 64, 4, 4, 1)]
    [InlineData(64, 576, 2, 1, 2)]
    [InlineData(64, 64, 2, 1, 2)]
    public unsafe void A_linear_layer_has_work_for_all_threads(int inputs, int outputs, int threads, int channelGroups, int panelGroups)
    {
        Assert.SkipUnless(SimdLevels.Supported.Contains(SimdLevel.Avx2), "needs the tiles of AVX2");
        TileSet tiles = CpuKernels.For(SimdLevel.Avx2)->Tiles;
        var plan = new WeightGradientPlan(ConvShape.Linear(128, inputs, outputs), tiles, threads, pointwise: true);
        Assert.Equal((1, channelGroups, panelGroups), (plan.Splits, plan.ChannelGroups, plan.PanelGroups));
        Assert.Equal(threads, plan.Items);
    }

    [Theory]
    [InlineData(512, 10)]
    [InlineData(579, 64)]
    [InlineData(64, 579)]
    public void The_sums_do_not_depend_on_the_threads(int inputs, int outputs)
    {
        ConvShape shape = ConvShape.Linear(100, inputs, outputs);
        ConvolutionTests.Results one = RunAll(1);
        Assert.All([2, 3, 8], threads => one.AssertSameBits(RunAll(threads)));

        ConvolutionTests.Results RunAll(int threads)
        {
            using var backend = new CpuBackend(threads);
            return ConvolutionTests.RunAll(backend, shape, Values.Normal);
        }
    }
}
