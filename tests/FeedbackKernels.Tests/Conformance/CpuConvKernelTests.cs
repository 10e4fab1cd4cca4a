using FeedbackKernels.Interop;

namespace FeedbackKernels.Tests.Conformance;

/// <summary>The CPU's list of convolution kernels: what each refuses and says so, and that it computes whatever it does not refuse.</summary>
[Trait("Category", "Conformance")]
public class CpuConvKernelTests
{
    // Requests that each of the kernels serves first, and some that only the last one serves.
    private static readonly ConvShape[] Shapes =
    [
        new(4, 14, 15, 32, 48, 3, 3, 1, 1), new(2, 9, 8, 40, 24, 1, 1, 1, 0), new(3, 9, 7, 32, 20, 1, 1, 2, 0), new(2, 2, 1, 16, 16, 1, 1, 2, 0),
        new(2, 13, 11, 3, 16, 7, 7, 2, 3), new(2, 8, 8, 3, 5, 1, 1, 1, 0), new(2, 8, 9, 16, 16, 3, 3, 2, 1), new(2, 6, 6, 16, 16, 2, 2, 2, 0), new(2, 5, 5, 16, 16, 1, 1, 1, 1),
        new(5, 1, 1, 100, 10, 1, 1, 1, 0),
    ];

    public static TheoryData<string> Levels => [.. SimdLevels.Supported.Select(level => $"cpu:{level}")];

    [Theory, MemberData(nameof(Levels))]
    public void A_kernel_computes_every_request_that_it_does_not_refuse(string candidate)
    {
        using var backend = (CpuBackend)Candidates.Create(candidate, exact: false);
        foreach (ConvShape shape in Shapes)
        {
            foreach (ConvPass pass in Enum.GetValues<ConvPass>())
            {
                int served = 0;
                foreach (CpuConvKernel kernel in CpuConvKernel.All)
                {
                    if (RefusalOf(backend, kernel, shape, pass) is not null) continue;
                    served++;
                    foreach (bool accumulate in (bool[])[false, true])
                    {
                        // Winograd adds nothing to a weight gradient: what does asks for exact sums.
                        if (accumulate && (pass == ConvPass.Forward || kernel is Winograd)) continue;
                        float[] expected = Run(new ReferenceBackend(), shape, pass, accumulate, null), actual = Run(backend, shape, pass, accumulate, kernel);
                        if (kernel is Winograd) Values.AssertClose(expected, actual, 1024, factor: 64);
                        else Values.AssertExact(expected, actual, mostZeros: 1);
                    }
                }

                Assert.NotEqual(0, served);
            }
        }
    }

    [Theory]
    [InlineData(0, ConvPass.Forward, "Winograd", null, null)]
    [InlineData(0, ConvPass.Feedback, "Winograd", null, null)]
    [InlineData(0, ConvPass.WeightGradient, "Winograd", null, null)]
    [InlineData(1, ConvPass.Forward, "pointwise", "not Winograd: 1x1 filters, stride 1, padding 0", null)]
    [InlineData(2, ConvPass.Feedback, "pointwise", "not Winograd: 1x1 filters, stride 2, padding 0", null)]
    [InlineData(9, ConvPass.WeightGradient, "pointwise", "not Winograd: 1x1", null)]
    [InlineData(4, ConvPass.Forward, "direct", "not Winograd: 7x7 filters, stride 2, padding 3", "not pointwise: 7x7 filters, padding 3")]
    [InlineData(5, ConvPass.Forward, "pointwise", "not Winograd: 1x1", null)]
    [InlineData(5, ConvPass.WeightGradient, "direct", "not Winograd: 1x1", "not pointwise: 3 input channels")]
    [InlineData(6, ConvPass.Feedback, "direct", "4 residue classes", "not pointwise: 3x3 filters")]
    public void An_explanation_names_the_kernel_that_runs_and_the_refusals_before_it(int shape, ConvPass pass, string name, string? first, string? second)
    {
        using var backend = (CpuBackend)Candidates.Create($"cpu:{SimdLevels.Widest}", exact: false);
        ConvExplanation explanation = backend.Explain(Shapes[shape], pass);
        if (SimdLevels.Widest == SimdLevel.Scalar && name == "Winograd") (name, first) = ("direct", "not Winograd: it needs vectors");
        Assert.StartsWith(name, explanation.Algorithm);
        if (first is not null) Assert.Contains(first, explanation.Reason);
        if (second is not null) Assert.Contains(second, explanation.Reason);
        // The entries in front of the one that serves are those that refuse, and no others.
        int refusals = 0;
        foreach (CpuConvKernel kernel in CpuConvKernel.All)
        {
            if (RefusalOf(backend, kernel, Shapes[shape], pass) is not { } refusal) break;
            Assert.Contains($"not {kernel.Name}: {refusal}", explanation.Reason);
            refusals++;
        }

        Assert.Equal(refusals, explanation.Reason.Split("; not ").Length - 1);
        Assert.StartsWith(CpuConvKernel.All[refusals].Name, explanation.Algorithm);
    }

    [Fact]
    public void Exact_sums_are_a_reason_to_refuse()
    {
        using var exact = new CpuBackend(1, exact: true);
        foreach (ConvPass pass in Enum.GetValues<ConvPass>())
        {
            ConvExplanation explanation = exact.Explain(Shapes[0], pass);
            Assert.StartsWith("direct", explanation.Algorithm);
            Assert.Contains("not Winograd: exact sums are wanted", explanation.Reason);
        }
    }

    private static string? RefusalOf(CpuBackend backend, CpuConvKernel kernel, in ConvShape shape, ConvPass pass)
    {
        unsafe
        {
            return kernel.Refusal(ConvRequest.Of(shape, pass, ElementType.Float32), backend.Kernels->Tiles);
        }
    }

    /// <summary>The result of a pass: of a backend, or of one kernel of the list.</summary>
    private static unsafe float[] Run(Backend backend, ConvShape shape, ConvPass pass, bool accumulate, CpuConvKernel? kernel)
    {
        using var bench = new Workbench(backend);
        DeviceBuffer x = bench.Put(Values.Integers(shape.InputLength, 1)), y = bench.Put(Values.Integers(shape.OutputLength, 2));
        DeviceBuffer weights = bench.Put(Values.Integers(shape.WeightLength, 3));
        DeviceBuffer result = pass switch { ConvPass.Forward => y, ConvPass.Feedback => x, _ => weights };
        if (kernel is not null)
        {
            kernel.Run((CpuBackend)backend, new ConvCall
            {
                Request = ConvRequest.Of(shape, pass, ElementType.Float32),
                X = ((BufferView)x).Floats,
                Weights = ((BufferView)weights).Floats,
                Y = ((BufferView)y).Floats,
                Layout = FeedbackLayout.Feedback,
                Accumulate = accumulate,
            });
            return bench.Get(result);
        }

        float[] before = bench.Get(weights);
        if (pass == ConvPass.Forward) backend.ConvForward(shape, x, weights, y);
        else if (pass == ConvPass.Feedback) backend.ConvFeedback(shape, y, weights, FeedbackLayout.Feedback, x, accumulate);
        else backend.ConvWeightGradient(shape, x, y, weights);
        float[] values = bench.Get(result);
        return accumulate && pass == ConvPass.WeightGradient ? [.. values.Zip(before, (gradient, value) => gradient + value)] : values;
    }
}
