using FeedbackKernels.Interop;

namespace FeedbackKernels.Tests.Conformance;

/// <summary>Feedback weights made from forward weights.</summary>
[Trait("Category", "Conformance")]
public class FeedbackWeightsTests
{
    [Theory, ClassData(typeof(Candidates))]
    public void Transposed_combine_and_signs_equal_the_reference(string candidate)
    {
        using Backend backend = Candidates.Create(candidate);
        foreach (ConvShape shape in Sizes.Layers)
        {
            foreach ((float[] expected, float[] actual) in Run(Candidates.ReferenceOf(backend)).Zip(Run(backend)))
                Values.AssertExact(expected, actual);

            float[][] Run(Backend on)
            {
                using var bench = new Workbench(on);
                DeviceBuffer w = bench.Put(Values.Integers(shape.WeightLength, 1)), r = bench.Put(Values.Integers(shape.WeightLength, 2));
                DeviceBuffer transpose = bench.Output(shape.WeightLength), blend = bench.Output(shape.WeightLength);
                DeviceBuffer signs = bench.Output(shape.WeightLength), magnitudes = bench.Output(shape.WeightLength);
                DeviceBuffer? blendCopy = bench.OutputCopy(shape.WeightLength), signsCopy = bench.OutputCopy(shape.WeightLength);
                on.TransposedCombine(shape, 1, w, 0, default, transpose);
                on.TransposedCombine(shape, 2, w, -3, r, blend, blendCopy);
                on.SignTransposed(shape, w, default, 0.3f, signs, signsCopy);
                on.SignTransposed(shape, w, r, 2, magnitudes);
                bench.AssertIsCopy(blend, blendCopy);
                bench.AssertIsCopy(signs, signsCopy);
                return [bench.Get(transpose), bench.Get(blend), bench.Get(signs), bench.Get(magnitudes)];
            }
        }
    }
}
