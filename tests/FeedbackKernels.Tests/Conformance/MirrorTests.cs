using FeedbackKernels.Interop;

namespace FeedbackKernels.Tests.Conformance;

[Trait("Category", "Conformance")]
public class MirrorTests
{
    private static readonly ConvShape Layer = new(1, 7, 8, 5, 19, 3, 3, 2, 1);

    // Channels that kernels take 16 bytes at a time.
    private static readonly ConvShape WideLayer = new(1, 7, 8, 8, 24, 3, 3, 2, 1);

    public static TheoryData<string, NoiseKind, MirrorForm, bool> Cases()
    {
        var data = new TheoryData<string, NoiseKind, MirrorForm, bool>();
        foreach (string candidate in Candidates.WithTruncation())
        {
            foreach (NoiseKind noise in Enum.GetValues<NoiseKind>())
            {
                foreach (MirrorForm form in Enum.GetValues<MirrorForm>())
                {
                    data.Add(candidate, noise, form, false);
                    data.Add(candidate, noise, form, true);
                }
            }
        }

        return data;
    }

    [Theory, MemberData(nameof(Cases))]
    public void Correlation_equals_the_reference(string candidate, NoiseKind noise, MirrorForm form, bool relu)
    {
        using Backend backend = Candidates.Create(candidate);
        foreach (ConvShape layer in (ConvShape[])[Layer, WideLayer])
        {
            foreach (bool accumulate in (bool[])[false, true])
                AssertClose(Run(Candidates.ReferenceOf(backend), layer, accumulate), Run(backend, layer, accumulate), 50 * layer.FanIn, backend);
        }

        float[] Run(Backend on, ConvShape layer, bool accumulate)
        {
            using var bench = new Workbench(on);
            DeviceBuffer w = bench.Put(Values.Normal(layer.WeightLength, 1)), correlation = bench.Put(Values.Normal(layer.WeightLength, 2));
            var stream = new MirrorNoise(noise, MirrorStep.SampleLength(layer, form), 0.5f, 77, 3);
            on.MirrorCorrelate(new MirrorStep(layer, stream, 40, 50, form, relu), w, correlation, accumulate);
            return bench.Get(correlation);
        }
    }

    private static void AssertClose(float[] expected, float[] actual, double terms, Backend backend)
    {
        // A response that is rounded the other way is an operand of the sums: an error of the kind that the rounding itself is.
        if (backend.ActivationType == ElementType.BFloat16) Values.AssertCloseInBf16(expected, actual);
        else Values.AssertClose(expected, actual, terms);
    }

    [Theory, ClassData(typeof(TensorCoreCandidates))]
    public void A_whole_cycle_of_balanced_noise_reads_W_exactly(string candidate)
    {
        using Backend backend = Candidates.Create(candidate);
        using var bench = new Workbench(backend);
        float[] w = Values.Normal(Layer.WeightLength, 1);
        DeviceBuffer correlation = bench.Output(Layer.WeightLength);
        var noise = new MirrorNoise(NoiseKind.Balanced, Layer.FanIn, 0.5f, 1, 1);
        var step = new MirrorStep(Layer, noise, noise.CycleLength, noise.CycleLength);
        backend.MirrorCorrelate(step, bench.Put(w), correlation);
        AssertClose(w, [.. bench.Get(correlation).Select(v => (float)(v / step.CorrelationGain))], noise.CycleLength, backend);
    }

    [Theory, ClassData(typeof(TensorCoreCandidates))]
    public void A_correction_equals_the_reference(string candidate)
    {
        using Backend backend = Candidates.Create(candidate);
        foreach (NoiseKind noise in Enum.GetValues<NoiseKind>())
        {
            foreach (ConvShape layer in (ConvShape[])[Layer, WideLayer])
            {
                float[] expected = Run(Candidates.ReferenceOf(backend), layer, noise), actual = Run(backend, layer, noise);
                if (backend.ActivationType == ElementType.BFloat16) Values.AssertCloseInBf16(expected, actual);
                else Values.AssertClose(expected, actual, 20 * layer.FanIn);
            }
        }

        static float[] Run(Backend on, ConvShape layer, NoiseKind noise)
        {
            using var bench = new Workbench(on);
            DeviceBuffer w = bench.Put(Values.Normal(layer.WeightLength, 1)), b = bench.Put(Values.Normal(layer.WeightLength, 2));
            DeviceBuffer? copy = bench.OutputCopy(layer.WeightLength);
            on.MirrorCorrect(new MirrorStep(layer, new MirrorNoise(noise, layer.FanIn, 0.5f, 77, 3), 40, 20), w, 0.75f, b, copy);
            bench.AssertIsCopy(b, copy);
            return bench.Get(b);
        }
    }

    [Theory, ClassData(typeof(TensorCoreCandidates))]
    public void Where_a_cycle_is_as_long_as_the_fan_in_it_corrects_any_B_to_the_weights_bit_for_bit(string candidate)
    {
        // Fan-in 32; integers of few bits and powers of two, so each sum is exact in binary32.
        var layer = new ConvShape(1, 6, 6, 8, 19, 2, 2, 1, 0);
        using Backend backend = Candidates.Create(candidate);
        using var bench = new Workbench(backend);
        float[] weights = Values.Integers(layer.WeightLength, 1);
        DeviceBuffer w = bench.Put(weights), b = bench.Put(Values.Integers(layer.WeightLength, 2)), expected = bench.Output(layer.WeightLength);
        backend.TransposedCombine(layer, 1, w, 0, default, expected);
        var noise = new MirrorNoise(NoiseKind.Balanced, layer.FanIn, 0.5f, 1, 1);
        // Each row once, in parts of several lengths, from the middle of the cycle on.
        foreach ((int first, int samples) in ((int, int)[])[(11, 16), (27, 5), (0, 1), (1, 10)])
        {
            Assert.NotEqual(bench.Get(expected), bench.Get(b));
            backend.MirrorCorrect(new MirrorStep(layer, noise, 32 + first, samples), w, 1, b);
        }

        // Bf16 rounds the responses to 8 bits, of which each correction leaves a 2^-9.
        if (backend.ActivationType == ElementType.BFloat16) Values.AssertCloseInBf16(bench.Get(expected), bench.Get(b));
        else Values.AssertExact(bench.Get(expected), bench.Get(b));
    }

    [Theory, ClassData(typeof(TensorCoreCandidates))]
    public void Where_a_cycle_is_as_long_as_a_fan_in_that_is_no_power_of_two_it_corrects_any_B_to_the_weights(string candidate)
    {
        using Backend backend = Candidates.Create(candidate);
        // Fan-ins 36, 72 and 144 of 3x3 layers, 28 and 56 of 2x2 layers, 12 and 24 of 1x1 layers: all of Paley's matrices.
        foreach ((int channels, int size) in ((int, int)[])[(4, 3), (8, 3), (16, 3), (7, 2), (14, 2), (12, 1), (24, 1)])
        {
            var layer = new ConvShape(1, 6, 6, channels, 19, size, size, 1, 0);
            using var bench = new Workbench(backend);
            DeviceBuffer w = bench.Put(Values.Normal(layer.WeightLength, 1)), b = bench.Put(Values.Normal(layer.WeightLength, 2));
            DeviceBuffer expected = bench.Output(layer.WeightLength);
            backend.TransposedCombine(layer, 1, w, 0, default, expected);
            var noise = new MirrorNoise(NoiseKind.Balanced, layer.FanIn, 0.5f, 1, 1);
            Assert.Equal(layer.FanIn, noise.CycleLength);
            for (int first = 0; first < layer.FanIn; first += 4) backend.MirrorCorrect(new MirrorStep(layer, noise, first, 4), w, 1, b);
            if (backend.ActivationType == ElementType.BFloat16) Values.AssertCloseInBf16(bench.Get(expected), bench.Get(b));
            else Values.AssertClose(bench.Get(expected), bench.Get(b), 4 * layer.FanIn);
        }
    }

    [Theory, ClassData(typeof(TensorCoreCandidates))]
    public void Corrections_go_on_to_the_precision_of_the_masters(string candidate)
    {
        // Fan-in 45 and cycles of 48: each cycle leaves a small part. Operands in bf16 do not stop that at 2^-9.
        using Backend backend = Candidates.Create(candidate);
        using var bench = new Workbench(backend);
        DeviceBuffer w = bench.Put(Values.Normal(Layer.WeightLength, 1)), b = bench.Put(Values.Normal(Layer.WeightLength, 2));
        var noise = new MirrorNoise(NoiseKind.Balanced, Layer.FanIn, 3, 1, 1);
        double last = 90;
        for (int cycle = 0; cycle < 12; cycle++)
        {
            for (int first = 0; first < noise.CycleLength; first += 16) backend.MirrorCorrect(new MirrorStep(Layer, noise, first, 16), w, 1, b);
            double angle = backend.Align(Layer, w, b).AngleDegrees;
            Assert.True(angle < Math.Max(0.5 * last, 1e-3), $"cycle {cycle}: {angle} degrees after {last}");
            last = angle;
        }
    }

    [Theory]
    [InlineData(NoiseKind.Balanced)]
    [InlineData(NoiseKind.Gaussian)]
    [InlineData(NoiseKind.Sign)]
    public void The_factor_of_a_correction_leaves_the_least_error(NoiseKind kind)
    {
        // One step from many random B: with more or less than the factor the mean square error is larger.
        var layer = ConvShape.Linear(1, 24, 400);
        using var backend = new CpuBackend();
        using var bench = new Workbench(backend);
        double[] errors = [.. ((float[])[0.8f, 1, 1.2f]).Select(rate => Enumerable.Range(0, 200).Sum(trial => ErrorAfter(rate, trial)))];
        Assert.True(errors[1] < errors[0] && errors[1] < errors[2], string.Join(", ", errors));

        double ErrorAfter(float rate, int trial)
        {
            float[] zero = new float[layer.WeightLength];
            using DeviceBuffer w = backend.Allocate(zero.Length, "W"), b = backend.Allocate(zero.Length, "B");
            backend.Upload<float>(zero, w);
            backend.Upload<float>(Values.Normal(zero.Length, 3), b);
            var noise = new MirrorNoise(kind, layer.FanIn, 2, (ulong)trial, 1);
            backend.MirrorCorrect(new MirrorStep(layer, noise, 0, 10), w, rate, b);
            return backend.Download(b).Sum(v => (double)v * v);
        }
    }

    [Fact]
    public void The_forward_weights_are_not_touched()
    {
        using var backend = new CpuBackend(2);
        using var bench = new Workbench(backend);
        float[] before = Values.Normal(Layer.WeightLength, 1);
        DeviceBuffer w = bench.Put(before), correlation = bench.Output(Layer.WeightLength);
        var noise = new MirrorNoise(NoiseKind.Gaussian, Layer.FanIn, 1, 1, 1);
        backend.MirrorCorrelate(new MirrorStep(Layer, noise, 0, 16), w, correlation);
        backend.MirrorCorrect(new MirrorStep(Layer, noise, 0, 16), w, 1, correlation);
        Values.AssertSameBits(before, bench.Get(w));
    }
}
