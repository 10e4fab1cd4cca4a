using FeedbackKernels.Interop;

namespace FeedbackKernels.Tests.Conformance;

[Trait("Category", "Conformance")]
public class ElementwiseTests
{
    // Every tail length of every vector width, and more than one item of work.
    private static readonly int[] Lengths = [.. Enumerable.Range(1, 35), 16 * 1024 + 5, 70_001];

    private static readonly ConvShape[] Shapes = [new(1, 3, 3, 5, 7, 3, 3, 1, 1), new(1, 4, 4, 64, 16, 1, 1, 1, 0), new(1, 4, 4, 65, 33, 3, 2, 1, 1)];

    [Theory, ClassData(typeof(Candidates))]
    public void Activations_equal_the_reference(string candidate)
    {
        using Backend backend = Candidates.Create(candidate);
        foreach (Activation activation in Enum.GetValues<Activation>())
        {
            foreach (int length in Lengths)
            {
                float[] expected = RunForward(Candidates.ReferenceOf(backend));
                Values.AssertClose(expected, RunForward(backend), 4, stored: backend.ActivationType);
                Values.AssertClose(RunBackward(Candidates.ReferenceOf(backend)), RunBackward(backend), 4, stored: backend.ActivationType);

                float[] RunForward(Backend on)
                {
                    using var bench = new Workbench(on);
                    DeviceBuffer output = bench.OutputActivations(length);
                    on.ActivationForward(activation, length, bench.PutActivations(Values.Normal(length, 1, 5)), output);
                    return bench.Get(output);
                }

                float[] RunBackward(Backend on)
                {
                    using var bench = new Workbench(on);
                    DeviceBuffer gradient = bench.OutputActivations(length);
                    on.ActivationBackward(activation, length, bench.PutActivations(expected), bench.PutActivations(Values.Normal(length, 2)), gradient);
                    return bench.Get(gradient);
                }
            }
        }
    }

    [Theory, ClassData(typeof(Candidates))]
    public void Relu_keeps_NaN_and_extremes(string candidate)
    {
        using Backend backend = Candidates.Create(candidate);
        using var bench = new Workbench(backend);
        float[] values = new float[40];
        for (int i = 0; i < values.Length; i++)
            values[i] = (i % 5) switch { 0 => float.NaN, 1 => float.PositiveInfinity, 2 => float.NegativeInfinity, 3 => -1, _ => 1 };
        DeviceBuffer y = bench.OutputActivations(values.Length);
        backend.ActivationForward(Activation.Relu, values.Length, bench.PutActivations(values), y);
        float[] result = bench.Get(y);
        for (int i = 0; i < values.Length; i++)
        {
            float expected = (i % 5) switch { 0 => float.NaN, 1 => float.PositiveInfinity, 2 => 0, 3 => 0, _ => 1 };
            Assert.Equal(expected, result[i]);
        }
    }

    [Theory, ClassData(typeof(Candidates))]
    public void Sigmoid_saturates_without_overflow(string candidate)
    {
        using Backend backend = Candidates.Create(candidate);
        using var bench = new Workbench(backend);
        float[] values = [.. Enumerable.Repeat(-200f, 20), .. Enumerable.Repeat(200f, 20)];
        DeviceBuffer y = bench.OutputActivations(values.Length);
        backend.ActivationForward(Activation.Sigmoid, values.Length, bench.PutActivations(values), y);
        float[] result = bench.Get(y);
        Assert.All(result[..20], v => Assert.Equal(0f, v, 1e-30f));
        Assert.All(result[20..], v => Assert.Equal(1f, v));
    }

    [Theory, ClassData(typeof(Candidates))]
    public void Sgd_equals_the_reference(string candidate)
    {
        using Backend backend = Candidates.Create(candidate);
        foreach (bool nesterov in (bool[])[false, true])
        {
            var step = new SgdStep(0.1f, 0.9f, 5e-4f, nesterov, 0.5f, 0.98f);
            foreach (int length in Lengths)
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
        foreach (ConvShape shape in Shapes)
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
        foreach (ConvShape shape in Shapes)
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
    public void Transposed_combine_and_signs_equal_the_reference(string candidate)
    {
        using Backend backend = Candidates.Create(candidate);
        foreach (ConvShape shape in Shapes)
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

    [Theory, ClassData(typeof(Candidates))]
    public void Alignment_equals_the_reference(string candidate)
    {
        using Backend backend = Candidates.Create(candidate);
        foreach (ConvShape shape in Shapes)
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
        ConvShape shape = Shapes[2];
        DeviceBuffer w = bench.Put(Values.Normal(shape.WeightLength, 1)), b = bench.Output(shape.WeightLength);
        backend.TransposedCombine(shape, 3, w, 0, default, b);
        WeightAlignment alignment = backend.Align(shape, w, b);
        Assert.Equal(0, alignment.AngleDegrees, 0.01);
        Assert.Equal(3, alignment.NormRatio, 1e-6);
        Assert.Equal(0, backend.Compare(shape.WeightLength, w, w).AngleDegrees, 1e-3);
    }

    [Theory, ClassData(typeof(Candidates))]
    public void Gaussian_fill_equals_the_reference(string candidate)
    {
        using Backend backend = Candidates.Create(candidate);
        var key = new RandomKey(5, RandomPurpose.User, 3, 9);
        foreach (int length in Lengths)
        {
            using Workbench bench = new(backend), reference = new(new ReferenceBackend());
            DeviceBuffer actual = bench.Output(length), expected = reference.Output(length);
            backend.FillGaussian(actual, key, 2);
            reference.Backend.FillGaussian(expected, key, 2);
            // The host's logarithm and sine are a library's; a device has its own, which differ in the last place.
            if (backend.HostAddressable) Values.AssertSameBits(reference.Get(expected), bench.Get(actual));
            else Values.AssertNeighbours(reference.Get(expected), bench.Get(actual), steps: 3);
        }
    }

    [Theory, ClassData(typeof(Candidates))]
    public void Conversions_round_to_the_nearest(string candidate)
    {
        using Backend backend = Candidates.Create(candidate);
        foreach (ElementType from in (ElementType[])[ElementType.Float32, backend.ActivationType])
        {
            foreach (ElementType to in (ElementType[])[ElementType.Float32, backend.ActivationType])
            {
                foreach (int length in Lengths)
                {
                    using var bench = new Workbench(backend);
                    DeviceBuffer source = bench.Put(Values.Normal(length, 1), from), result = bench.Output(length, to);
                    backend.Convert(length, source, result);
                    bool rounds = to == ElementType.BFloat16;
                    Values.AssertSameBits([.. bench.Get(source).Select(v => rounds ? (BFloat16)v : v)], bench.Get(result));
                }
            }
        }
    }

    [Theory, ClassData(typeof(Candidates))]
    public void Losses_equal_the_reference(string candidate)
    {
        using Backend backend = Candidates.Create(candidate);
        foreach (LossKind kind in Enum.GetValues<LossKind>())
        {
            foreach (float smoothing in (float[])[0, 0.1f])
            {
                foreach (ElementType type in (ElementType[])[ElementType.Float32, backend.ActivationType])
                {
                    (float[] losses, float[] gradient) expected = Run(Candidates.ReferenceOf(backend)), actual = Run(backend);
                    Values.AssertClose(expected.losses, actual.losses, 1);
                    Values.AssertClose(expected.gradient, actual.gradient, 1, stored: backend.ActivationType);

                    (float[], float[]) Run(Backend on)
                    {
                        const int rows = 37, classes = 10;
                        using var bench = new Workbench(on);
                        DeviceBuffer logits = bench.Put(Values.Normal(rows * classes, 1, 3), type);
                        DeviceBuffer losses = bench.Output(rows), gradient = bench.OutputActivations(rows * classes);
                        DeviceBuffer labels = bench.PutInts([.. Enumerable.Range(0, rows).Select(i => i % classes)]);
                        on.CrossEntropy(kind, rows, classes, logits, labels, smoothing, losses, gradient);
                        return (bench.Get(losses), bench.Get(gradient));
                    }
                }
            }
        }
    }

    [Theory]
    [InlineData(LossKind.SoftmaxCrossEntropy)]
    [InlineData(LossKind.SigmoidCrossEntropy)]
    public void Loss_gradient_is_the_derivative(LossKind kind)
    {
        const int rows = 2, classes = 4;
        var backend = new ReferenceBackend();
        float[] logits = Values.Normal(rows * classes, 1, 2);
        float[] gradient = Run(logits).Gradient;
        for (int i = 0; i < logits.Length; i++)
        {
            const float h = 1e-2f;
            double numeric = (Moved(h) - Moved(-h)) / (2 * h);
            Assert.Equal(numeric, gradient[i], 1e-3);

            double Moved(float move)
            {
                float[] moved = [.. logits];
                moved[i] += move;
                return Run(moved).Losses.Sum(l => (double)l) / rows;
            }
        }

        (float[] Losses, float[] Gradient) Run(float[] values)
        {
            using var bench = new Workbench(backend);
            DeviceBuffer losses = bench.Output(rows), result = bench.Output(rows * classes);
            backend.CrossEntropy(kind, rows, classes, bench.Put(values), bench.PutInts([1, 3]), 0.1f, losses, result);
            return (bench.Get(losses), bench.Get(result));
        }
    }

    [Fact]
    public void Softmax_loss_of_huge_logits_is_finite()
    {
        using var backend = new CpuBackend(1);
        using var bench = new Workbench(backend);
        DeviceBuffer losses = bench.Output(1), gradient = bench.Output(3);
        backend.CrossEntropy(
            LossKind.SoftmaxCrossEntropy, 1, 3, bench.Put([1e30f, -1e30f, 0]), bench.PutInts([0]), 0, losses, gradient);
        Assert.Equal(0, bench.Get(losses)[0]);
        Assert.Equal([0, 0, 0], bench.Get(gradient));
    }

    [Theory, ClassData(typeof(Candidates))]
    public void Clipping_equals_its_definition_and_updates_take_its_factor(string candidate)
    {
        using Backend backend = Candidates.Create(candidate);
        using var bench = new Workbench(backend);
        ConvShape shape = Shapes[2];
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
