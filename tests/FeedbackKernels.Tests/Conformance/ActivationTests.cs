using FeedbackKernels.Interop;

namespace FeedbackKernels.Tests.Conformance;

/// <summary>Activation functions and their derivatives.</summary>
[Trait("Category", "Conformance")]
public class ActivationTests
{
    [Theory, ClassData(typeof(Candidates))]
    public void Activations_equal_the_reference(string candidate)
    {
        using Backend backend = Candidates.Create(candidate);
        foreach (Activation activation in Enum.GetValues<Activation>())
        {
            foreach (int length in Sizes.Lengths)
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
}
