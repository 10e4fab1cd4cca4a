using FeedbackKernels.Interop;
using FeedbackKernels.Tests.Conformance;

namespace FeedbackKernels.Tests.Cuda;

/// <summary>The list of convolution kernels, and the names of all kernels.</summary>
public class CudaConvKernelsTests
{
    // The classifier of a ResNet-50.
    private static readonly ConvShape Classifier = ConvShape.Linear(128, 2048, 1000);

    [Fact]
    public void Logits_are_explained_by_the_kernel_that_computes_them()
    {
        using EmulatedDriver.Setting? machine = CudaUnderTest.Hopper();
        using CudaBackend backend = CudaUnderTest.CreateBackend(precision: CudaPrecision.Bf16);
        ConvExplanation logits = backend.Explain(Classifier, ConvPass.Forward, ElementType.Float32);
        Assert.DoesNotContain("wgmma", logits.Algorithm);
        Assert.Contains("stages by cp.async", logits.Algorithm);
        Assert.Contains("not hopper: y is fp32", logits.Reason);
        Assert.Contains("wgmma", backend.Explain(Classifier, ConvPass.Forward).Algorithm);
    }

    [Fact]
    public void Each_kernel_says_why_it_does_not_serve_and_the_last_serves_everything()
    {
        using EmulatedDriver.Setting? machine = CudaUnderTest.Hopper();
        using CudaBackend backend = CudaUnderTest.CreateBackend(precision: CudaPrecision.Bf16), other = CudaUnderTest.CreateBackend();
        Assert.Equal(["hopper", "few channels", "pipelined", "portable"], CudaConvKernels.List.Select(k => k.Name));
        ConvRequest request = ConvRequest.Of(new ConvShape(2, 16, 16, 64, 64, 3, 3, 1, 1), ConvPass.Forward, ElementType.BFloat16);
        ConvRequest stem = ConvRequest.Of(new ConvShape(2, 16, 16, 3, 64, 3, 3, 1, 1), ConvPass.Forward, ElementType.BFloat16);
        AssertRefusals(backend, request, null, "64 channels are more than 7", null, null);
        AssertRefusals(backend, request with { Y = ElementType.Float32 }, "y is fp32", "64 channels are more than 7", null, null);
        AssertRefusals(backend, request with { ChannelAlignment = 4 }, "not a multiple of 16", "64 channels are more than 7", null, null);
        AssertRefusals(backend, request with { XAlignment = 2 }, "not a multiple of 16", "64 channels are more than 7", "not a multiple of 16", null);
        AssertRefusals(backend, stem, "3 and 64 channels", null, "3 and 64 channels", null);
        AssertRefusals(backend, stem with { XAlignment = 2 }, "3 and 64 channels", null, "3 and 64 channels", null);
        AssertRefusals(backend, stem with { Alignment = 2 }, "3 and 64 channels", "not a multiple of 16", "3 and 64 channels", null);
        AssertRefusals(
            other, ConvRequest.Of(request.Shape, ConvPass.Forward, ElementType.Float32), "operands are fp32", "operands are fp32", "operands are fp32", null);

        static void AssertRefusals(CudaBackend on, ConvRequest request, params string?[] expected)
        {
            string?[] actual = [.. CudaConvKernels.List.Select(k => k.Refusal(on, request))];
            Assert.Equal(expected.Length, actual.Length);
            foreach ((string? wanted, string? found) in expected.Zip(actual))
            {
                if (wanted is null) Assert.Null(found);
                else Assert.Contains(wanted, found);
            }
        }
    }

    [Theory]
    [InlineData(1, "128x64x16, fp32")]
    [InlineData(5, "128x64x16, fp32, split-K 5")]
    [InlineData(264, "128x64x16, fp32, split-K 8")]
    public void A_reduction_is_split_over_the_wanted_number_of_blocks(long blocks, string expected)
    {
        CudaUnderTest.Require();
        using var backend = new CudaBackend(driver: CudaUnderTest.Path) { ManyBlocks = blocks };
        // 1024 pixels: no more than one split for 128 of them.
        var shape = new ConvShape(4, 16, 16, 4, 8, 3, 3, 1, 1);
        Assert.Equal($"implicit GEMM {expected}", backend.Explain(shape, ConvPass.WeightGradient).Algorithm);
        ConvolutionTests.AllPassesEqualTheReference(backend, shape);
    }

    [Fact]
    public void A_list_that_starts_later_leaves_out_the_kernels_before()
    {
        using EmulatedDriver.Setting? machine = CudaUnderTest.Hopper();
        var shape = new ConvShape(2, 16, 16, 64, 64, 3, 3, 1, 1);
        foreach ((string first, string served) in ((string, string)[])[("hopper", "wgmma"), ("few channels", "cp.async"), ("pipelined", "cp.async"), ("portable", "128x64x16")])
        {
            using var backend = new CudaBackend(driver: CudaUnderTest.Path, precision: CudaPrecision.Bf16) { FirstKernel = first };
            Assert.Contains(served, backend.Explain(shape, ConvPass.Forward).Algorithm);
        }
    }

    [Fact]
    public void A_request_that_was_served_before_allocates_nothing()
    {
        CudaUnderTest.Require();
        using CudaBackend backend = CudaUnderTest.CreateBackend(precision: CudaPrecision.Bf16);
        var kernels = new CudaConvKernels(backend);
        ConvRequest request = ConvRequest.Of(Classifier, ConvPass.Forward, ElementType.BFloat16);
        CudaConvolution first = kernels.For(request);
        // The first comparison of two requests makes comparers.
        kernels.For(request);
        long before = GC.GetAllocatedBytesForCurrentThread();
        CudaConvolution again = kernels.For(request);
        Assert.Equal(before, GC.GetAllocatedBytesForCurrentThread());
        Assert.Same(first, again);
    }

    [Theory]
    [InlineData("sm_80")]
    [InlineData("sm_90a")]
    public void Every_kernel_of_the_PTX_is_named_in_full_and_every_name_is_there(string architecture)
    {
        CudaUnderTest.Require();
        (string File, string Kernel)[] named = [.. CudaBackend.AllKernels.Select(k => (k.File, k.Name))];
        Assert.Equal(named.Length, named.Distinct().Count());
        IEnumerable<(string File, string Kernel)> wanted = architecture == "sm_90a" ? named : named.Where(k => !k.File.EndsWith("_sm90", StringComparison.Ordinal));
        Assert.Equal(wanted.Order(), CudaKernels.EntriesOf(architecture).Order());
    }
}
