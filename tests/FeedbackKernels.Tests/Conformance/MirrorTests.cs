using FeedbackKernels.Interop;

namespace FeedbackKernels.Tests.Conformance;

[Trait("Category", "Conformance")]
public class MirrorTests
{
    private static readonly ConvShape Layer = new(1, 7, 8, 5, 19, 3, 3, 2, 1);

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
        foreach (bool accumulate in (bool[])[false, true])
        {
            float[] expected = Run(new ReferenceBackend()), actual = Run(backend);
            Values.AssertClose(expected, actual, 50 * Layer.FanIn);

            float[] Run(Backend on)
            {
                using var bench = new Workbench(on);
                DeviceBuffer w = bench.Put(Values.Normal(Layer.WeightLength, 1)), correlation = bench.Put(Values.Normal(Layer.WeightLength, 2));
                var stream = new MirrorNoise(noise, MirrorStep.SampleLength(Layer, form), 0.5f, 77, 3);
                on.MirrorCorrelate(new MirrorStep(Layer, stream, 40, 50, form, relu), w, correlation, accumulate);
                return bench.Get(correlation);
            }
        }
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
        Values.AssertClose(w, [.. bench.Get(correlation).Select(v => (float)(v / step.CorrelationGain))], noise.CycleLength);
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
