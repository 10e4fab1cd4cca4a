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
    public void Update_equals_the_reference(string candidate, NoiseKind noise, MirrorForm form, bool relu)
    {
        using Backend backend = Candidates.Create(candidate);
        float[] expected = Run(new ReferenceBackend()), actual = Run(backend);
        Values.AssertClose(expected, actual, 50 * Layer.FanIn);

        float[] Run(Backend on)
        {
            using var bench = new Workbench(on);
            DeviceBuffer w = bench.Put(Values.Normal(Layer.WeightLength, 1)), b = bench.Put(Values.Normal(Layer.WeightLength, 2));
            var stream = new MirrorNoise(noise, MirrorStep.SampleLength(Layer, form), 0.1f, 77, 3);
            var step = new MirrorStep(Layer, stream, 40, 50, 0.3f, form, relu);
            on.MirrorUpdate(step, w, b);
            return bench.Get(b);
        }
    }

    [Theory, ClassData(typeof(Candidates))]
    public void A_whole_cycle_of_balanced_noise_reads_W_exactly(string candidate)
    {
        // Rate 1 replaces B by the correlation alone; over a cycle the noise's second moment is the identity, so B = W^T.
        using Backend backend = Candidates.Create(candidate);
        using var bench = new Workbench(backend);
        DeviceBuffer w = bench.Put(Values.Normal(Layer.WeightLength, 1)), b = bench.Put(Values.Normal(Layer.WeightLength, 2));
        DeviceBuffer transpose = bench.Output(Layer.WeightLength);
        var noise = new MirrorNoise(NoiseKind.Balanced, Layer.FanIn, 0.5f, 1, 1);
        backend.MirrorUpdate(new MirrorStep(Layer, noise, noise.CycleLength, noise.CycleLength, 1), w, b);
        backend.TransposedCombine(Layer, 1, w, 0, default, transpose);
        Values.AssertClose(bench.Get(transpose), bench.Get(b), noise.CycleLength);
    }

    [Fact]
    public void The_forward_weights_are_not_touched()
    {
        using var backend = new CpuBackend(2);
        using var bench = new Workbench(backend);
        float[] before = Values.Normal(Layer.WeightLength, 1);
        DeviceBuffer w = bench.Put(before), b = bench.Put(Values.Normal(Layer.WeightLength, 2));
        var noise = new MirrorNoise(NoiseKind.Gaussian, Layer.FanIn, 1, 1, 1);
        backend.MirrorUpdate(new MirrorStep(Layer, noise, 0, 16, 0.1f), w, b);
        Values.AssertSameBits(before, bench.Get(w));
    }
}
