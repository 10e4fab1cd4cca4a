using BenchmarkDotNet.Attributes;
using FeedbackKernels.Interop;
using FeedbackKernels.Rules;

namespace FeedbackKernels.Bench.Suites;

/// <summary>What the weight mirror does for a layer in a training step: its noise through W, the correlation, and, when a
/// cycle is complete, the move of B.</summary>
public class MirrorBenchmarks : LayerBenchmarks
{
    private LayerMirror? _mirror;

    /// <summary>Distribution of the noise.</summary>
    [Params(NoiseKind.Balanced, NoiseKind.Gaussian)]
    public NoiseKind Noise { get; set; }

    /// <summary>A mirror step.</summary>
    [Benchmark]
    public void MirrorStep() => _mirror!.Step();

    private protected override void Setup(in ConvShape shape) =>
        _mirror = new LayerMirror(Backend, shape, new WeightMirror(Samples: new WeightMirror().SamplesFor(shape), Noise: Noise));

    private protected override void Cleanup() => _mirror?.Dispose();
}

/// <summary>What Kolen-Pollack adds to a step: the update of B, beside that of W, which every rule has.</summary>
public class KolenPollackUpdateBenchmarks : LayerBenchmarks
{
    // A rate and a decay that leave the weights in their range over millions of calls.
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
