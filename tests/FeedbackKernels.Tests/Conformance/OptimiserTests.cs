using FeedbackKernels.Interop;

namespace FeedbackKernels.Tests.Conformance;

/// <summary>Updates of SGD, on W, on B and on both, and the clipping of gradients.</summary>
[Trait("Category", "Conformance")]
public class OptimiserTests
{
    [Theory, ClassData(typeof(Candidates))]
    public void Sgd_equals_the_reference(string candidate)
    {
        using Backend backend = Candidates.Create(candidate);
        foreach (bool nesterov in (bool[])[false, true])
        {
            var step = new SgdStep(0.1f, 0.9f, 5e-4f, nesterov, 0.5f, 0.98f);
            foreach (int length in Sizes.Lengths)
            {
                (float[] expectedW, float[] expectedV) = Run(Candidates.ReferenceOf(backend));
                (float[] w, float[] v) = Run(backend);
                Values.AssertClose(expectedW, w, 4);
                Values.AssertClose(expectedV, v, 4);

                (float[], float[]) Run(Backend on)
                {
                    using var bench = new Workbench(on);
                    DeviceBuffer parameter = bench.Put(Values.Normal(length, 1)), velocity = bench.Put(Values.Normal(length, 2));
                    DeviceBuffer? copy = bench.OutputCopy(length);
                    on.SgdUpdate(length, parameter, bench.Put(Values.Normal(length, 3)), velocity, step, copy);
                    bench.AssertIsCopy(parameter, copy);
                    return (bench.Get(parameter), bench.Get(velocity));
                }
            }
        }
    }

    [Theory, ClassData(typeof(Candidates))]
    public void Transposed_sgd_is_sgd_on_the_transpose(string candidate)
    {
        using Backend backend = Candidates.Create(candidate);
        var step = new SgdStep(0.1f, 0.9f, 5e-4f, true);
        foreach (ConvShape shape in Sizes.Layers)
        {
            using var bench = new Workbench(backend);
            DeviceBuffer w = bench.Put(Values.Normal(shape.WeightLength, 1)), v = bench.Put(Values.Normal(shape.WeightLength, 2));
            DeviceBuffer dw = bench.Put(Values.Normal(shape.WeightLength, 3));
            DeviceBuffer b = bench.Output(shape.WeightLength), vb = bench.Output(shape.WeightLength), wAfter = bench.Output(shape.WeightLength);
            backend.TransposedCombine(shape, 1, w, 0, default, b);
            backend.TransposedCombine(shape, 1, v, 0, default, vb);
            backend.SgdUpdate(shape.WeightLength, w, dw, v, step);
            DeviceBuffer? copy = bench.OutputCopy(shape.WeightLength);
            backend.SgdUpdateTransposed(shape, b, dw, vb, step, copy);
            bench.AssertIsCopy(b, copy);
            backend.TransposedCombine(shape, 1, w, 0, default, wAfter);
            // The tail of a row of C takes the scalar path, which rounds twice where a vector fuses.
            Values.AssertClose(bench.Get(wAfter), bench.Get(b), 2);
        }
    }

    [Theory, ClassData(typeof(Candidates))]
    public void Sgd_on_both_is_sgd_on_each(string candidate)
    {
        using Backend backend = Candidates.Create(candidate);
        var step = new SgdStep(0.1f, 0.9f, 5e-4f, true, 0.5f, 0.9f);
        foreach (ConvShape shape in Sizes.Layers)
        {
            foreach ((float[] expected, float[] actual) in Run(together: false).Zip(Run(together: true))) Values.AssertClose(expected, actual, 2);

            float[][] Run(bool together)
            {
                using var bench = new Workbench(backend);
                DeviceBuffer w = bench.Put(Values.Normal(shape.WeightLength, 1)), v = bench.Put(Values.Normal(shape.WeightLength, 2));
                DeviceBuffer b = bench.Put(Values.Normal(shape.WeightLength, 3)), vb = bench.Put(Values.Normal(shape.WeightLength, 4));
                DeviceBuffer dw = bench.Put(Values.Normal(shape.WeightLength, 5));
                if (together)
                {
                    DeviceBuffer? wCopy = bench.OutputCopy(shape.WeightLength), bCopy = bench.OutputCopy(shape.WeightLength);
                    backend.SgdUpdateBoth(shape, w, dw, v, b, vb, step, wCopy, bCopy);
                    bench.AssertIsCopy(w, wCopy);
                    bench.AssertIsCopy(b, bCopy);
                }
                else
                {
                    backend.SgdUpdate(shape.WeightLength, w, dw, v, step);
                    backend.SgdUpdateTransposed(shape, b, dw, vb, step);
                }

                return [bench.Get(w), bench.Get(v), bench.Get(b), bench.Get(vb)];
            }
        }
    }

    [Theory, ClassData(typeof(Candidates))]
    public void Clipping_equals_its_definition_and_updates_take_its_factor(string candidate)
    {
        using Backend backend = Candidates.Create(candidate);
        using var bench = new Workbench(backend);
        ConvShape shape = Sizes.Layers[2];
        int length = (int)shape.WeightLength;
        float[][] gradients = [Values.Normal(length, 1), Values.Normal(1, 2), Values.Normal(70_001, 3)];
        double norm = Math.Sqrt(gradients.Sum(g => g.Sum(v => (double)v * v)));
        DeviceBuffer[] put = [.. gradients.Select(g => bench.Put(g))];
        DeviceBuffer factor = bench.Output(1);
        backend.ClipFactor([.. put.Select(p => (BufferView)p)], (float)(2 * norm), factor);
        Assert.Equal(1, Assert.Single(bench.Get(factor)));
        backend.ClipFactor([.. put.Select(p => (BufferView)p)], 1.5f, factor);
        float scale = Assert.Single(bench.Get(factor));
        Assert.Equal(1.5 / norm, scale, 1e-6 / norm);

        // The factor where the update finds it is the same number as in its scale.
        var plain = new SgdStep(0.1f, 0.9f, 5e-4f, true, 0.5f, 0.9f);
        foreach (Action<Parameters, SgdStep> update in (Action<Parameters, SgdStep>[])[
            (p, step) => backend.SgdUpdate(length, p.W, put[0], p.Velocity, step),
            (p, step) => backend.SgdUpdateTransposed(shape, p.B, put[0], p.BVelocity, step),
            (p, step) => backend.SgdUpdateBoth(shape, p.W, put[0], p.Velocity, p.B, p.BVelocity, step)])
        {
            float[] expected = Updated(plain with { GradientScale = 0.5f * scale }), actual = Updated(plain with { GradientFactor = factor });
            Values.AssertSameBits(expected, actual);

            float[] Updated(SgdStep step)
            {
                using var own = new Workbench(backend);
                var p = new Parameters(
                    own.Put(Values.Normal(length, 5)), own.Put(Values.Normal(length, 6)), own.Put(Values.Normal(length, 7)), own.Put(Values.Normal(length, 8)));
                update(p, step);
                return [.. own.Get(p.W), .. own.Get(p.Velocity), .. own.Get(p.B), .. own.Get(p.BVelocity)];
            }
        }
    }

    private readonly record struct Parameters(DeviceBuffer W, DeviceBuffer Velocity, DeviceBuffer B, DeviceBuffer BVelocity);
}
