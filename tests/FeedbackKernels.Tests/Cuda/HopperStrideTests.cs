using FeedbackKernels.Interop;
using FeedbackKernels.Tests.Conformance;

namespace FeedbackKernels.Tests.Cuda;

/// <summary>Both ways in which the TMA reads every second pixel, in every padded case: a plane for each class of pixels, and element
/// strides.</summary>
public sealed class HopperStrideTests
{
    // N H W C K R S stride padding. Even and odd maps, and filters whose taps begin in the padding, in each plane.
    private static readonly Dictionary<string, ConvShape> Shapes = new()
    {
        ["3x3, padded by 1"] = new(2, 14, 14, 64, 128, 3, 3, 2, 1),
        ["3x3, padded by 1, odd map"] = new(3, 9, 7, 64, 64, 3, 3, 2, 1),
        ["3x3, padded by 2"] = new(2, 6, 9, 64, 64, 3, 3, 2, 2),
        ["3x3 without padding"] = new(2, 7, 8, 64, 64, 3, 3, 2, 0),
        ["1x1"] = new(2, 12, 11, 64, 128, 1, 1, 2, 0),
        ["5x3, padded by 2"] = new(1, 8, 9, 64, 64, 5, 3, 2, 2),
        ["7x7, padded by 3"] = new(1, 13, 14, 64, 64, 7, 7, 2, 3),
        ["2x2 on 2x2, padded by 1"] = new(3, 2, 2, 64, 64, 2, 2, 2, 1),
        ["tail of channels"] = new(1, 10, 6, 96, 88, 3, 3, 2, 1),
    };

    public static TheoryData<string, bool> Cases()
    {
        var cases = new TheoryData<string, bool>();
        foreach (string name in Shapes.Keys)
        {
            cases.Add(name, false);
            cases.Add(name, true);
        }

        return cases;
    }

    [Theory, MemberData(nameof(Cases))]
    public void All_passes_equal_the_reference(string name, bool traversalStrides)
    {
        using EmulatedDriver.Setting? machine = CudaUnderTest.Hopper();
        using var backend = new CudaBackend(driver: CudaUnderTest.Path, precision: CudaPrecision.Bf16) { TraversalStrides = traversalStrides };
        foreach (ConvPass pass in (ConvPass[])[ConvPass.Forward, ConvPass.WeightGradient])
        {
            ConvExplanation explanation = backend.Explain(Shapes[name], pass);
            Assert.Contains("wgmma", explanation.Algorithm);
            Assert.Contains(traversalStrides ? "by element strides of 2" : "from 4 planes of pixels", explanation.Reason);
        }

        ConvolutionTests.AllPassesEqualTheReference(backend, Shapes[name]);
    }

    [Fact]
    public void A_plane_without_pixels_is_left_to_other_kernels() =>
        Assert.Contains("no pixel", HopperPlan.Choose(new ConvShape(2, 1, 8, 64, 64, 3, 3, 2, 1), ConvPass.Forward).Refusal);
}
