using BenchmarkDotNet.Attributes;
using FeedbackKernels.Interop;

namespace FeedbackKernels.Bench.Suites;

/// <summary>The work that Kolen-Pollack adds to a step, the update of B, next to the update of W that every rule has.</summary>
public class OptimiserBenchmarks : LayerBenchmarks
{
    // With this rate and decay the weights stay in range over millions of calls.
    private static readonly SgdStep Update = new(LearningRate: 1e-6f, Momentum: 0.9f, WeightDecay: 5e-4f, Nesterov: true);

    private ConvShape _shape;
    private DeviceBuffer? _w, _b, _dw, _wVelocity, _bVelocity;

    /// <summary>W from its gradient.</summary>
    [Benchmark(Baseline = true)]
    public void UpdateW() => Backend.SgdUpdate(_shape.WeightLength, _w, _dw, _wVelocity, Update);

    /// <summary>B from W's gradient, read transposed.</summary>
    [Benchmark]
    public void UpdateB() => Backend.SgdUpdateTransposed(_shape, _b, _dw, _bVelocity, Update);

    private protected override void Setup(in ConvShape shape)
    {
        _shape = shape;
        (_w, _b, _dw) = (Gaussian(shape.WeightLength, 1), Gaussian(shape.WeightLength, 2), Gaussian(shape.WeightLength, 3));
        (_wVelocity, _bVelocity) = (Gaussian(shape.WeightLength, 4), Gaussian(shape.WeightLength, 5));
    }

    private protected override void Cleanup()
    {
        foreach (DeviceBuffer? buffer in (DeviceBuffer?[])[_w, _b, _dw, _wVelocity, _bVelocity]) buffer?.Dispose();
    }
}
