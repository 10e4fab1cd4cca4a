using CsCheck;
using FeedbackKernels.Interop;
using FeedbackKernels.Models;
using FeedbackKernels.Tests.Conformance;
using FeedbackKernels.Tests.Models;
using FeedbackKernels.Tests.Training;
using FeedbackKernels.Training;

namespace FeedbackKernels.Tests.Cuda;

/// <summary>
/// Products on tensor cores. Small integers are exact in bf16, so there the kernels equal the reference bit for bit; other
/// numbers are rounded to 8 bits before they are multiplied.
/// </summary>
public class TensorCoreTests
{
    public static TheoryData<string> Names => [.. ConvolutionTests.ShapeList.Keys];

    [Theory, MemberData(nameof(Names))]
    public void Named_shapes_equal_the_reference(string name)
    {
        using CudaBackend backend = Create();
        ConvolutionTests.AllPassesEqualTheReference(backend, ConvolutionTests.ShapeList[name]);
    }

    [Fact]
    public void Random_shapes_equal_the_reference()
    {
        using CudaBackend backend = Create();
        ConvolutionTests.Shapes.Sample(shape => ConvolutionTests.AllPassesEqualTheReference(backend, shape), iter: 30, threads: 1);
    }

    [Fact]
    public void Random_values_are_off_by_the_rounding_to_bf16_and_no_more()
    {
        var shape = new ConvShape(2, 13, 14, 48, 40, 3, 3, 1, 1);
        using CudaBackend backend = Create();
        ConvolutionTests.Results expected = ConvolutionTests.RunAll(new ReferenceBackend(), shape, Values.Normal);
        ConvolutionTests.Results actual = ConvolutionTests.RunAll(backend, shape, Values.Normal);
        Values.AssertCloseInBf16(expected.Y, actual.Y);
        Values.AssertCloseInBf16(expected.Dx, actual.Dx);
        Values.AssertCloseInBf16(expected.DxSum, actual.DxSum);
        Values.AssertCloseInBf16(expected.DxTransposed, actual.DxTransposed);
        Values.AssertCloseInBf16(expected.Dw, actual.Dw);
        Values.AssertCloseInBf16(expected.Mean, actual.Mean);
        Values.AssertCloseInBf16(expected.Variance, actual.Variance);
        // They were rounded: what this tests did happen.
        double relative = expected.Y.Zip(actual.Y, (a, b) => Math.Abs((double)a - b)).Max() / expected.Y.Max();
        Assert.InRange(relative, 1e-4, 1);
    }

    [Fact]
    public void Epilogue_equals_the_reference()
    {
        using CudaBackend backend = Create();
        foreach (ConvShape shape in (ConvShape[])[new(2, 9, 10, 5, 19, 3, 3, 1, 1), new(2, 8, 8, 16, 32, 1, 1, 1, 0), ConvShape.Linear(40, 7, 70)])
        {
            foreach (Activation activation in (Activation[])[Activation.None, Activation.Relu])
            {
                Values.AssertExact(
                    ConvolutionTests.RunEpilogue(new ReferenceBackend(), shape, activation), ConvolutionTests.RunEpilogue(backend, shape, activation));
            }
        }
    }

    [Fact]
    public void Feedback_reads_W_and_its_transpose_to_the_same_bits()
    {
        using CudaBackend backend = Create();
        ConvolutionTests.AssertBothLayoutsGiveTheSameBits(backend, new ConvShape(3, 9, 10, 19, 35, 3, 3, 2, 1));
        ConvolutionTests.AssertBothLayoutsGiveTheSameBits(backend, new ConvShape(2, 7, 7, 20, 36, 3, 3, 1, 1));
    }

    [Theory]
    [InlineData(NoiseKind.Balanced)]
    [InlineData(NoiseKind.Gaussian)]
    [InlineData(NoiseKind.Sign)]
    public void Mirror_equals_the_reference(NoiseKind kind)
    {
        using CudaBackend backend = Create();
        var layer = new ConvShape(1, 7, 8, 8, 20, 3, 3, 2, 1);
        foreach (MirrorForm form in Enum.GetValues<MirrorForm>())
        {
            Values.AssertCloseInBf16(Run(new ReferenceBackend()), Run(backend));

            float[] Run(Backend on)
            {
                using var bench = new Workbench(on);
                DeviceBuffer w = bench.Put(Values.Normal(layer.WeightLength, 1)), correlation = bench.Output(layer.WeightLength);
                var noise = new MirrorNoise(kind, MirrorStep.SampleLength(layer, form), 0.5f, 77, 3);
                on.MirrorCorrelate(new MirrorStep(layer, noise, 40, 150, form), w, correlation);
                return bench.Get(correlation);
            }
        }
    }

    [Theory]
    [InlineData("bp")]
    [InlineData("fa")]
    [InlineData("ss")]
    [InlineData("wm")]
    [InlineData("kp-early")]
    [InlineData("dfa")]
    public void Training_follows_the_cpu_within_the_rounding_to_bf16(string rule)
    {
        double[] cpu = Losses(new CpuBackend(exact: true)), cuda = Losses(Create());
        // A part in 100 of the first loss, and one in 20 after eight steps on noise.
        Assert.Equal(cpu[0], cuda[0], 0.01 * cpu[0]);
        for (int step = 0; step < cpu.Length; step++) Assert.Equal(cpu[step], cuda[step], 0.05 * cpu[step]);
        Assert.True(cuda[^1] < cuda[0]);

        double[] Losses(Backend backend)
        {
            using (backend)
            {
                using var model = new Model(backend, TestNets.Residual(), TrainerTests.RulesOf(rule), 20, seed: 7);
                var sgd = new Sgd(model, TrainerTests.Options(1) with { Batch = 20 });
                return [.. Enumerable.Range(0, 8).Select(step =>
                {
                    TestNets.LoadBatch(model, 20, (uint)(step % 2));
                    double loss = TestNets.Step(model, 20);
                    sgd.Update(step, 0.05f);
                    return loss;
                })];
            }
        }
    }

    [Fact]
    public void Other_backends_refuse_the_precision()
    {
        foreach (string name in (string[])["cpu", "reference"])
            Assert.Contains("fp32", Assert.Throws<ArgumentException>(() => Backends.Create(name, precision: CudaPrecision.Bf16)).Message);
    }

    [Fact]
    public void Auto_takes_no_settings_of_the_cpu_with_the_precision()
    {
        foreach ((int threads, SimdLevel? level) in ((int, SimdLevel?)[])[(2, null), (0, SimdLevel.Scalar)])
        {
            var e = Assert.Throws<ArgumentException>(() => Backends.Create("auto", threads, level, precision: CudaPrecision.Bf16));
            Assert.Contains("neither threads nor a SIMD level", e.Message);
        }
    }

    private static CudaBackend Create()
    {
        CudaUnderTest.Require();
        return CudaUnderTest.CreateBackend(precision: CudaPrecision.Bf16);
    }
}
