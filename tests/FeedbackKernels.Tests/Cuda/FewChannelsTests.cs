using CsCheck;
using FeedbackKernels.Interop;
using FeedbackKernels.Tests.Conformance;

namespace FeedbackKernels.Tests.Cuda;

/// <summary>
/// The kernels of a net's first convolution. Integers of few bits are exact in bf16 and in every sum, so a result is the
/// definition's, bit for bit.
/// </summary>
public class FewChannelsTests
{
    // N H W C K R S stride padding: boxes of 8x16 output pixels, runs of S*C numbers, odd and even.
    private static readonly Dictionary<string, ConvShape> Shapes = new()
    {
        ["7x7 stride 2, odd map"] = new(2, 37, 43, 3, 64, 7, 7, 2, 3),
        ["7x7 stride 2, whole boxes"] = new(1, 32, 64, 3, 64, 7, 7, 2, 3),
        ["3x3, 16 channels out"] = new(3, 16, 16, 3, 16, 3, 3, 1, 1),
        ["3x3, tiles of columns with a tail"] = new(2, 17, 18, 3, 136, 3, 3, 1, 1),
        ["one channel"] = new(2, 14, 14, 1, 24, 5, 5, 1, 2),
        ["one channel, stride 2"] = new(2, 29, 30, 1, 8, 3, 3, 2, 1),
        ["two channels, no padding"] = new(1, 12, 21, 2, 40, 3, 4, 1, 0),
        ["four channels, 24 out"] = new(2, 11, 19, 4, 24, 3, 3, 1, 1),
        ["five channels"] = new(1, 13, 20, 5, 32, 3, 3, 1, 1),
        ["seven channels, runs of 77, two tiles of rows"] = new(1, 19, 20, 7, 16, 11, 11, 1, 5),
        ["narrower than a box"] = new(4, 8, 5, 3, 16, 3, 3, 1, 1),
        ["lower than a box"] = new(3, 3, 30, 3, 16, 3, 3, 1, 1),
        ["1x1"] = new(2, 10, 17, 3, 64, 1, 1, 1, 0),
        ["patches of 4x4"] = new(2, 36, 64, 3, 64, 4, 4, 4, 0),
        ["stride beyond the filter"] = new(2, 24, 48, 3, 8, 2, 2, 3, 0),
        ["padding beyond the filter"] = new(1, 9, 12, 3, 8, 2, 2, 1, 3),
        ["more boxes than blocks"] = new(1, 16, 272, 1, 1024, 3, 3, 1, 1),
    };

    private static readonly Gen<ConvShape> RandomShapes =
        from n in Gen.Int[1, 3]
        from r in Gen.Int[1, 5]
        from s in Gen.Int[1, 5]
        from stride in Gen.Int[1, 3]
        from padding in Gen.Int[0, 2]
        from h in Gen.Int[7, 30]
        from w in Gen.Int[7, 40]
        from c in Gen.Int[1, 7]
        from k in Gen.Int[1, 9]
        let shape = new ConvShape(n, h, w, c, 8 * k, r, s, stride, padding)
        where FewChannelsPlan.Choose(shape, ConvPass.Forward).Refusal is null
        select shape;

    public static TheoryData<string> Names => [.. Shapes.Keys];

    [Theory, MemberData(nameof(Names))]
    public void All_passes_equal_the_reference(string name)
    {
        using CudaBackend backend = Create();
        foreach (ConvPass pass in (ConvPass[])[ConvPass.Forward, ConvPass.WeightGradient])
            Assert.StartsWith("few channels", backend.Explain(Shapes[name], pass).Algorithm);
        ConvolutionTests.AllPassesEqualTheReference(backend, Shapes[name]);
    }

    [Fact]
    public void Random_shapes_equal_the_reference()
    {
        using CudaBackend backend = Create();
        RandomShapes.Sample(shape => ConvolutionTests.AllPassesEqualTheReference(backend, shape), iter: 25, threads: 1);
    }

    [Fact]
    public void Epilogue_equals_the_reference()
    {
        using CudaBackend backend = Create();
        foreach (ConvShape shape in (ConvShape[])[new(2, 9, 21, 3, 24, 3, 3, 1, 1), new(1, 25, 27, 3, 72, 7, 7, 2, 3)])
            ConvolutionTests.EpilogueEqualsTheReference(backend, shape, ElementType.BFloat16);
    }

    [Theory]
    [InlineData(16)]
    [InlineData(136)]
    public void Statistics_are_those_of_the_output(int k)
    {
        // Boxes with tails, below and to the right.
        var shape = new ConvShape(3, 12, 21, 3, k, 3, 3, 1, 1);
        using CudaBackend backend = Create();
        ConvolutionTests.StatisticsAreThoseOfTheOutput(backend, shape, ElementType.BFloat16);
    }

    [Fact]
    public void The_order_of_threads_changes_no_bit()
    {
        var shape = new ConvShape(5, 21, 37, 3, 72, 5, 5, 1, 2);
        CudaUnderTest.AssertOrderOfThreadsChangesNoBit(Create, shape, 1, 2, 3, 3);
    }

    [Fact]
    public void An_infinite_input_reaches_only_what_its_taps_touch()
    {
        // Runs of 9 numbers, whose last pair has a number of the next pixel; no tap touches the last row and column of x.
        var shape = new ConvShape(1, 20, 40, 3, 8, 3, 3, 2, 0);
        float[] inputs = Values.Integers(shape.InputLength, 1);
        foreach ((int row, int column) in ((int, int)[])[(7, 11), (8, 39), (19, 4)]) inputs[((row * shape.W) + column) * shape.C] = float.PositiveInfinity;
        (float[] expected, float[] expectedGradient) = Run(new ReferenceBackend());
        using CudaBackend backend = Create();
        (float[] actual, float[] gradient) = Run(backend);
        Assert.Equal(expected.Select(float.IsFinite), actual.Select(float.IsFinite));
        Assert.Equal(expectedGradient.Select(float.IsFinite), gradient.Select(float.IsFinite));
        Assert.Contains(actual, v => !float.IsFinite(v));
        Assert.Contains(gradient, v => !float.IsFinite(v));

        (float[] Y, float[] Dw) Run(Backend on)
        {
            using var bench = new Workbench(on);
            DeviceBuffer x = bench.PutActivations(inputs), w = bench.Put(Values.Integers(shape.WeightLength, 2));
            DeviceBuffer y = bench.OutputActivations(shape.OutputLength), dw = bench.Output(shape.WeightLength);
            on.ConvForward(shape, x, w, y);
            on.ConvWeightGradient(shape, x, bench.PutActivations(Values.Integers(shape.OutputLength, 3)), dw);
            return (bench.Get(y), bench.Get(dw));
        }
    }

    [Theory]
    [InlineData(1, 8)]
    [InlineData(8, 8)]
    [InlineData(8, 9)]
    public void Inputs_may_start_anywhere_the_rest_on_multiples_of_16_bytes(int offset, int major)
    {
        using EmulatedDriver.Setting? machine = major == 9 ? CudaUnderTest.Hopper() : null;
        var shape = new ConvShape(1, 9, 18, 3, 8, 3, 3, 1, 1);
        using CudaBackend backend = Create();
        using var bench = new Workbench(backend);
        DeviceBuffer x = bench.PutActivations([.. new float[offset], .. Values.Integers(shape.InputLength, 1)]);
        DeviceBuffer w = bench.Put(Values.Integers(shape.WeightLength, 2)), y = bench.OutputActivations(shape.OutputLength);
        backend.ConvForward(shape, x.Slice(offset, shape.InputLength), w, y);
        using var reference = new Workbench(Candidates.ReferenceOf(backend));
        DeviceBuffer wanted = reference.OutputActivations(shape.OutputLength);
        reference.Backend.ConvForward(
            shape, reference.PutActivations(Values.Integers(shape.InputLength, 1)), reference.Put(Values.Integers(shape.WeightLength, 2)), wanted);
        Values.AssertExact(reference.Get(wanted), bench.Get(y));
    }

    [Theory]
    [InlineData(8)]
    [InlineData(9)]
    public void They_serve_the_first_convolutions_of_the_usual_nets(int major)
    {
        using EmulatedDriver.Setting? machine = major == 9 ? CudaUnderTest.Hopper() : null;
        using CudaBackend backend = Create();
        foreach ((ConvShape shape, string tile, string gradientTile) in ((ConvShape, string, string)[])
            [
                (new(256, 224, 224, 3, 64, 7, 7, 2, 3), "128x64", "192x64"),
                (new(128, 32, 32, 3, 16, 3, 3, 1, 1), "128x32", "64x64"),
            ])
        {
            ConvExplanation forward = backend.Explain(shape, ConvPass.Forward), gradient = backend.Explain(shape, ConvPass.WeightGradient);
            Assert.StartsWith($"few channels, {tile}, bf16 tensor cores", forward.Algorithm);
            Assert.StartsWith($"few channels, {gradientTile}, bf16 tensor cores", gradient.Algorithm);
            Assert.Contains("partial sums are added in order", gradient.Reason);
        }
    }

    [Theory]
    [InlineData(8, 64, 32, 7, "8 channels are more than 7")]
    [InlineData(3, 10, 32, 3, "10 output channels are no multiple of 8")]
    [InlineData(3, 16, 3, 3, "3x3 pixels leave boxes of 8x16 more than three quarters empty")]
    [InlineData(7, 64, 64, 41, "bytes of shared memory, more than 98304")]
    public void What_they_do_not_take_they_say(int c, int k, int map, int filter, string refusal)
    {
        FewChannelsPlan plan = FewChannelsPlan.Choose(new ConvShape(2, map, map, c, k, filter, filter, 1, filter / 2), ConvPass.Forward);
        Assert.Contains(refusal, plan.Refusal);
    }

    private static CudaBackend Create() => CudaUnderTest.CreateBackend(precision: CudaPrecision.Bf16);
}
