using FeedbackKernels.Interop;

namespace FeedbackKernels.Tests.Conformance;

/// <summary>Losses and their gradients.</summary>
[Trait("Category", "Conformance")]
public class LossTests
{
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
}
