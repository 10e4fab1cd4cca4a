using FeedbackKernels.Interop;

namespace FeedbackKernels.Tests.Conformance;

/// <summary>Winograd convolutions against the double-precision reference and against the direct kernels.</summary>
[Trait("Category", "Conformance")]
public class WinogradTests
{
    // Rounding of the transforms: about 1e-5 of the largest output, where direct sums have 1e-6.
    private const double Factor = 64;

    // Maps that tiles of 4 do and do not divide, rows of many tiles, paddings from none to too much, channels that differ.
    private static readonly ConvShape[] Shared =
    [
        new(4, 14, 15, 64, 64, 3, 3, 1, 1), new(3, 17, 19, 96, 64, 3, 3, 1, 0), new(1, 30, 22, 64, 128, 3, 3, 1, 2),
        new(16, 7, 7, 64, 96, 3, 3, 1, 1), new(6, 9, 10, 80, 64, 3, 3, 1, 1), new(2, 20, 22, 48, 32, 3, 3, 1, 1),
        new(3, 32, 32, 16, 16, 3, 3, 1, 1), new(2, 36, 72, 16, 32, 3, 3, 1, 1), new(2, 34, 70, 32, 16, 3, 3, 1, 2), new(40, 10, 10, 16, 16, 3, 3, 1, 0),
    ];

    // Enough tiles for a block a thread at a time, the last one partly filled.
    private static readonly ConvShape Blocked = new(3, 90, 87, 64, 64, 3, 3, 1, 1);

    // So many weights that they are transformed panel by panel, the last one narrow, over more than one slab of tiles.
    private static readonly ConvShape ByPanel = new(72, 7, 7, 352, 368, 3, 3, 1, 1);

    /// <summary>The vector levels, or where the runtime has none the scalar one, which computes all sums directly.</summary>
    public static TheoryData<string> Wide => [.. SimdLevels.Supported.OrderBy(l => l).Skip(SimdLevels.Supported.Count() > 1 ? 1 : 0).Select(l => $"cpu:{l}")];

    [Theory, MemberData(nameof(Wide))]
    public void Errors_against_the_reference_are_bounded(string candidate)
    {
        using Backend backend = Candidates.Create(candidate, exact: false);
        foreach (ConvShape shape in Shared)
        {
            foreach (ConvPass pass in Enum.GetValues<ConvPass>())
                Assert.Equal(candidate != "cpu:Scalar", backend.Explain(shape, pass).Algorithm.Contains("Winograd", StringComparison.Ordinal));
            AssertClose(shape, ConvolutionTests.RunAll(new ReferenceBackend(), shape, Values.Normal), backend);
        }
    }

    [Theory, MemberData(nameof(Wide))]
    public void Blocks_and_panels_agree_with_the_direct_kernels(string candidate)
    {
        using Backend direct = Candidates.Create(candidate), backend = Candidates.Create(candidate, exact: false);
        foreach (ConvShape shape in (ConvShape[])[Blocked, ByPanel])
        {
            Assert.DoesNotContain("Winograd", direct.Explain(shape, ConvPass.Forward).Algorithm);
            AssertClose(shape, ConvolutionTests.RunAll(direct, shape, Values.Normal), backend);
        }
    }

    [Theory, MemberData(nameof(Wide))]
    public void Threads_do_not_change_a_bit(string candidate)
    {
        foreach (ConvShape shape in (ConvShape[])[Shared[0], Blocked])
        {
            using Backend one = Candidates.Create(candidate, threads: 1, exact: false), three = Candidates.Create(candidate, threads: 3, exact: false);
            ConvolutionTests.Results expected = ConvolutionTests.RunAll(one, shape, Values.Normal), actual = ConvolutionTests.RunAll(three, shape, Values.Normal);
            expected.AssertSameBits(actual);
        }
    }

    [Theory, MemberData(nameof(Wide))]
    public void Feedback_reads_W_and_its_transpose_to_the_same_bits(string candidate)
    {
        using Backend backend = Candidates.Create(candidate, exact: false);
        ConvolutionTests.AssertBothLayoutsGiveTheSameBits(backend, Shared[2]);
    }

    [Fact]
    public void The_epilogue_follows()
    {
        ConvShape shape = Shared[1];
        using Backend direct = new CpuBackend(exact: true), backend = new CpuBackend();
        Values.AssertClose(ConvolutionTests.RunEpilogue(direct, shape, Activation.Relu), ConvolutionTests.RunEpilogue(backend, shape, Activation.Relu), shape.FanIn, Factor);
    }

    private static void AssertClose(ConvShape shape, ConvolutionTests.Results expected, Backend backend)
    {
        ConvolutionTests.Results actual = ConvolutionTests.RunAll(backend, shape, Values.Normal);
        Values.AssertClose(expected.Y, actual.Y, shape.FanIn, Factor);
        Values.AssertClose(expected.Dx, actual.Dx, 9 * shape.K, Factor);
        Values.AssertClose(expected.DxSum, actual.DxSum, 9 * shape.K, Factor);
        Values.AssertClose(expected.DxTransposed, actual.DxTransposed, 9 * shape.K, Factor);
        Values.AssertClose(expected.Dw, actual.Dw, (double)shape.N * shape.P * shape.Q, Factor);
        Values.AssertClose(expected.Mean, actual.Mean, shape.FanIn, Factor);
        Values.AssertClose(expected.Variance, actual.Variance, shape.FanIn, Factor);
    }
}
