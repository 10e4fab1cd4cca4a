using CsCheck;
using FeedbackKernels.Interop;
using FeedbackKernels.Tests.Conformance;

namespace FeedbackKernels.Tests.Cuda;

/// <summary>
/// Pipelines of copies and tensor cores, every tile whatever the table would choose. Integers of few bits are exact in bf16 and
/// in every sum, so a result is the definition's, bit for bit.
/// </summary>
public class PipelinedTests
{
    // N H W C K R S stride padding: more steps than stages and fewer, tails of every tile, chunks of a step in different taps.
    private static readonly Dictionary<string, ConvShape> Shapes = new()
    {
        ["1x1, one step"] = new(2, 9, 10, 32, 64, 1, 1, 1, 0),
        ["1x1, two steps, tails"] = new(3, 7, 7, 64, 136, 1, 1, 1, 0),
        ["1x1, more steps than stages"] = new(1, 8, 9, 264, 72, 1, 1, 1, 0),
        ["8 channels: four taps a step"] = new(2, 7, 7, 8, 8, 3, 3, 1, 1),
        ["24 channels: steps that straddle taps"] = new(2, 9, 11, 24, 40, 3, 3, 1, 1),
        ["3x3 on 7x7"] = new(3, 7, 7, 64, 128, 3, 3, 1, 1),
        ["3x3 without padding"] = new(1, 12, 9, 40, 48, 3, 3, 1, 0),
        ["3x3, wide"] = new(2, 5, 4, 136, 144, 3, 3, 1, 1),
        ["5x2, padded by 3"] = new(1, 8, 9, 16, 24, 5, 2, 1, 3),
        ["1x3 on a long row"] = new(1, 1, 300, 8, 16, 1, 3, 1, 1),
        ["3x3 stride 2"] = new(2, 14, 14, 32, 64, 3, 3, 2, 1),
        ["3x3 stride 2, odd map"] = new(3, 15, 13, 16, 32, 3, 3, 2, 1),
        ["3x3 stride 3"] = new(2, 11, 13, 16, 24, 3, 3, 3, 1),
        ["1x1 stride 2: classes that no tap reaches"] = new(2, 13, 12, 64, 72, 1, 1, 2, 0),
        ["stride beyond the filter"] = new(2, 11, 13, 8, 16, 2, 2, 3, 0),
        ["stride larger than the map"] = new(2, 2, 2, 8, 8, 1, 1, 5, 0),
        ["stem"] = new(1, 31, 29, 8, 64, 7, 7, 2, 3),
        ["filter larger than the map"] = new(2, 3, 2, 16, 8, 5, 5, 1, 2),
        ["padding beyond the filter"] = new(2, 4, 4, 8, 24, 2, 2, 1, 4),
        ["3x3 on one pixel"] = new(5, 1, 1, 16, 40, 3, 3, 1, 1),
        ["linear"] = ConvShape.Linear(150, 64, 40),
        ["largest filter"] = new(1, 12, 12, 8, 8, 11, 11, 1, 5),
    };

    private static readonly Gen<ConvShape> RandomShapes =
        from n in Gen.Int[1, 3]
        from r in Gen.Int[1, 5]
        from s in Gen.Int[1, 5]
        from stride in Gen.Int[1, 3]
        from padding in Gen.Int[0, 4]
        from h in Gen.Int[1, 15]
        from w in Gen.Int[1, 17]
        from c in Gen.Int[1, 9]
        from k in Gen.Int[1, 9]
        where r <= h + 2 * padding && s <= w + 2 * padding
        select new ConvShape(n, h, w, 8 * c, 8 * k, r, s, stride, padding);

    public static TheoryData<string, string> Cases()
    {
        var data = new TheoryData<string, string>();
        foreach (PipelinedTile tile in PipelinedPlan.AllTiles)
        {
            foreach (string name in Shapes.Keys) data.Add(tile.ToString(), name);
        }

        return data;
    }

    public static TheoryData<string> Tiles => [.. PipelinedPlan.AllTiles.Select(tile => tile.ToString())];

    [Theory, MemberData(nameof(Cases))]
    public void Every_tile_equals_the_reference(string tile, string name)
    {
        using CudaBackend backend = Create(tile);
        foreach (ConvPass pass in Enum.GetValues<ConvPass>()) Assert.Contains($"{tile}x32", backend.Explain(Shapes[name], pass).Algorithm);
        ConvolutionTests.AllPassesEqualTheReference(backend, Shapes[name]);
    }

    [Theory, MemberData(nameof(Tiles))]
    public void Random_shapes_equal_the_reference(string tile)
    {
        using CudaBackend backend = Create(tile);
        RandomShapes.Sample(shape => ConvolutionTests.AllPassesEqualTheReference(backend, shape), iter: 25, threads: 1);
    }

    [Theory, MemberData(nameof(Tiles))]
    public void Epilogue_equals_the_reference(string tile)
    {
        using CudaBackend backend = Create(tile);
        foreach (ConvShape shape in (ConvShape[])[new(2, 9, 10, 8, 24, 3, 3, 1, 1), new(3, 8, 8, 16, 136, 1, 1, 1, 0), ConvShape.Linear(40, 8, 72)])
            ConvolutionTests.EpilogueEqualsTheReference(backend, shape, ElementType.BFloat16, ElementType.Float32);
    }

    [Theory, MemberData(nameof(Tiles))]
    public void Statistics_are_those_of_the_output(string tile)
    {
        // Tiles of rows and of columns with tails.
        var shape = new ConvShape(3, 12, 13, 8, 136, 3, 3, 1, 1);
        using CudaBackend backend = Create(tile);
        ConvolutionTests.StatisticsAreThoseOfTheOutput(backend, shape, ElementType.BFloat16, ElementType.Float32);
    }

    [Theory, MemberData(nameof(Tiles))]
    public void The_order_of_threads_changes_no_bit(string tile)
    {
        var shape = new ConvShape(3, 9, 10, 40, 72, 3, 3, 2, 1);
        CudaUnderTest.AssertOrderOfThreadsChangesNoBit(() => Create(tile), shape, 1, 2, 3);
    }

    [Fact]
    public void Feedback_reads_W_and_its_transpose_to_the_same_bits()
    {
        foreach (PipelinedTile tile in PipelinedPlan.AllTiles)
        {
            using CudaBackend backend = Create(tile.ToString());
            ConvolutionTests.AssertBothLayoutsGiveTheSameBits(backend, new ConvShape(3, 9, 10, 24, 72, 3, 3, 2, 1));
        }
    }

    [Theory]
    // Few blocks: the smallest tile. Many: the largest that is not half empty.
    [InlineData(1, 14, 256, 256, 3, "64x64", "128x128 makes 4 blocks of 264 wanted")]
    [InlineData(256, 14, 256, 256, 3, "128x128", "784 blocks")]
    [InlineData(256, 56, 64, 64, 3, "128x64", "64 columns leave 128x128 half empty")]
    [InlineData(32, 7, 512, 2048, 1, "128x64", "128x128 makes 208 blocks of 264 wanted")]
    public void The_table_says_which_tile_and_why(int n, int map, int c, int k, int filter, string tile, string reason)
    {
        PipelinedPlan plan = PipelinedPlan.Choose(new ConvShape(n, map, map, c, k, filter, filter, 1, filter / 2), ConvPass.Forward);
        Assert.Equal(tile, plan.Tile.ToString());
        Assert.Contains(reason, plan.Reason);
    }

    [Theory]
    [InlineData("128x128", 136)]
    [InlineData("128x64", 64)]
    public void With_few_blocks_wanted_small_shapes_get_large_tiles(string tile, int channels)
    {
        CudaUnderTest.Require();
        using var backend = new CudaBackend(driver: CudaUnderTest.Path, precision: CudaPrecision.Bf16)
        {
            ManyBlocks = 1,
            FirstKernel = PipelinedConvolution.Kernel.Name,
        };
        var shape = new ConvShape(1, 9, 10, channels, channels, 3, 3, 1, 1);
        foreach (ConvPass pass in Enum.GetValues<ConvPass>())
        {
            ConvExplanation plan = backend.Explain(shape, pass);
            Assert.StartsWith($"implicit GEMM {tile}x32, ", plan.Algorithm);
            Assert.DoesNotContain("split-K", plan.Algorithm);
        }

        ConvolutionTests.AllPassesEqualTheReference(backend, shape);
    }

    [Theory]
    [InlineData(12, 64, 7, "12 and 64 channels are not both multiples of 8")]
    [InlineData(64, 10, 1, "64 and 10 channels are not both multiples of 8")]
    [InlineData(8, 8, 12, "filters of 12x12 are larger than 11x11")]
    public void What_pipelined_kernels_do_not_take_is_left_to_the_portable_kernels(int c, int k, int filter, string refusal)
    {
        using CudaBackend backend = Create(null);
        ConvExplanation plan = backend.Explain(new ConvShape(2, 16, 16, c, k, filter, filter, 1, 0), ConvPass.Forward);
        Assert.Contains("128x64x16", plan.Algorithm);
        Assert.Contains(refusal, plan.Reason);
    }

    [Fact]
    [EmulatedOnly("sets the shared memory of the device")]
    public void A_device_with_too_little_shared_memory_is_said_to_have_it()
    {
        using EmulatedDriver.Setting device = EmulatedDriver.With("shared-limit", 60 << 10, 0);
        using CudaBackend backend = Create("128x128");
        using var bench = new Workbench(backend);
        var shape = new ConvShape(1, 4, 4, 8, 8, 1, 1, 1, 0);
        DeviceBuffer x = bench.OutputActivations(shape.InputLength), w = bench.OutputActivations(shape.WeightLength), y = bench.OutputActivations(shape.OutputLength);
        var e = Assert.Throws<CudaException>(() => backend.ConvForward(shape, x, w, y));
        Assert.Equal("cuFuncSetAttribute", e.Call);
        Assert.Contains("kernel conv_forward_pipelined_128_128", e.Message);
        Assert.Contains("65536 bytes of shared memory", e.Message);
    }

    private static CudaBackend Create(string? tile)
    {
        CudaUnderTest.Require();
        PipelinedTile? only = tile is null ? null : PipelinedPlan.AllTiles.Single(t => t.ToString() == tile);
        // On a Hopper others come first in the list.
        return new CudaBackend(driver: CudaUnderTest.Path, precision: CudaPrecision.Bf16) { OnlyTile = only, FirstKernel = PipelinedConvolution.Kernel.Name };
    }
}
