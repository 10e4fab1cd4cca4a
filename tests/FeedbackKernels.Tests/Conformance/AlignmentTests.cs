using FeedbackKernels.Interop;

namespace FeedbackKernels.Tests.Conformance;

/// <summary>Angles and norms between W and B.</summary>
[Trait("Category", "Conformance")]
public class AlignmentTests
{
    [Theory, ClassData(typeof(Candidates))]
    public void Alignment_equals_the_reference(string candidate)
    {
        using Backend backend = Candidates.Create(candidate);
        foreach (ConvShape shape in Sizes.Layers)
        {
            WeightAlignment expected = Run(new ReferenceBackend()), actual = Run(backend);
            Assert.Equal(expected.AngleDegrees, actual.AngleDegrees, 1e-9);
            Assert.Equal(expected.NormRatio, actual.NormRatio, 1e-12);

            WeightAlignment Run(Backend on)
            {
                using var bench = new Workbench(on);
                return on.Align(shape, bench.Put(Values.Normal(shape.WeightLength, 1)), bench.Put(Values.Normal(shape.WeightLength, 2)));
            }
        }
    }

    [Theory, ClassData(typeof(Candidates))]
    public void Alignment_of_a_transpose_is_zero_degrees(string candidate)
    {
        using Backend backend = Candidates.Create(candidate);
        using var bench = new Workbench(backend);
        ConvShape shape = Sizes.Layers[2];
        DeviceBuffer w = bench.Put(Values.Normal(shape.WeightLength, 1)), b = bench.Output(shape.WeightLength);
        backend.TransposedCombine(shape, 3, w, 0, default, b);
        WeightAlignment alignment = backend.Align(shape, w, b);
        Assert.Equal(0, alignment.AngleDegrees, 0.01);
        Assert.Equal(3, alignment.NormRatio, 1e-6);
        Assert.Equal(0, backend.Compare(shape.WeightLength, w, w).AngleDegrees, 1e-3);
    }
}
