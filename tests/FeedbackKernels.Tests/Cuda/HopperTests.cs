using FeedbackKernels.Interop;
using FeedbackKernels.Tests.Conformance;

namespace FeedbackKernels.Tests.Cuda;

/// <summary>
/// TMA and wgmma on a device of compute capability 9.0. Integers of few bits are exact in bf16 and in every sum, so
/// a result is the reference's, rounded once to bf16.
/// </summary>
public class HopperTests
{
    // N H W C K R S stride padding.
    private static readonly Dictionary<string, ConvShape> Shapes = new()
    {
        ["1x1"] = new(2, 9, 10, 64, 64, 1, 1, 1, 0),
        ["1x1, 128 columns"] = new(3, 7, 7, 128, 192, 1, 1, 1, 0),
        ["1x1, more stages than the ring"] = new(1, 8, 8, 512, 136, 1, 1, 1, 0),
        ["1x1, box of channels not full"] = new(2, 6, 5, 48, 72, 1, 1, 1, 0),
        ["linear"] = ConvShape.Linear(150, 64, 40),
        ["3x3"] = new(2, 9, 11, 64, 64, 3, 3, 1, 1),
        ["3x3 on 7x7, a box of images"] = new(5, 7, 7, 64, 128, 3, 3, 1, 1),
        ["3x3, tail of channels"] = new(1, 6, 13, 96, 88, 3, 3, 1, 1),
        ["3x3 without padding"] = new(1, 12, 9, 64, 40, 3, 3, 1, 0),
        ["5x3, padded by 2"] = new(1, 8, 9, 64, 64, 5, 3, 1, 2),
        ["3x3 stride 2"] = new(2, 14, 14, 64, 128, 3, 3, 2, 1),
        ["3x3 stride 2, odd map"] = new(3, 9, 7, 64, 64, 3, 3, 2, 1),
        ["1x1 stride 2"] = new(2, 12, 12, 64, 128, 1, 1, 2, 0),
        ["3x3 on one pixel"] = new(4, 1, 1, 64, 64, 3, 3, 1, 1),
        ["3x3 stride 2, one odd side"] = new(1, 8, 11, 64, 64, 3, 3, 2, 1),
        ["3x3 stride 2 without padding"] = new(2, 13, 8, 64, 64, 3, 3, 2, 0),
        ["3x3 stride 2, padded by 2"] = new(1, 10, 13, 64, 64, 3, 3, 2, 2),
        ["3x3 stride 2 on four pixels"] = new(3, 2, 2, 64, 64, 3, 3, 2, 1),
        ["7x7 stride 2, padded by 3"] = new(1, 14, 14, 64, 64, 7, 7, 2, 3),
        ["7x7 stride 2, odd map"] = new(1, 13, 11, 64, 64, 7, 7, 2, 3),
        ["5x5 stride 2, padded by 2"] = new(1, 14, 9, 64, 64, 5, 5, 2, 2),
        ["5x3 stride 2, padded by 2"] = new(1, 9, 10, 64, 64, 5, 3, 2, 2),
        ["3x5 stride 2, padded by 2"] = new(1, 10, 9, 64, 64, 3, 5, 2, 2),
        ["4x4 stride 2, padded by 1"] = new(1, 12, 13, 64, 64, 4, 4, 2, 1),
        ["2x2 stride 2, padded by 1"] = new(2, 7, 8, 64, 64, 2, 2, 2, 1),
        ["1x1 stride 2, odd map"] = new(2, 13, 11, 64, 64, 1, 1, 2, 0),
        ["1x1 stride 2, padded by 1"] = new(2, 6, 7, 64, 64, 1, 1, 2, 1),
        ["2x2 stride 2 on four pixels"] = new(3, 2, 2, 64, 64, 2, 2, 2, 1),
        ["3x3 stride 2, tail of channels"] = new(1, 10, 6, 96, 88, 3, 3, 2, 1),
    };

    public static TheoryData<string> Names => [.. Shapes.Keys];

    /// <summary>Strided shapes with tiles of every width, by planes of pixels and by element strides.</summary>
    public static MatrixTheoryData<string, int, bool> Strided => new(StridedNames, [64, 128, 256], [false, true]);

    public static MatrixTheoryData<string, bool> StridedByEachWay => new(StridedNames, [false, true]);

    private static IEnumerable<string> StridedNames => Shapes.Where(s => s.Value.Stride == 2).Select(s => s.Key);

    [Theory, MemberData(nameof(Names))]
    public void All_passes_equal_the_reference(string name)
    {
        using var device = new Hopper();
        RunReference(Shapes[name]).AssertEqual(Run(device.Backend, Shapes[name]), Shapes[name]);
    }

    [Theory]
    [InlineData("1x1, more stages than the ring", 256)]
    [InlineData("3x3, tail of channels", 256)]
    [InlineData("1x1", 128)]
    [MemberData(nameof(Strided))]
    public void Tiles_of_other_widths_give_the_same(string name, int columns, bool traversalStrides = false)
    {
        using var device = new Hopper(traversalStrides);
        RunReference(Shapes[name]).AssertEqual(Run(device.Backend, Shapes[name], columns), Shapes[name]);
    }

    /// <summary>Also as a backend chooses its plans, and the reference stores bf16 as the backend does.</summary>
    [Theory, MemberData(nameof(StridedByEachWay))]
    public void The_TMA_reads_every_second_pixel_in_the_way_that_is_asked_for(string name, bool traversalStrides)
    {
        using var device = new Hopper(traversalStrides);
        foreach (ConvPass pass in (ConvPass[])[ConvPass.Forward, ConvPass.WeightGradient])
        {
            ConvExplanation explanation = device.Backend.Explain(Shapes[name], pass);
            Assert.Contains("wgmma", explanation.Algorithm);
            Assert.Contains(traversalStrides ? "by element strides of 2" : "from 4 planes of pixels", explanation.Reason);
        }

        ConvolutionTests.AllPassesEqualTheReference(device.Backend, Shapes[name]);
    }

    [Fact]
    public void A_plane_without_pixels_is_left_to_other_kernels() =>
        Assert.Contains("no pixel", HopperPlan.Choose(new ConvShape(2, 1, 8, 64, 64, 3, 3, 2, 1), ConvPass.Forward).Refusal);

    [Theory]
    [InlineData(1, 4, 4)]
    [InlineData(2, 4, 4)]
    [InlineData(1, 6, 8)]
    [InlineData(2, 2, 16)]
    public void Weight_gradients_reduce_over_boxes_of_any_multiple_of_16_pixels(int images, int rows, int columns)
    {
        ConvShape shape = Shapes["3x3"];
        using var device = new Hopper();
        var box = new PixelBox(images, rows, columns);
        Values.AssertExact(RunReference(shape).Dw, Run(device.Backend, shape, gradientBox: box).Dw);
    }

    [Theory]
    [InlineData(56, 1)]
    [InlineData(28, 1)]
    [InlineData(28, 2)]
    [InlineData(14, 1)]
    [InlineData(7, 1)]
    public void Weight_gradients_of_a_ResNet_fill_the_boxes_of_a_stage(int map, int stride)
    {
        // Channels of a box by as many pixels: the square of a stage in shared memory.
        var shape = new ConvShape(256, map * stride, map * stride, 64, 64, 3, 3, stride, 1);
        Assert.Equal(HopperPlan.BoxChannels, HopperPlan.Choose(shape, ConvPass.WeightGradient).Box.Pixels);
    }

    [Fact]
    public void In_graphs_they_give_the_same()
    {
        ConvShape shape = Shapes["3x3 stride 2"];
        using var device = new Hopper();
        Results expected = RunReference(shape);
        // The second step of the same structure is at other addresses: its tensor maps are set anew.
        for (int step = 1; step <= 2; step++)
        {
            expected.AssertEqual(Run(device.Backend, shape, inGraph: true), shape);
            Assert.Equal(step, device.Backend.Launched.Graphs);
        }
    }

    private static Results Run(CudaBackend backend, ConvShape shape, int columns = 0, bool inGraph = false, PixelBox gradientBox = default)
    {
        using var bench = new Workbench(backend);
        DeviceBuffer x = Put(shape.InputLength, 1), w = Put(shape.WeightLength, 2), b = Put(shape.WeightLength, 3), dy = Put(shape.OutputLength, 4);
        DeviceBuffer y = Put(shape.OutputLength, 9), dx = Put(shape.InputLength, 9), dxSum = Put(shape.InputLength, 5), dxTransposed = Put(shape.InputLength, 9);
        DeviceBuffer mean = bench.Output(shape.K), variance = bench.Output(shape.K);
        DeviceBuffer dw = bench.Output(shape.WeightLength);
        HopperPlan gradientPlan = Plan(ConvPass.WeightGradient);
        if (gradientBox != default)
        {
            long boxes = gradientBox.Covering(shape.N, shape.P, shape.Q);
            gradientPlan = gradientPlan with { Box = gradientBox, Boxes = boxes, Split = SplitK.Of(boxes, 2) };
        }

        HopperConvolution forward = Planned(ConvPass.Forward, Plan(ConvPass.Forward)), feedback = Planned(ConvPass.Feedback, Plan(ConvPass.Feedback));
        HopperConvolution gradient = Planned(ConvPass.WeightGradient, gradientPlan);
        DeviceBuffer other = bench.Output(1);
        using StepScope step = inGraph ? backend.BeginStep() : default;
        // Fewer launches would not make a graph.
        for (int i = 0; inGraph && i < 8; i++) backend.Fill(other, i);
        forward.Forward(x, w, y, new ConvEpilogue(Statistics: new BatchStatistics(mean, variance)));
        feedback.Feedback(dy, b, FeedbackLayout.Feedback, dx, accumulate: false);
        feedback.Feedback(dy, b, FeedbackLayout.Feedback, dxSum, accumulate: true);
        feedback.Feedback(dy, w, FeedbackLayout.Forward, dxTransposed, accumulate: false);
        gradient.WeightGradient(x, dy, dw);
        step.Complete();
        return new Results(Get(y), Get(dx), Get(dxSum), Get(dxTransposed), bench.Get(mean), bench.Get(variance), bench.Get(dw));

        HopperConvolution Planned(ConvPass pass, in HopperPlan plan) => new(backend, ConvRequest.Of(shape, pass, ElementType.BFloat16), plan);

        HopperPlan Plan(ConvPass pass)
        {
            HopperPlan plan = HopperPlan.Choose(shape, pass);
            Assert.Null(plan.Refusal);
            return columns == 0 || pass == ConvPass.WeightGradient ? plan : plan with { Columns = columns };
        }

        DeviceBuffer Put(long length, uint stream)
        {
            DeviceBuffer buffer = backend.Allocate(length, "test", ElementType.BFloat16);
            backend.Upload<BFloat16>([.. Values.Integers(length, stream, 2).Select(v => (BFloat16)v)], buffer);
            return buffer;
        }

        float[] Get(DeviceBuffer buffer)
        {
            var values = new BFloat16[buffer.Length];
            backend.Download<BFloat16>(buffer, values);
            return [.. values.Select(v => (float)v)];
        }
    }

    private static Results RunReference(ConvShape shape)
    {
        using var bench = new Workbench(new ReferenceBackend());
        DeviceBuffer x = Put(shape.InputLength, 1), w = Put(shape.WeightLength, 2), b = Put(shape.WeightLength, 3), dy = Put(shape.OutputLength, 4);
        DeviceBuffer y = bench.Output(shape.OutputLength), dx = bench.Output(shape.InputLength), dxSum = Put(shape.InputLength, 5), dxTransposed = bench.Output(shape.InputLength);
        DeviceBuffer mean = bench.Output(shape.K), variance = bench.Output(shape.K);
        bench.Backend.ConvForward(shape, x, w, y);
        float[] rounded = Rounded(y);
        bench.Backend.BatchNormStatistics(shape.OutputLength / shape.K, shape.K, bench.Put(rounded), new BatchStatistics(mean, variance));
        bench.Backend.ConvFeedback(shape, dy, b, FeedbackLayout.Feedback, dx);
        bench.Backend.ConvFeedback(shape, dy, b, FeedbackLayout.Feedback, dxSum, accumulate: true);
        bench.Backend.ConvFeedback(shape, dy, w, FeedbackLayout.Forward, dxTransposed);
        DeviceBuffer dw = bench.Output(shape.WeightLength);
        bench.Backend.ConvWeightGradient(shape, x, dy, dw);
        return new Results(rounded, Rounded(dx), Rounded(dxSum), Rounded(dxTransposed), bench.Get(mean), bench.Get(variance), bench.Get(dw));

        DeviceBuffer Put(long length, uint stream) => bench.Put(Values.Integers(length, stream, 2));
        float[] Rounded(DeviceBuffer buffer) => [.. bench.Get(buffer).Select(v => (float)(BFloat16)v)];
    }

    private sealed record Results(float[] Y, float[] Dx, float[] DxSum, float[] DxTransposed, float[] Mean, float[] Variance, float[] Dw)
    {
        public void AssertEqual(Results actual, ConvShape shape)
        {
            // Of a filter smaller than its stride many pixels hear nothing, and of a map smaller than the filter many taps.
            double mostZeros = shape.Stride > Math.Min(shape.R, shape.S) || shape.H < shape.R || shape.Padding >= Math.Min(shape.R, shape.S) ? 1 : 0.9;
            Values.AssertExact(Y, actual.Y, mostZeros);
            Values.AssertExact(Dx, actual.Dx, mostZeros);
            Values.AssertExact(DxSum, actual.DxSum);
            Values.AssertExact(DxTransposed, actual.DxTransposed, mostZeros);
            Values.AssertExact(Dw, actual.Dw, mostZeros);
            Values.AssertClose(Mean, actual.Mean, 4);
            Values.AssertClose(Variance, actual.Variance, 64);
        }
    }

    // A backend on a Hopper, for as long as the test's thread has one.
    private sealed class Hopper : IDisposable
    {
        private readonly EmulatedDriver.Setting? _capability = CudaUnderTest.Hopper();

        public Hopper(bool traversalStrides = false) =>
            Backend = new CudaBackend(driver: CudaUnderTest.Path, precision: CudaPrecision.Bf16) { TraversalStrides = traversalStrides };

        public CudaBackend Backend { get; }

        public void Dispose()
        {
            Backend.Dispose();
            _capability?.Dispose();
        }
    }
}
