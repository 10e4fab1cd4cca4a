using FeedbackKernels.Interop;
using FeedbackKernels.Tests.Cuda;

namespace FeedbackKernels.Tests.Conformance;

/// <summary>
/// Convolutions that a Hopper computes by wgmma, as its backend chooses them. Tiles of 256 columns are for layers of many blocks; where few
/// are wanted, the small shapes of a test get them too.
/// </summary>
public class HopperConvolutionTests
{
    private const string Few = ", few blocks";

    // N H W C K R S stride padding, and the columns of the tiles where few blocks are wanted: forward and feedback.
    private static readonly Dictionary<string, (ConvShape Shape, int Forward, int Feedback)> Shapes = new()
    {
        ["1x1"] = (new(1, 7, 9, 512, 512, 1, 1, 1, 0), 256, 256),
        ["linear, three tiles of columns"] = (ConvShape.Linear(5, 512, 768), 256, 256),
        ["1x1 stride 2"] = (new(1, 8, 8, 512, 512, 1, 1, 2, 0), 256, 256),
        ["1x1 stride 2, odd map"] = (new(1, 7, 5, 512, 512, 1, 1, 2, 0), 256, 256),
        ["3x3"] = (new(1, 7, 7, 256, 256, 3, 3, 1, 1), 256, 256),
        ["3x3 on 14x14, wide forward"] = (new(1, 14, 14, 64, 256, 3, 3, 1, 1), 256, 64),
        ["3x3 on 14x14, wide feedback"] = (new(1, 14, 14, 256, 64, 3, 3, 1, 1), 64, 256),
        ["3x3, two tiles of columns"] = (new(1, 5, 4, 128, 512, 3, 3, 1, 1), 256, 128),
        ["3x3 stride 2"] = (new(1, 8, 10, 256, 256, 3, 3, 2, 1), 256, 256),
        ["3x3 stride 2, odd map"] = (new(1, 7, 9, 256, 256, 3, 3, 2, 1), 256, 256),
        ["7x7 stride 2, wide forward"] = (new(1, 14, 14, 64, 256, 7, 7, 2, 3), 256, 64),
        ["7x7 stride 2, wide feedback"] = (new(1, 13, 11, 256, 64, 7, 7, 2, 3), 64, 256),
        ["5x3 stride 2, padded by 2"] = (new(1, 7, 8, 256, 256, 5, 3, 2, 2), 256, 256),
        ["3x3 stride 2, 128 columns"] = (new(1, 14, 14, 128, 128, 3, 3, 2, 1), 128, 128),
        ["3x3 stride 2, odd map, 64 columns"] = (new(1, 13, 13, 64, 64, 3, 3, 2, 1), 64, 64),
        ["a reduction of 504"] = (new(1, 5, 5, 56, 256, 3, 3, 1, 1), 128, 64),
    };

    public static MatrixTheoryData<string, string> Cases => new([CudaUnderTest.Bf16Candidate, CudaUnderTest.Bf16Candidate + Few], Shapes.Keys);

    [Theory, MemberData(nameof(Cases))]
    public void All_passes_equal_the_reference(string candidate, string name)
    {
        (ConvShape shape, int forward, int feedback) = Shapes[name];
        bool few = candidate.EndsWith(Few, StringComparison.Ordinal);
        using EmulatedDriver.Setting? machine = CudaUnderTest.Hopper();
        using CudaBackend backend = Create(few);
        AssertTile(ConvPass.Forward, few ? forward : Math.Min(forward, 128));
        AssertTile(ConvPass.Feedback, few ? feedback : Math.Min(feedback, 128));
        Assert.Contains("bf16 wgmma", backend.Explain(shape, ConvPass.WeightGradient).Algorithm);
        ConvolutionTests.AllPassesEqualTheReference(backend, shape);

        void AssertTile(ConvPass pass, int columns) =>
            Assert.StartsWith($"implicit GEMM 128x{columns}x64, bf16 wgmma, ", backend.Explain(shape, pass).Algorithm);
    }

    [Fact]
    public void Epilogues_of_256_columns_equal_the_reference()
    {
        using EmulatedDriver.Setting? machine = CudaUnderTest.Hopper();
        using CudaBackend backend = Create(few: true);
        foreach (string name in (string[])["1x1", "3x3 stride 2, odd map"])
        {
            ConvolutionTests.EpilogueEqualsTheReference(backend, Shapes[name].Shape, ElementType.BFloat16);
            ConvolutionTests.StatisticsAreThoseOfTheOutput(backend, Shapes[name].Shape, ElementType.BFloat16);
        }
    }

    [Theory]
    [InlineData("1x1")]
    [InlineData("3x3 stride 2, odd map")]
    [InlineData("7x7 stride 2, wide feedback")]
    public void Feedback_reads_W_and_its_transpose_to_the_same_bits(string name)
    {
        using EmulatedDriver.Setting? machine = CudaUnderTest.Hopper();
        using CudaBackend backend = Create(few: true);
        ConvolutionTests.AssertBothLayoutsGiveTheSameBits(backend, Shapes[name].Shape);
    }

    [Fact]
    public void The_order_of_threads_changes_no_bit()
    {
        using EmulatedDriver.Setting? machine = CudaUnderTest.Hopper();
        CudaUnderTest.AssertOrderOfThreadsChangesNoBit(() => Create(few: true), Shapes["3x3 stride 2, odd map"].Shape, 1, 2);
    }

    private static CudaBackend Create(bool few) => few
        ? new CudaBackend(driver: CudaUnderTest.Path, precision: CudaPrecision.Bf16) { ManyBlocks = 1 }
        : CudaUnderTest.CreateBackend(precision: CudaPrecision.Bf16);
}
