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
