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
        foreach (string candidate in new Candidates().Select(c => c.Data))
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

    [Theory, ClassData(typeof(Candidates))]
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

    [Fact]
    public void The_forward_weights_are_not_touched()
    {
        using var backend = new CpuBackend(2);
        using var bench = new Workbench(backend);
        float[] before = Values.Normal(Layer.WeightLength, 1);
        DeviceBuffer w = bench.Put(before), correlation = bench.Output(Layer.WeightLength);
        var noise = new MirrorNoise(NoiseKind.Gaussian, Layer.FanIn, 1, 1, 1);
        backend.MirrorCorrelate(new MirrorStep(Layer, noise, 0, 16), w, correlation);
        Values.AssertSameBits(before, bench.Get(w));
    }
}
